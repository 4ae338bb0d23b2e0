"""Remove secrets from text and command lines before they are shown or recorded.

A secret is what the environment of this process holds under a secret name or in a secret shape
(`secret_values.py`), the value of a secret name in the text (`secret_assignments.py`), and a key of a known shape
(`secret_shapes.py`). Time and memory grow with the length of the text.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tinyworlds_gate.run.secret_assignments import REDACTED, assignment_spans
from tinyworlds_gate.run.secret_names import secret_kind
from tinyworlds_gate.run.secret_shapes import Span, shape_spans
from tinyworlds_gate.run.secret_values import environment_now, value_spans

__all__ = ["REDACTED", "redact", "redact_command", "redact_environment", "redact_field", "redact_tree"]

_SHORTEST = 6
_OFTEN_REPEATED = 300
"""Texts of up to this length are remembered: the rows of a report repeat most of them."""


def redact(text: str) -> str:
    """Return ``text`` with its secrets replaced by ``[redacted]``."""
    if len(text) < _SHORTEST:
        return text
    if len(text) <= _OFTEN_REPEATED:
        return _redact_again(text, environment_now())
    return _redact(text)


@lru_cache(maxsize=4096)
def _redact_again(text: str, _environment: frozenset[tuple[bytes, bytes]]) -> str:
    return _redact(text)


def _redact(text: str) -> str:
    return _without(text, [*value_spans(text), *shape_spans(text), *assignment_spans(text)])


def redact_environment(text: str) -> str:
    """Return ``text`` without the secrets of this process's environment; others stay. Some 300 times as fast."""
    return _without(text, value_spans(text))


def redact_command(argv: Sequence[str]) -> str:
    """Return a command line as one shell-quoted text without its secrets."""
    hidden: list[str] = []
    plain = " ".join(argv)
    starts, at = [], 0
    for word in argv:
        starts.append(at)
        at += len(word) + 1
    across = _merged(shape_spans(plain))
    for index, word in enumerate(argv):
        before = argv[index - 1] if index else ""
        start, end = starts[index], starts[index] + len(word)
        spans = [(max(a, start) - start, min(b, end) - start) for a, b in across if a < end and b > start]
        if _names_next(before) and word and not word.startswith("-") and not word.startswith(REDACTED):
            hidden.append(REDACTED)
        else:
            hidden.append(_without(word, [*spans, *value_spans(word), *shape_spans(word), *assignment_spans(word)]))
    return shlex.join(hidden)


def redact_tree(value: Any) -> Any:
    """Return plain data (mappings, lists, texts) with the secrets of every text and key removed."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): redact_field(str(key), item) for key, item in value.items()}
    return [redact_tree(item) for item in value] if isinstance(value, list | tuple) else value


def redact_field(name: str, value: Any) -> Any:
    """Return the plain data of the field ``name`` without secrets; of the field `command`, also of its options."""
    if name == "command" and isinstance(value, list):
        return shlex.split(redact_command([str(word) for word in value]))
    if isinstance(value, str) and len(value) < 4096 and _names_text(name, value):
        return REDACTED
    return redact_tree(value)


def _names_text(name: str, value: str) -> bool:
    return secret_kind(name) is not None and any(True for _ in assignment_spans(f'{{"{name}": "{value}"}}'))


def _names_next(word: str) -> bool:
    """Whether the argument after this one is a secret."""
    if word.startswith("-"):
        return "=" not in word and secret_kind(word) is not None
    return word.isidentifier() and word.isupper() and secret_kind(word) is not None


def _without(text: str, spans: Iterable[Span]) -> str:
    parts, at = [], 0
    for start, end in _merged(spans):
        parts += [text[at:start], REDACTED]
        at = end
    return "".join([*parts, text[at:]]) if parts else text


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in order; those that touch or overlap become one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged
