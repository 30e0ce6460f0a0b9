"""``substitute``: replace texts in bodies while they stream by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pyrox.http.server_sent_events import ServerSentEvent
from pyrox.middleware.base import App
from pyrox.middleware.replacing import LiteralRule, RegexRule, Replacer, Rule, replace_all
from pyrox.middleware.transform import Flow, Transform
from pyrox.routing.regex import compile_regex

_ARROW = "=>"


class SubstituteMiddleware(Transform):
    """Replaces texts in bodies: first the literal ones, then what matches, each in the order given.

    * ``literal``: ``old => new`` items. An item with a comma needs quotes.
    * ``regex``: ``pattern => template`` items; the pattern is RE2's, the template may have ``\\1``.
    * ``on``: ``response`` (the default), ``request`` or ``both``.
    * ``content_types``: media types to look at. Default: text, JSON, XML, JavaScript, forms.
    * ``longest``: how many bytes a match of ``regex`` may have, in UTF-8. A longer one may be cut short.
      Default 256.
    """

    def __init__(
        self,
        app: App,
        literal: Sequence[str] = (),
        regex: Sequence[str] = (),
        on: Literal["response", "request", "both"] = "response",
        content_types: Sequence[str] | None = None,
        longest: int = 256,
    ) -> None:
        super().__init__(app)
        if not 1 <= longest <= 65536:
            raise ValueError(f"longest: {longest} is not between 1 and 65536")
        if not literal and not regex:
            raise ValueError("literal: nothing to replace; give literal or regex")
        self.sides = ("request", "response") if on == "both" else (on,)
        for name in content_types or ():
            if "/" not in name:
                raise ValueError(f"content_types: {name!r} is no media type, nor one like text/*")
        self.content_types = content_types and [name.lower() for name in content_types]
        self._rules: list[Rule] = [_literal_rule(item) for item in literal]
        self._rules += [_regex_rule(item, longest) for item in regex]

    def _start(self, flow: Flow) -> None:
        flow.state["replacer"] = Replacer(self._rules)

    def _text(self, text: str, flow: Flow) -> str:
        replacer: Replacer = flow.state["replacer"]
        return replacer.feed(text)

    def _event(self, event: ServerSentEvent, flow: Flow) -> ServerSentEvent:
        event.data = replace_all(self._rules, event.data)
        return event

    def _end(self, flow: Flow) -> str | None:
        replacer: Replacer = flow.state["replacer"]
        return replacer.feed("", final=True) or None  # of events nothing is ever held back

    on_request_start = on_response_start = _start
    on_request_text = on_response_text = _text
    on_request_event = on_response_event = _event
    on_request_end = on_response_end = _end


def _literal_rule(item: str) -> Rule:
    old, new = _parts("literal", item)
    try:
        return LiteralRule(old, new)
    except ValueError as error:
        raise ValueError(f"literal: {item!r}: {error}") from None


def _regex_rule(item: str, longest: int) -> Rule:
    pattern, template = _parts("regex", item)
    try:
        rule = RegexRule(pattern, template, longest)
    except ValueError as error:
        raise ValueError(f"regex: {error}") from None
    if compile_regex(pattern).search("") is not None:
        raise ValueError(f"regex: {pattern!r} matches the empty text, which is everywhere")
    return rule


def _parts(option: str, item: str) -> tuple[str, str]:
    old, arrow, new = item.partition(_ARROW)
    if not arrow:
        raise ValueError(f"{option}: {item!r} is not 'old {_ARROW} new'; an item with a comma needs quotes")
    return old.strip(), new.strip()
