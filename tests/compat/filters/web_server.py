"""Serves the files of one folder, and nothing else."""
import mimetypes
import os

import pyrox.filtering as filtering
import pyrox.http as http

served = []  # for the statistics; to close the files is the proxy's part


class StaticFiles(filtering.HttpFilter):

    def __init__(self, root, prefix='/static/'):
        self.root = os.path.abspath(root)
        self.prefix = prefix

    @filtering.handles_request_head
    def on_request_head(self, request):
        if not request.url.startswith(self.prefix):
            return filtering.next()

        path = os.path.normpath(os.path.join(self.root, request.url[len(self.prefix):]))
        response = http.HttpResponse()
        if not path.startswith(self.root + os.sep) or not os.path.isfile(path):
            response.status = '404 Not Found'
            return filtering.reply(response, 'no %s here\n' % request.url)

        response.status = '200 OK'
        content_type = mimetypes.guess_type(path)[0] or 'application/octet-stream'
        response.header('Content-Type').values.append(content_type)
        source = open(path, 'rb')
        served.append(source)
        return filtering.reply(response, source)
