"""``${NAME}`` and ``${NAME:-default}`` in the values of a configuration file.

A variable stands for text inside one value: it can never add an option, end a quote or begin a comment,
whatever it holds. So references are taken out of the lines before these are parsed, and their values
put in afterwards, key by key, where a missing variable can be reported with its section and key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# NUL cannot stand in a configuration file (the reader refuses it), so a placeholder is unmistakable.
_PLACEHOLDER = re.compile("\0([0-9]+)\0")
_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")


class References:
    """The references of one file, by placeholder."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._found: list[re.Match[str] | str] = []

    def hide(self, line: str) -> str:
        """Return ``line`` with a placeholder for each reference."""
        return _REFERENCE.sub(self._remember, line)

    def hide_text(self, text: str) -> str:
        """Return a placeholder for ``text`` itself, which may have placeholders in it."""
        return self._remember(text)

    def _remember(self, found: re.Match[str] | str) -> str:
        self._found.append(found)
        return f"\0{len(self._found) - 1}\0"

    def show(self, text: str) -> str:
        """Return ``text`` as it stood in the file: for names, which are not substituted, and messages."""
        return _PLACEHOLDER.sub(self._shown, text)

    def _shown(self, placeholder: re.Match[str]) -> str:
        found = self._found[int(placeholder[1])]
        return self.show(found) if isinstance(found, str) else found[0]

    def resolve(self, text: str) -> str:
        """Return ``text`` with each reference replaced by its variable's value.

        As in a shell, the default is used when the variable is unset or empty. Raises ``ValueError``
        naming the variables that are not set and have no default.
        """
        missing: list[str] = []
        resolved = self._resolve(text, missing)
        if missing:
            names = ", ".join(dict.fromkeys(missing))
            raise ValueError(f"{names} is not set in the environment and has no default (${{NAME:-default}})")
        return resolved

    def _resolve(self, text: str, missing: list[str]) -> str:
        return _PLACEHOLDER.sub(lambda match: self._value(self._found[int(match[1])], missing), text)

    def _value(self, reference: re.Match[str] | str, missing: list[str]) -> str:
        if isinstance(reference, str):
            return self._resolve(reference, missing)
        name, default = reference[1], reference[2]
        if reference[0] == "$${":
            return "${"
        if name is None:
            raise ValueError("'${' is not followed by NAME} or NAME:-default}; a plain '${' is written '$${'")
        if default is not None:
            return self._environment.get(name) or default
        if name not in self._environment:
            missing.append(name)
        return self._environment.get(name, "")


def escape(text: str) -> str:
    """Return ``text`` so that reading it gives it back: what looks like a reference is made plain."""
    return text.replace("${", "$${")
