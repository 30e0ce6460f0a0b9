"""Read transcripts; the format is described in the package."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from tests.conformance import steps
from tests.conformance.escapes import unescape
from tests.conformance.expectations import Expected, ProxysAnswer
from tests.conformance.stage import Setting
from tests.support.messages import split_field
from tests.support.origin import OK

_UPSTREAM_DIRECTIONS: dict[str, Callable[[], steps.Step]] = {
    "cut": steps.MayCut,
    "discarded": steps.UpstreamIsDiscarded,
    "kept": steps.UpstreamIsKept,
    "ended": steps.UpstreamSeesEnd,
}
_CLIENT_DIRECTIONS: dict[str, Callable[[], steps.Step]] = {
    "broken off": steps.ClientGetsNoLastChunk,
    "open": steps.ClientStays,
    "silence": steps.ClientHearsNothing,
}
_arrow_line = re.compile(r"(>>|<<|>|<)(!?)(?: (.*))?").fullmatch


@dataclass
class Case:
    """One transcript: the proxy it needs, and what happens."""

    file: str
    name: str
    line: int
    setting: Setting
    steps: list[steps.Step] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"{self.file}:{self.line} {self.name}"


@dataclass
class _Line:
    number: int
    arrow: str  # "" for an empty line
    is_direction: bool
    text: str


def read_cases(path: Path) -> list[Case]:
    """Read a file of transcripts; raises ``ValueError`` with file and line for what is no transcript."""
    lines = path.read_text("utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("== ")]
    setting = _read_setting(lines[: starts[0]])
    cases = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        case = Case(path.stem, lines[start][3:], start + 1, setting)
        case.steps = list(_read_steps(path, start + 1, lines[start + 1 : end]))
        cases.append(case)
    return cases


def _read_setting(lines: list[str]) -> Setting:
    options = [line for line in lines if line and not line.startswith("#")]
    probes = [line.split()[1] for line in options if line.startswith("@probe ")]
    config = "\n".join(line for line in options if not line.startswith("@"))
    if "[routing]" not in config:
        config += "\n[routing]\nupstream_hosts = ${UPSTREAM}"
    return Setting(config + "\n[logging]\naccess_log =\n", int(probes[0]) if probes else 200)


def _read_steps(path: Path, first: int, lines: list[str]) -> Iterator[steps.Step]:
    reader = _Reader()
    parsed = [_parse_line(path, first + n, line) for n, line in enumerate(lines, 1) if line[:1] != "#"]
    for _, block in groupby(parsed, key=_block_key):
        group = list(block)
        try:
            reader.take(group)
        except (ValueError, KeyError, AssertionError) as error:
            raise ValueError(f"{path.name}:{group[0].number}: {error}") from error
    return iter(reader.steps)


def _block_key(line: _Line) -> object:
    return line.number if line.is_direction else line.arrow


def _parse_line(path: Path, number: int, line: str) -> _Line:
    if not line.strip():
        return _Line(number, "", False, "")
    match = _arrow_line(line)
    if match is None:
        raise ValueError(f"{path.name}:{number}: no arrow: {line!r}")
    return _Line(number, match[1], bool(match[2]), match[3] or "")


class _Reader:
    """Turns blocks of lines into steps; directions change the step before or after them."""

    def __init__(self) -> None:
        self.steps: list[steps.Step] = []
        self._part = ""  # "head" or "body", for the next ``>>`` or ``<``
        self._connection = ""  # "same" or "other", for the next ``>>``

    def take(self, block: list[_Line]) -> None:
        line = block[0]
        if line.is_direction:
            self._direct(line.arrow, line.text)
        elif line.arrow:
            self._message(line.arrow, b"".join(unescape(one.text) for one in block))

    def _message(self, arrow: str, data: bytes) -> None:
        if arrow == ">":
            self.steps.append(steps.ClientSends(data))
        elif arrow == "<<":
            self.steps.append(steps.UpstreamSends(data))
        else:
            self._expectation(arrow, data)

    def _expectation(self, arrow: str, data: bytes) -> None:
        part, self._part = self._part, ""
        connection, self._connection = self._connection, ""
        if part == "body":
            self.steps.append(steps.UpstreamSeesBody(Expected(b"", [], data)))
            return
        expected = Expected.parse(data)
        expected.is_head = part == "head"
        is_request = arrow == ">>"
        self.steps.append(
            steps.UpstreamSees(expected, connection) if is_request else steps.ClientGets(expected)
        )

    def _direct(self, arrow: str, text: str) -> None:
        if text.startswith("trailer "):
            split_field(unescape(text[8:])[:-2])
            self._last_expected().trailers.append(unescape(text[8:])[:-2])
        elif text.startswith("bytes "):
            data = unescape(text[6:] + "\\")
            self.steps.append(steps.ClientGetsBytes(data) if arrow == "<" else steps.UpstreamSeesBytes(data))
        elif text == "ok":
            self.steps += [steps.UpstreamSends(OK), steps.ClientGets(Expected.parse(OK))]
        elif arrow == ">":
            self.steps.append(steps.ClientEnds(text))
        elif arrow == "<<":
            self.steps.append(steps.UpstreamEnds(text))
        elif arrow == ">>":
            self._direct_upstream(text)
        else:
            self._direct_client(text)

    def _direct_upstream(self, text: str) -> None:
        if text in ("head", "body"):
            self._part = text
        elif text in ("same", "other"):
            self._connection = text
        else:
            self.steps.append(_UPSTREAM_DIRECTIONS[text]())

    def _direct_client(self, text: str) -> None:
        if text in ("local", "no body", "truncated"):
            flag = {"local": "is_local", "no body": "has_no_body", "truncated": "is_truncated"}[text]
            setattr(self._last_expected(), flag, True)
        elif text in ("closed", "reset"):
            self.steps.append(steps.ClientGetsNoMore(text))
        elif text == "head":
            self._part = text
        elif text in _CLIENT_DIRECTIONS:
            self.steps.append(_CLIENT_DIRECTIONS[text]())
        else:
            self._answer(*text.split())

    def _answer(self, status: str, *words: str) -> None:
        token = "".join(word for word in words if word not in ("open", "json"))
        media_type = b"application/problem+json" if "json" in words else b"text/plain"
        answer = ProxysAnswer(int(status), token, media_type, closes="open" not in words)
        self.steps.append(steps.ClientGetsAnswer(answer))
        if "open" in words:
            self.steps.append(steps.ClientStays())

    def _last_expected(self) -> Expected:
        expected = getattr(self.steps[-1], "expected", None)
        if expected is None:
            raise ValueError("this direction follows a message that is expected")
        assert isinstance(expected, Expected)
        return expected
