"""Holds a body back until it is known to be JSON."""
import json

import pyrox.filtering as filtering
import pyrox.http as http


class JsonCheck(filtering.HttpFilter):

    def __init__(self):
        self.parts = []
        self.is_json = False

    @filtering.handles_request_head
    def on_request_head(self, request):
        content_type = request.get_header('content-type')
        self.is_json = content_type is not None and 'json' in content_type.values[0]

    @filtering.handles_request_body
    def on_request_body(self, part, output):
        if not self.is_json:
            return
        self.parts.append(part)
        if part:
            output.write(b'')
            return
        body = b''.join(self.parts)
        try:
            json.loads(body.decode('utf-8'))
        except ValueError as error:
            response = http.HttpResponse()
            response.status = '400 Bad Request'
            return filtering.reply(response, 'no JSON: %s' % error)
        output.write(body)
