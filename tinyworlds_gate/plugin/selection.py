"""Which tests the command line leaves out, and what else does: PYTEST_ADDOPTS, `addopts` of a settings file, a plugin.

A person who writes `-k H5` knows that nothing else is judged. A reader of `pytest validation/ -m smoke` expects the
whole loop, so that a selection from elsewhere makes the run INVALID.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinyworlds_gate.plugin.options import selects
from tinyworlds_gate.plugin.validation_tests import validation_folders

if TYPE_CHECKING:
    import pytest

ADDOPTS = "PYTEST_ADDOPTS"
WITH_VALUE = ("-k", "--deselect", "--ignore", "--ignore-glob")
ALONE = ("--lf", "--last-failed", "--sw", "--stepwise")
ONLY_SHOWN = ("--collect-only", "--collectonly", "--co", "--setup-plan", "--setuponly", "--setup-only")
"""Options by which no test runs."""
HARMLESS = ("power", "slow", "gpu")
"""Markers that no test of the closed loop has."""
KINDS = ("smoke", "longrun")


def selecting_words(words: Sequence[str], kind: str) -> list[str]:
    """Return the words of a command line that leave tests of the closed loop of this kind out (pure)."""
    found = []
    for number, word in enumerate(words):
        value = words[number + 1] if number + 1 < len(words) else ""
        if word in WITH_VALUE:
            found.append(f"{word} {value}")
        elif word in ALONE or word.startswith(tuple(f"{one}=" for one in WITH_VALUE)) or re.match(r"-k.", word):
            found.append(word)
        elif (word == "-m" and _limits(value, kind)) or (re.match(r"-m.", word) and _limits(word[2:], kind)):
            found.append(f"-m {value}" if word == "-m" else word)
    return found


def _limits(markers: str, kind: str) -> bool:
    """Whether an expression of `-m` leaves out more than another kind of profile."""
    for negated, word in re.findall(r"(\bnot\s+)?\b(\w+)\b", markers):
        if word in ("and", "or", "not") or word in KINDS or (negated and word in HARMLESS):
            continue
        return True
    return not selects(kind, markers)


def on_command_line(config: pytest.Config, kind: str) -> list[str]:
    """Return what the command line itself selects: its words, and single files or tests that it names."""
    words = [str(word) for word in config.invocation_params.args]
    return [*selecting_words(words, kind), *(word for word in words if word in config.args and _is_part(config, word))]


def elsewhere(config: pytest.Config, kind: str) -> list[str]:
    """Return what selects tests beside the command line, whose own `-k` and `-m` replace those of other places."""
    own = [str(word)[:2] for word in config.invocation_params.args]
    found, replaced = list[str](), {word for word in own if word in ("-k", "-m")}
    for place, words in (
        (ADDOPTS, shlex.split(os.environ.get(ADDOPTS, ""))),
        ("addopts", list(config.getini("addopts"))),
    ):
        found += [f"{place}: {word}" for word in selecting_words(words, kind) if word[:2] not in replaced]
        replaced |= {word[:2] for word in words if word[:2] in ("-k", "-m")}
    return found


def left_out_by(config: pytest.Config, kind: str) -> tuple[str, bool]:
    """Return what leaves tests out, and whether a person chose it on the command line alone."""
    own, other = on_command_line(config, kind), elsewhere(config, kind)
    if own and not other:
        return ", ".join(own), True
    return ", ".join(other) or "a plugin, a conftest.py, or files that are missing", False


def only_shows(config: pytest.Config) -> bool:
    """Whether the command line itself asks to run nothing, such as `--collect-only`."""
    return any(str(word) in ONLY_SHOWN for word in config.invocation_params.args)


def _is_part(config: pytest.Config, word: str) -> bool:
    """Whether an argument names less than all tests of the closed loop."""
    path = Path(config.invocation_params.dir, word.partition("::")[0]).resolve()
    if "::" in word or path.suffix == ".py":
        return True
    module = word.replace(".", "/")
    if config.option.pyargs and not path.exists():
        return not str(validation_folders(config)[1]).endswith(module)
    return False
