"""Which config keys a commit changes, read from the changed lines of its YAML files (A2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import zip_longest

_SETTING = re.compile(rb"^\s*([A-Za-z_][A-Za-z0-9_]*)\s*:\s*([^#]*?)\s*(?:#.*)?$")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Change = tuple[str | None, str | None]
"""Old and new value; None: the file did not set the key on that side."""


@dataclass
class _Lines:
    removed: list[str] = field(default_factory=list)
    """Against every parent."""
    removed_somewhere: list[str] = field(default_factory=list)
    """Against one parent of a merge."""
    added: list[str] = field(default_factory=list)


class SettingChanges:
    """The watched keys in the changed lines of one commit, by file and key."""

    def __init__(self, keys: frozenset[str]) -> None:
        self._keys = keys
        self._found: dict[tuple[str, str], _Lines] = {}

    def take(self, path: str, marks: bytes, content: bytes) -> None:
        """One line of a hunk: ``marks`` holds a sign for each parent (`+`, `-`, or a space where it is unchanged)."""
        if not path.endswith((".yaml", ".yml")):
            return
        setting = _SETTING.match(content.removeprefix(_BYTE_ORDER_MARK))
        key = setting[1].decode("ascii") if setting else ""
        if setting is None or key not in self._keys:
            return
        lines, value = self._found.setdefault((path, key), _Lines()), setting[2].decode("utf-8", "replace")
        if set(marks) == {ord("+")}:
            lines.added.append(value)
        elif set(marks) == {ord("-")}:
            lines.removed.append(value)
        elif b"-" in marks:
            lines.removed_somewhere.append(value)

    def changes(self) -> list[tuple[str, str, Change]]:
        """(file, key, change) in the order of the diff; a value that only moved within its file is no change.

        A merge that wrote a value of its own has every parent's value as the old one, `32 | 48`.
        """
        return [(path, key, change) for (path, key), lines in self._found.items() for change in _pairs(lines)]


def _pairs(lines: _Lines) -> list[Change]:
    removed, added = list(lines.removed), []
    for value in lines.added:
        if value in removed:
            removed.remove(value)
        else:
            added.append(value)
    if added and lines.removed_somewhere:
        return [(" | ".join(dict.fromkeys([*removed, *lines.removed_somewhere])), value) for value in added]
    return list(zip_longest(removed, added))
