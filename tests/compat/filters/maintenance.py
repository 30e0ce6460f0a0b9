"""
Two filters for the night of the migration: those who work on it come in, all others read a page.

upstream = staff, closed, somethingelse
"""
import pyrox.filtering as filtering
import pyrox.http as http


class Staff(filtering.HttpFilter):

    def __init__(self, secret):
        self.secret = secret

    @filtering.handles_request_head
    def on_request_head(self, request):
        key = request.get_header('X-Staff')
        if key and self.secret in key.values:
            request.remove_header('X-Staff')
            return filtering.consume()  # none of those behind us


class Closed(filtering.HttpFilter):

    def __init__(self):
        self.response = http.HttpResponse()
        self.response.status = '503 Service Unavailable'
        self.response.header('Retry-After').values.append('3600')
        self.response.header('Content-Type').values.append('text/html')

    @filtering.handles_request_head
    def on_request_head(self, request):
        return filtering.reply(self.response, self._page(request.url))

    def _page(self, url):
        yield '<h1>Closed</h1>'
        yield b''
        yield b'<p>You asked for '
        yield bytearray(url, 'ascii')
