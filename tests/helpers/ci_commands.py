"""Parse the commands in the `run:` steps of CI files, as a shell does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

SEPARATORS = frozenset((";", "&&", "||", "|", "{", "}", ">>", ">", "&"))


def steps_of(workflow: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    """Return every step of every job."""
    for job in workflow["jobs"].values():
        yield from job["steps"]


def calls_in(script: str) -> list[list[str]]:
    """Return the words of each simple command of a script, without redirections and braces."""
    calls: list[list[str]] = [[]]
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|><")
        lexer.whitespace_split = True
        words = list(lexer)
        for word in words:
            if word in SEPARATORS:
                calls.append([])
            else:
                calls[-1].append(word)
        calls.append([])
    return [call for call in calls if call]


def unwrap(call: Sequence[str]) -> list[str]:
    """Return a command without a leading `timeout …` and `VARIABLE=value`."""
    words = list(call)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words[:1] == ["timeout"]:
        words = words[1:]
        while words[0].startswith("--"):
            words.pop(0)
        words.pop(0)  # how long
    return words


def pytest_words(call: Sequence[str]) -> list[str] | None:
    """Return the arguments of `python -m pytest …` or `pytest …`; None for another command."""
    words = unwrap(call)
    if words[1:3] == ["-m", "pytest"]:
        return words[3:]
    return words[1:] if words and words[0].rpartition("/")[2] == "pytest" else None


def gate_words(call: Sequence[str]) -> list[str] | None:
    """Return the arguments of `tinyworlds-gate …`; None for another command."""
    words = unwrap(call)
    return words[1:] if words and words[0].rpartition("/")[2] == "tinyworlds-gate" else None


def make_target(call: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return the target of `make TARGET ARGS="…"` and the words of ARGS; None for another command."""
    words = unwrap(call)
    if words[:1] != ["make"]:
        return None
    named = dict(word.split("=", 1) for word in words[2:])
    return words[1], shlex.split(named.get("ARGS", ""))
