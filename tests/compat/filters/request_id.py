"""Gives each request an id that travels with it, and comes back with the response."""
import itertools

import pyrox.filtering as filtering

_ids = itertools.count(1)


class GiveId(filtering.HttpFilter):
    @filtering.handles_request_head
    def on_request_head(self, request):
        request.local_data['request_id'] = 'req-%d' % next(_ids)
        request.replace_header('X-Request-Id').values.append(request.local_data['request_id'])
        return filtering.next()


class ReturnId(filtering.HttpFilter):
    @filtering.handles_response_head
    def a_from_the_response(self, response):
        response.header('X-Request-Id').values.append(response.local_data['request_id'])

    @filtering.handles_response_head
    def b_from_the_request(self, response, request):
        response.header('X-Request-Id').values.append(request.local_data['request_id'])

    @filtering.handles_response_body
    def c_from_the_body(self, part, output, request):
        if not part:
            output.write('\n-- %s' % request.local_data['request_id'])
