"""Makes the upstream's redirects and cookies fit the name that the client asked for."""
import pyrox.filtering as filtering


class ResponseHead(filtering.HttpFilter):

    def __init__(self, internal):
        self.internal = internal

    @filtering.handles_response_head
    def on_response_head(self, response, request):
        host = request.header('host').values[0]
        location = response.get_header('location')
        if location is not None:
            location.values = [value.replace(self.internal, host) for value in location.values]
        for i, cookie in enumerate(response.header('Set-Cookie').values):
            response.header('Set-Cookie').values[i] = cookie + '; Domain=' + host
        response.remove_header('server')
        response.replace_header('X-Asked').values.append(request.method + ' ' + request.url)
        if response.status.startswith('404') and request.method == 'GET':
            response.status = '410 Gone for ever'
