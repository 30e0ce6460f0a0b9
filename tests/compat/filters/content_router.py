"""Sends each kind of content to the service that understands it."""
import pyrox.filtering as filtering
import pyrox.http as http


class ContentTypeRouter(filtering.HttpFilter):

    def __init__(self, json, xml):
        self.targets = {'application/json': json, 'application/xml': xml, 'text/xml': xml}

    @filtering.handles_request_head
    def on_request_head(self, request):
        header = request.get_header('Content-Type')
        if header is None:
            return filtering.next()
        content_type = header.values[0].split(';')[0].strip().lower()
        target = self.targets.get(content_type)
        if target:
            return filtering.route(target)
        response = http.HttpResponse()
        response.status = '415'
        return filtering.reject(response)
