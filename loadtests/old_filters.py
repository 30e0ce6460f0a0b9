"""A filter in the style of Pyrox 0.4, for the load test: takes /legacy off the path and marks both messages."""

from pyrox import filtering


class LegacyPath(filtering.HttpFilter):

    @filtering.handles_request_head
    def on_request_head(self, request):
        if not request.url.startswith('/legacy/'):
            return filtering.next()
        request.url = request.url[len('/legacy'):]
        request.local_data['token'] = request.url.partition('?')[2]
        request.header('X-Legacy').values.append(request.local_data['token'])
        return filtering.next()

    @filtering.handles_response_head
    def on_response_head(self, response, request):
        if 'token' in request.local_data:
            response.header('X-Legacy').values.append(request.local_data['token'])
