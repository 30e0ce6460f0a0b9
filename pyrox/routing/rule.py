"""The language of ``match``: text -> a tree, or what is wrong with it and in which column.

    or := and ("||" and)*        and := item ("&&" item)*
    item := "!" item | "(" or ")" | Function "(" [text ("," text)*] ")"

A text stands in back quotes, single or double quotes; nothing in it is special but its own end, so that
regular expressions need no second escaping.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from pyrox.config_report import did_you_mean
from pyrox.routing.functions import FUNCTIONS, SPELLINGS

_MOST_NESTED = 32  # parentheses and "!" in each other; the reader and the predicates recurse

_token = re.compile(
    r"\s*(?:(?P<name>[A-Za-z][A-Za-z0-9_]*)|(?P<text>`[^`]*`|'[^']*'|\"[^\"]*\")|(?P<sign>&&|\|\||[!(),]))"
)
_blanks = re.compile(r"\s*")


class RuleError(ValueError):
    """A rule cannot be read; ``column`` counts characters from 1."""

    def __init__(self, column: int, reason: str) -> None:
        super().__init__(f"column {column}: {reason}")
        self.column = column
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments, in the form in which they are compared; ``column`` is where it stands."""

    function: str
    arguments: tuple[str, ...]
    column: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(_quote, self.arguments))})"


@dataclass(frozen=True, slots=True)
class Not:
    item: Rule

    def __str__(self) -> str:
        return f"!{self.item}" if isinstance(self.item, Call | Not) else f"!({self.item})"


@dataclass(frozen=True, slots=True)
class And:
    items: tuple[Rule, ...]

    def __str__(self) -> str:
        return " && ".join(f"({item})" if isinstance(item, Or | And) else str(item) for item in self.items)


@dataclass(frozen=True, slots=True)
class Or:
    items: tuple[Rule, ...]

    def __str__(self) -> str:
        return " || ".join(f"({item})" if isinstance(item, Or) else str(item) for item in self.items)


Rule = Call | Not | And | Or


def parse_rule(text: str) -> Rule:
    """Read a rule; raises ``RuleError``."""
    reader = _Reader(text)
    rule = reader.read_or()
    if reader.kind:
        raise RuleError(reader.column, f"{reader.token!r} where && or || or the end should be")
    return rule


def _quote(text: str) -> str:
    return next((mark + text + mark for mark in "`'\"" if mark not in text), repr(text))


class _Reader:
    """Reads ``text`` token by token: ``kind`` is that of the current ``token``, ``""`` at the end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = 0
        self._nested = 0
        self.kind = self.token = ""
        self.column = 1
        self._next()

    def _next(self) -> str:
        """Go to the next token and return the one that was current."""
        before = self.token
        blanks = _blanks.match(self._text, self._end)
        start = blanks.end() if blanks else self._end
        self.column = start + 1
        if start == len(self._text):
            self.kind = self.token = ""
            return before
        found = _token.match(self._text, self._end)
        if found is None:
            raise RuleError(self.column, _why_no_token(self._text[start:]))
        self.kind = found.lastgroup or ""
        self.token = found[self.kind]
        self._end = found.end()
        return before

    def read_or(self) -> Rule:
        items = self._list("||", lambda: self._list("&&", self._item, And), Or)
        return items

    def _list(self, sign: str, read: Callable[[], Rule], make: type[And] | type[Or]) -> Rule:
        items = [read()]
        while self.token == sign and self.kind == "sign":
            self._next()
            items.append(read())
        return items[0] if len(items) == 1 else make(tuple(items))

    def _item(self) -> Rule:
        if self.kind == "name":
            return self._call()
        if self.kind != "sign" or self.token not in "!(":
            raise RuleError(
                self.column, f"{_shown(self.token)} where a function such as Host(`a.test`) should be"
            )
        column, self._nested = self.column, self._nested + 1
        if self._nested > _MOST_NESTED:
            raise RuleError(column, f"more than {_MOST_NESTED} parentheses and ! in each other")
        if self._next() == "!":
            rule: Rule = Not(self._item())
        else:
            rule = self.read_or()
            self._expect(")", f"the ( of column {column} has no )")
        self._nested -= 1
        return rule

    def _call(self) -> Call:
        column, written = self.column, self._next()
        name = SPELLINGS.get(written.lower(), "")
        if not name:
            known = [*FUNCTIONS]
            hint = did_you_mean(written, known) or f"; there are {', '.join(known)}"
            raise RuleError(column, f"{written!r} is no function{hint}")
        self._expect("(", f"{written} needs its arguments in parentheses")
        texts = self._texts(written, column)
        function = FUNCTIONS[name]
        if not function.fewest <= len(texts) <= function.most:
            raise RuleError(column, f"{written} takes {function.takes}, not {len(texts)}")
        arguments = []
        for position, (place, text) in enumerate(texts):
            try:
                arguments.append(function.checks[min(position, len(function.checks) - 1)](text))
            except ValueError as error:
                raise RuleError(place, f"{written}: {error}") from None
        return Call(name, tuple(arguments), column)

    def _texts(self, name: str, column: int) -> list[tuple[int, str]]:
        texts: list[tuple[int, str]] = []
        while self.token != ")" or self.kind != "sign" or texts:
            if self.kind != "text":
                raise RuleError(self.column, f"{_shown(self.token)} where a text in quotes should be")
            texts.append((self.column, self._next()[1:-1]))
            if self.token != "," or self.kind != "sign":
                break
            self._next()
        self._expect(")", f"{name} of column {column} has no ) here")
        return texts

    def _expect(self, sign: str, reason: str) -> None:
        if self.kind != "sign" or self.token != sign:
            raise RuleError(self.column, reason)
        self._next()


def _shown(token: str) -> str:
    return repr(token) if token else "the end"


def _why_no_token(rest: str) -> str:
    if rest[0] in "`'\"":
        return f"the {rest[0]} has no end"
    if rest[0] in "&|":
        return f"{rest[0]!r} stands alone; write {rest[0] * 2}"
    return f"{rest[0]!r} has no meaning here"
