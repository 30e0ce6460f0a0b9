"""Filters that keep state where they may, count themselves, block, and fail."""

import gc
import json
import time
import weakref

import pyrox.filtering as filtering
from pyrox.http import HttpResponse

_made = {}
_alive = weakref.WeakSet()


class Remembers(filtering.HttpFilter):
    """Keeps what it is told in every place there is, and says at the end what each of them holds."""

    def __init__(self, name):
        _made[name] = _made.get(name, 0) + 1
        _alive.add(self)
        self.name = name
        self.number = 0
        self.mine = None
        self.view = None
        self.parts = []

    @filtering.handles_request_head
    def on_request_head(self, request):
        if request.url.startswith("/counts"):
            return self.tell_counts(request)
        self.number += 1
        self.mine = request.header("x-id").values[0]
        self.view = id(request)  # the view itself holds the connection that may hold this filter
        self.parts = []
        request.local_data["id"] = self.mine
        request.header("X-Upstream-Id").values.append(request.local_data["id"])
        time.sleep(0.01)  # let others in

    @filtering.handles_request_body
    def on_request_body(self, part, output):
        self.parts.append(part)
        time.sleep(0)

    @filtering.handles_response_head
    def on_response_head(self, response, request):
        response.header("X-Number").values.append(str(self.number))
        response.header("X-Mine").values.append(str(self.mine))
        response.header("X-Local").values.append(request.local_data["id"])
        response.header("X-Shared").values.append(str(response.local_data is request.local_data))
        response.header("X-View").values.append(request.header("x-id").values[0])
        response.header("X-Same-View").values.append(str(self.view == id(request)))
        response.header("X-Body").values.append(b"".join(self.parts))
        time.sleep(0.01)

    @filtering.handles_response_body
    def on_response_body(self, part, output, request):
        output.write(part)
        if not part:
            output.write(" for " + request.local_data["id"])

    def tell_counts(self, request):
        before = len(_alive)
        if request.url.endswith("?collect"):
            gc.collect()
        return filtering.reply(
            HttpResponse(), json.dumps({"made": _made, "alive": before, "left": len(_alive)})
        )


def make(name, times="1"):
    """A factory."""
    return Remembers("-".join([name] * int(times)))


class Blocks(filtering.HttpFilter):
    """Sleeps at the stage that the X-Block field names."""

    @filtering.handles_request_head
    def at_request_head(self, request):
        field = request.get_header("x-block")
        self.stage = request.local_data["stage"] = field.values[0] if field else ""
        self.block(self.stage, "request head")

    @filtering.handles_request_body
    def at_request_body(self, part, output):
        self.block(self.stage, "request body" if part else "")

    @filtering.handles_response_head
    def at_response_head(self, response, request):
        self.block(request.local_data["stage"], "response head")

    @filtering.handles_response_body
    def at_response_body(self, part, output, request):
        self.block(request.local_data["stage"], "response body" if part else "")

    def block(self, wanted, stage):
        if wanted and wanted == stage:
            time.sleep(2)


class Fails(Blocks):
    """Raises at that stage instead."""

    def block(self, wanted, stage):
        if wanted and wanted == stage:
            raise KeyError("no such thing at the " + stage)


class CannotBeMade(filtering.HttpFilter):
    """Can be made once, which is when the configuration is checked, and then no more."""

    def __init__(self, witness):
        with open(witness, "a+") as file:
            file.write("made\n")
            file.seek(0)
            if len(file.readlines()) > 1:
                raise RuntimeError("not again")
