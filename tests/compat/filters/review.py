"""Filters of the time that ask more of Pyrox than the documentation shows; each acts on its own path."""

import copy
import pickle
import sys
import xmlrpc.client

import pyrox.filtering
import pyrox.filtering as filtering


def counted(function):
    """A decorator that forgets ``functools.wraps``."""

    def wrapper(self, *args):
        self.calls = getattr(self, "calls", 0) + 1
        return function(self, *args)

    return wrapper


class Copies(filtering.HttpFilter):
    """Keeps copies of what it sees, and changes them."""

    @filtering.handles_request_head
    def on_request(self, request):
        self.requests = [copy.copy(request), copy.deepcopy(request), pickle.loads(pickle.dumps(request))]
        for request in self.requests:
            request.method, request.url = "DELETE", "/copied"

    @filtering.handles_response_head
    def on_response(self, response):
        copies = [copy.copy(response), copy.deepcopy(response), pickle.loads(pickle.dumps(response))]
        for number, copied in enumerate(copies):
            copied.status = "500 Copied"
            response.header("X-Copy").values.append(str(number))
        response.header("X-Copies").values.append(copies[1].to_bytes().partition(b"\r\n")[0])
        response.header("X-Copies").values.append(self.requests[1].to_bytes().partition(b"\r\n")[0])


class Remote(filtering.HttpFilter):
    """Has a client that pretends to have every attribute, and handlers behind a decorator."""

    service = xmlrpc.client.ServerProxy("http://127.0.0.1:1/")

    @filtering.handles_response_head
    @counted
    def on_response(self, response):
        response.header("X-Calls").values.append(str(self.calls))

    @filtering.handles_response_head
    @counted
    def on_response_and_request(self, response, request):
        response.header("X-Url").values.append(request.url)


class Exits(pyrox.filtering.pipeline.HttpFilter):
    """Gives up as a script would."""

    @filtering.handles_request_head
    def on_request(self, request):
        if request.url == "/exit":
            sys.exit("no such tenant")

    @filtering.handles_response_head
    def on_response(self, response, request):
        if request.url == "/exit-late":
            sys.exit(1)


def exits_when_made():
    sys.exit("cannot be made")
