"""Transforms that see everything and change nothing, or a little."""

from __future__ import annotations

from typing import Any

from pyrox import Flow, ServerSentEvent, Transform


class Untouched(Transform):
    """Sees every kind of thing and leaves it as it is."""

    def on_request_json(self, value: Any, flow: Flow) -> Any:
        return value

    def on_request_text(self, text: str, flow: Flow) -> str:
        return text

    def on_response_json(self, value: Any, flow: Flow) -> Any:
        return value

    def on_response_event(self, event: ServerSentEvent, flow: Flow) -> ServerSentEvent:
        return event

    def on_response_line(self, line: str, flow: Flow) -> str:
        return line

    def on_response_bytes(self, chunk: bytes, flow: Flow) -> bytes:
        return chunk


class Greener(Transform):
    """Makes what is brown green."""

    def on_request_json(self, value: Any, flow: Flow) -> Any:
        return {**value, "colour": "green"}

    def on_response_json(self, value: Any, flow: Flow) -> Any:
        return {**value, "colour": "green"}

    def on_response_event(self, event: ServerSentEvent, flow: Flow) -> ServerSentEvent:
        event.data = event.data.replace("brown", "green")
        return event

    def on_response_line(self, line: str, flow: Flow) -> str:
        return line.replace("brown", "green")
