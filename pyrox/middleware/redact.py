"""``redact``: take out of bodies what nobody behind them may see."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from pyrox.errors import ClientError, UpstreamError
from pyrox.http.server_sent_events import ServerSentEvent
from pyrox.http.strict_json import dump_json, load_json
from pyrox.middleware.base import App
from pyrox.middleware.replacing import Match, RegexRule, Replacer, Rule, replace_all
from pyrox.middleware.transform import Flow, Transform
from pyrox.routing.regex import compile_regex

# ISO/IEC 7812: 13 to 19 digits, often in groups.
_CARD = r"\b\d(?:[ -]?\d){12,18}\b"
_LONGEST_CARD = 37
_drop_separators = re.compile(rb"[ -]").sub
_looks_like_json = re.compile(r'\s*[{\["]').match

_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq")


class Redact(Transform):
    """Replaces members by their names, and texts that match, in JSON, events, forms and other text.

    * ``fields``: names of JSON members, at any depth, and of form fields; upper and lower case are the same.
    * ``patterns``: RE2 patterns; what matches is replaced, in every string of JSON and in text.
    * ``cards``: whether to look for card numbers: 13 to 19 digits, maybe in groups, with a right check
      digit. Default ``no``.
    * ``replacement``: what stands there instead. Default ``***``.
    * ``on``: ``response`` (the default), ``request`` or ``both``.
    * ``longest``: how many bytes a match of ``patterns`` may have, in UTF-8. Default 256.
    * ``limit``: the longest document, form, line or event, in bytes. Default 1 MiB.

    ``Cache-Control: no-transform`` does not keep anybody out.
    """

    respects_no_transform = False
    types: Mapping[str, Sequence[str]] = {
        "line": _LINES,
        "text": ("text/*", "application/xml", "application/*+xml", "application/javascript"),
        "body": ("application/x-www-form-urlencoded",),
    }

    def __init__(
        self,
        app: App,
        fields: Sequence[str] = (),
        patterns: Sequence[str] = (),
        cards: bool = False,
        replacement: str = "***",
        on: Literal["response", "request", "both"] = "response",
        longest: int = 256,
        limit: int = 1 << 20,
    ) -> None:
        super().__init__(app)
        if limit < 1:
            raise ValueError(f"limit: {limit} is less than 1")
        self.limit = limit
        if not fields and not patterns and not cards:
            raise ValueError("fields: nothing to redact; give fields, patterns or cards = yes")
        if not 1 <= longest <= 65536:
            raise ValueError(f"longest: {longest} is not between 1 and 65536")
        self.sides = ("request", "response") if on == "both" else (on,)
        self._names = frozenset(name.lower() for name in fields)
        self._replacement = replacement
        new = replacement.encode()
        self._rules: list[Rule] = [_rule(pattern, new, longest) for pattern in patterns]
        if cards:
            self._rules.append(RegexRule(_CARD, _card_redactor(new), _LONGEST_CARD))

    def _text_of(self, text: str) -> str:
        return replace_all(self._rules, text) if self._rules else text

    # --- JSON ---

    def _json(self, value: Any, flow: Flow) -> Any:
        return self._redacted(value)

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: self._replacement if name.lower() in self._names else self._redacted(inner)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._redacted(inner) for inner in value]
        if isinstance(value, str):
            return self._text_of(value)
        if isinstance(value, int) and not isinstance(value, bool) and self._rules:
            text = str(value)  # a card number may come as a number
            return value if (redacted := self._text_of(text)) == text else redacted
        return value

    def _maybe_json(self, text: str, flow: Flow) -> str:
        """Redact one line or the data of an event, which is JSON, or any text."""
        if not _looks_like_json(text):
            return self._text_of(text)
        try:
            value = load_json(text.encode())
        except ValueError as error:
            if self._names and flow.message.headers.get("content-type", "").lower().startswith(_LINES):
                fault = ClientError if flow.response is None else UpstreamError
                raise fault(f"a line cannot be read as JSON: {error}") from error
            return self._text_of(text)
        redacted = self._redacted(value)
        return text if redacted == value else dump_json(redacted).decode()

    # --- the rest ---

    def _event(self, event: ServerSentEvent, flow: Flow) -> ServerSentEvent:
        event.data = self._maybe_json(event.data, flow)
        return event

    def _form(self, body: bytes, flow: Flow) -> bytes:
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
        redacted = [
            (name, self._replacement if name.lower() in self._names else self._text_of(value))
            for name, value in pairs
        ]
        return body if redacted == pairs else urlencode(redacted, encoding="latin-1").encode()

    def _start(self, flow: Flow) -> None:
        flow.state["replacer"] = Replacer(self._rules)

    def _text(self, text: str, flow: Flow) -> str:
        replacer: Replacer = flow.state["replacer"]
        return replacer.feed(text)

    def _end(self, flow: Flow) -> str | None:
        replacer: Replacer = flow.state["replacer"]
        return replacer.feed("", final=True) or None

    on_request_start = on_response_start = _start
    on_request_json = on_response_json = _json
    on_request_event = on_response_event = _event
    on_request_line = on_response_line = _maybe_json
    on_request_text = on_response_text = _text
    on_request_body = on_response_body = _form
    on_request_end = on_response_end = _end


def _rule(pattern: str, new: bytes, longest: int) -> Rule:
    try:
        rule = RegexRule(pattern, lambda match: new, longest)
    except ValueError as error:
        raise ValueError(f"patterns: {error}") from None
    if compile_regex(pattern).search("") is not None:
        raise ValueError(f"patterns: {pattern!r} matches the empty text, which is everywhere")
    return rule


def _card_redactor(new: bytes) -> Callable[[Match], bytes]:
    def redact(match: Match) -> bytes:
        found = match.group() or b""
        return new if _is_card(found) else found

    return redact


def _is_card(text: bytes) -> bool:
    """Tell whether the last digit checks the others (Luhn, ISO/IEC 7812-1 annex B)."""
    digits = [byte - 48 for byte in _drop_separators(b"", text)]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
