"""Media types among a middleware's options: ``text/html``, ``text/*``, ``*+json``."""

from __future__ import annotations

from collections.abc import Sequence

from pyrox.http.accept import MediaType

_MOST_REMEMBERED = 1024


class MediaNames:
    """A set of media types. Raises ``ValueError`` that names ``option`` for what is none."""

    def __init__(self, option: str, names: Sequence[str]) -> None:
        self._names = frozenset(name.lower() for name in names)
        for name in self._names:
            stands_for = name.removesuffix("*") + "x" if name.endswith("/*") else name
            stands_for = f"x/x{name[1:]}" if name.startswith("*+") else stands_for
            try:
                parsed = MediaType.parse(stands_for)
            except ValueError:
                parsed = None
            if parsed is None or parsed.parameters:
                raise ValueError(f"{option}: {name!r} is no media type, nor one like text/* or *+json")
        self._verdicts: dict[str, bool] = {}

    def has(self, content_type: str | None) -> bool:
        """Tell whether a Content-Type is one of them; None is not."""
        if content_type is None:
            return False
        verdict = self._verdicts.get(content_type)
        return self._judge(content_type) if verdict is None else verdict

    def _judge(self, content_type: str) -> bool:
        name = content_type.partition(";")[0].strip().lower()
        family, slash, kind = name.partition("/")
        verdict = bool(slash) and not self._names.isdisjoint(
            (name, f"{family}/*", f"*+{kind.rpartition('+')[2]}" if "+" in kind else name)
        )
        if len(self._verdicts) < _MOST_REMEMBERED and len(content_type) < 128:
            self._verdicts[content_type] = verdict
        return verdict
