"""Filters that treat bodies as a request asks for in the field of their name: ``X-One: request upper``."""

import os

import pyrox.filtering as filtering

_NOTES = os.path.join(os.environ["PYROX_TEST_FOLDER"], "parts.txt")


class Treats(filtering.HttpFilter):
    """Treats the bodies of both sides; the field may ask for both: ``request upper, response tail``."""

    def __init__(self, name):
        self.name = name
        self.seen = []
        self.number = 0
        self.treatment = None

    @filtering.handles_request_head
    def on_request_head(self, request):
        asked = request.get_header("x-" + self.name)
        wanted = asked.values[0].split(", ") if asked else []
        request.local_data[self.name] = dict(wish.split(" ") for wish in wanted)
        self.treatment = request.local_data[self.name].get("request")

    @filtering.handles_request_body
    def on_request_body(self, part, output):
        return self.treat("request", part, output)

    @filtering.handles_response_body
    def on_response_body(self, part, output, request):
        self.treatment = request.local_data.get(self.name, {}).get("response")
        return self.treat("response", part, output)

    def treat(self, side, part, output):
        with open(_NOTES, "a") as notes:
            notes.write(f"{self.name} {side} {type(part).__name__} {len(part)}\n")
        self.number += 1
        if self.treatment in ("hold", "tell"):
            self.seen.append(part)
        if self.treatment:
            return getattr(self, self.treatment)(part, output)

    def upper(self, part, output):
        output.write(part.upper())

    def drop(self, part, output):
        output.write(b"")

    def twice(self, part, output):
        output.write(part)
        output.write(part)

    def letters(self, part, output):
        for start in range(len(part)):
            output.write(part[start : start + 1])

    def halve(self, part, output):
        output.write(bytearray(part[::2]))

    def text(self, part, output):
        output.write(part.decode("latin-1"))

    def tail(self, part, output):
        output.write(part)
        if not part:
            output.write(b"<end>")

    def hold(self, part, output):
        output.write(b"" if part else b"".join(self.seen))

    def tell(self, part, output):
        """Nothing until the end, and then what was seen."""
        output.write(b"" if part else repr([bytes(seen) for seen in self.seen]))

    def first(self, part, output):
        """Consume the first part, so that filters behind this one do not see it."""
        if self.number == 1:
            output.write(part)
            return filtering.consume()

    def nonsense(self, part, output):
        output.write(5)


class Decodes(Treats):
    """The same, without their content codings."""

    decode_body = True
