"""
Counts what each key has asked for. Its table is costly, so it is kept as long as the worker:

filter_lifetime = worker
use_singletons = True
"""
import pyrox.filtering as filtering
import pyrox.http as http


class Quota(filtering.HttpFilter):

    def __init__(self, limit='3'):
        print('quota of %s made' % limit)
        self.limit = int(limit)
        self.used = {}
        self.exceeded = http.HttpResponse()
        self.exceeded.status = '429 Too Many Requests'

    @filtering.handles_request_head
    def on_request_head(self, request):
        key = request.header('X-Key').values[0]
        request.local_data['key'] = key
        self.used[key] = self.used.get(key, 0) + 1
        if self.used[key] > self.limit:
            return filtering.reject(self.exceeded)

    @filtering.handles_response_head
    def on_response_head(self, response):
        left = self.limit - self.used[response.local_data['key']]
        response.header('X-Left').values.append(str(left))
