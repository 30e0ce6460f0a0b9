"""Media types among a middleware's options: ``text/html``, ``text/*``, ``*+json``."""

from __future__ import annotations

from collections.abc import Sequence

from pyrox.http.accept import MediaType

_MOST_REMEMBERED = 1024


class MediaNames:
    """A set of media types; those in ``only_by_name`` are not meant by ``text/*`` and the like.

    Raises ``ValueError`` that names ``option`` for what is none.
    """

    def __init__(self, option: str, names: Sequence[str], only_by_name: Sequence[str] = ()) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._only_by_name = frozenset(only_by_name)
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
        verdict = name in self._names
        if slash and not verdict and name not in self._only_by_name:
            suffix = kind.rpartition("+")[2] if "+" in kind else ""
            verdict = f"{family}/*" in self._names or f"*+{suffix}" in self._names
        if len(self._verdicts) < _MOST_REMEMBERED and len(content_type) < 128:
            self._verdicts[content_type] = verdict
        return verdict
