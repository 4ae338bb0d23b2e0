"""Which tests the command line leaves out, and what else does: PYTEST_ADDOPTS, `addopts` of a settings file, a plugin.

A person who writes `-k H5` knows that nothing else is judged. A reader of `pytest validation/ -m smoke` expects the
whole loop, so that a selection from elsewhere makes the run INVALID.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from tinyworlds_gate.plugin.options import selects
from tinyworlds_gate.plugin.validation_tests import validation_folders

ADDOPTS = "PYTEST_ADDOPTS"
WITH_VALUE = ("-k", "--deselect", "--ignore", "--ignore-glob")
ALONE = ("--lf", "--last-failed", "--sw", "--stepwise")
SHOWS: Mapping[str, Sequence[str]] = {
    "cacheshow": ("--cache-show",),
    "collectonly": ("--collect-only", "--collectonly", "--co"),
    "help": ("--help", "-h"),
    "markers": ("--markers",),
    "setuponly": ("--setup-only", "--setuponly"),
    "setupplan": ("--setup-plan", "--setupplan"),
    "show_fixtures_per_test": ("--fixtures-per-test",),
    "showfixtures": ("--fixtures", "--funcargs"),
    "tinyworlds_target_dry_run": ("--target-dry-run",),
    "version": ("--version", "-V"),
}
"""pytest's name of an option by which no test runs → its words."""
SHOWN_ELSEWHERE = (
    "{place}: {word} runs no test, so that there is no verdict, and pytest would end with 0. Remove it there; to use "
    "it, type it on the command line."
)
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
    return any(_has(config.invocation_params.args, words) for words in SHOWS.values())


def refuse_shown_elsewhere(config: pytest.Config) -> None:
    """Refuse an option by which no test runs, where the command line does not name it and tests of the loop may run.

    Raises:
        pytest.UsageError: with the sentence that names the option and its place.
    """
    for name, words in SHOWS.items():
        asked = getattr(config.option, name, None)
        if not asked or _has(config.invocation_params.args, words) or not may_validate(config):
            continue
        here = _has(shlex.split(os.environ.get(ADDOPTS, "")), words)
        raise pytest.UsageError(SHOWN_ELSEWHERE.format(place=ADDOPTS if here else "addopts", word=words[0]))


def _has(typed: Iterable[object], words: Sequence[str]) -> bool:
    """Whether an option is among words of a command line, its short form also within others, as in `-qh`."""
    found = [str(word) for word in typed]
    letters = "".join(word[1] for word in words if len(word) == 2)
    short = re.compile(rf"-[qvxsl]*[{letters}][qvxslhV]*" if letters else r"\Z.")
    return any(word.partition("=")[0] in words or short.fullmatch(word) for word in found)


def may_validate(config: pytest.Config) -> bool:
    """Whether tests of the closed loop may run in this session."""
    typed = [str(word).split("::")[0] for word in config.invocation_params.args]
    here = config.invocation_params.dir
    # With --help pytest reads no paths.
    names = [word.split("::")[0] for word in config.args] or [word for word in typed if (here / word).exists()] or ["."]
    pyargs = config.option.pyargs or "--pyargs" in typed
    if pyargs and any(name.split(".")[0] == "tinyworlds_gate" for name in [*names, *typed]):
        return True
    paths = [(here / name).resolve() for name in names]
    own, shipped = validation_folders(config)
    if any(path.is_relative_to(folder) for path in paths for folder in (own, shipped)):
        return True
    # A path above the shipped tests does not lead to them: pytest does not descend into an environment's folder.
    return own.is_dir() and any(own.is_relative_to(path) for path in paths)


def _is_part(config: pytest.Config, word: str) -> bool:
    """Whether an argument names less than all tests of the closed loop."""
    path = Path(config.invocation_params.dir, word.partition("::")[0]).resolve()
    if "::" in word or path.suffix == ".py":
        return True
    module = word.replace(".", "/")
    if config.option.pyargs and not path.exists():
        return not str(validation_folders(config)[1]).endswith(module)
    return False
