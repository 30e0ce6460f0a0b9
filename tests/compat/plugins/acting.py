"""Filters that do what a request asks for in its X-Act field, and write down what ran."""

import io
import os

import pyrox.filtering as filtering
import pyrox.http as http

_NOTES = os.path.join(os.environ["PYROX_TEST_FOLDER"], "ran.txt")


def note(text):
    with open(_NOTES, "a") as notes:
        notes.write(text + "\n")


class Notes(filtering.HttpFilter):
    """Writes down every stage it sees, as ``name stage part``."""

    def __init__(self, name):
        self.name = name
        self.parts = 0

    @filtering.handles_request_head
    def on_request_head(self, request):
        return self.decide("request head", request)

    @filtering.handles_request_body
    def on_request_body(self, part, output):
        return self.decide("request body", None, part)

    @filtering.handles_response_head
    def on_response_head(self, response, request):
        return self.decide("response head", request)

    @filtering.handles_response_body
    def on_response_body(self, part, output, request):
        return self.decide("response body", request, part)

    def decide(self, stage, request, part=None):
        note(" ".join([self.name, stage, "" if part is None else part.decode()]))


class Acts(Notes):
    """Acts on ``X-Act: stage: action``, or at the second part on ``X-Act: stage 2: action``."""

    stage = action = ""

    def decide(self, stage, request, part=None):
        Notes.decide(self, stage, request, part)
        if stage == "request head":
            asked = request.get_header("x-act")
            request.local_data["act"] = asked.values[0] if asked else ""
            request.remove_header("x-act")
        if request is not None:
            self.stage, _, self.action = request.local_data["act"].partition(": ")
        self.parts += part is not None
        if self.stage in (stage, stage + " " + str(self.parts)):
            return perform(self.action)


def perform(action):
    kind, _, argument = action.partition(" ")
    return _ACTIONS[kind](argument)


def _reject(argument):
    return filtering.reject(_answer()) if argument else filtering.reject()


def _reply(argument):
    response = _answer()
    if argument == "lies":
        response.header("Content-Length").values.append("3")
    return filtering.reply(response, _SOURCES[argument]())


def _answer():
    response = http.HttpResponse()
    response.version = b"1.1"
    response.status = "451 Because I Say So"
    response.header("X-Made").values.append("by the filter")
    response.header(b"Set-Cookie").values.append(b"a=1")
    response.header("set-cookie").values.append("b=2")
    return response


def _fail(argument):
    raise LookupError("this is a mistake in a filter")


class _File(io.BytesIO):
    def close(self):
        note("file closed")
        io.BytesIO.close(self)


def _pieces():
    try:
        yield b"one, "
        yield ""
        yield "two, "
        yield bytearray(b"three")
    finally:
        note("iterable closed")


_SOURCES = {
    "none": lambda: None,
    "bytes": lambda: b"as bytes",
    "str": lambda: "as str: \u20ac",
    "file": lambda: _File(b"0123456789" * 20000),
    "text": lambda: io.StringIO("as text: \u20ac"),
    "iterable": _pieces,
    "list": lambda: ["a list", b" of two"],
    "lies": lambda: b"longer than it says",
    "number": lambda: 7,
}

_ACTIONS = {
    "none": lambda argument: None,
    "next": lambda argument: filtering.next(),
    "pass_event": lambda argument: filtering.pass_event(),
    "consume": lambda argument: filtering.consume(),
    "reject": _reject,
    "reply": _reply,
    "route": lambda argument: filtering.route(argument),
    "fail": _fail,
    "nonsense": lambda argument: "what is this?",
}
