"""Which program a Python command line runs: the script or module, through torchrun too (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*[a-z]*(?:-dbg)?")
_PYTHON_OPTIONS_WITH_VALUE = {"-X", "-W", "--check-hash-based-pycs"}
_TORCHRUN_MODULES = {"torch.distributed.run", "torch.distributed.launch"}
TORCHRUN_FLAGS = {
    "--standalone",
    "--use-env",
    "--no-python",
    "--run-path",
    "--module",
    "--virtual-local-rank",
    "--help",
}
_PROFILER_OPTIONS = {"-o", "--outfile", "-s", "--sort"}
# Modules that run the program named after them → their options that take a value.
_WRAPPER_MODULES = {
    "cProfile": _PROFILER_OPTIONS,
    "profile": _PROFILER_OPTIONS,
    "pdb": {"-c", "--command"},
    "trace": {"-f", "--file", "-C", "--coverdir", "--ignore-module", "--ignore-dir"},
    "coverage": {"--concurrency", "--context", "--data-file", "--include", "--omit", "--rcfile", "--source"},
    "debugpy": {"--listen", "--connect", "--log-to", "--adapter-access-token", "--parent-session-pid"},
}
_WRAPPER_COMMANDS = {"coverage": "run"}


@dataclass(frozen=True)
class Program:
    """What runs: ``script`` (a path as written, relative to the process's cwd) or ``module`` (a dotted name).

    ``launcher`` is True when torchrun starts it (then the process itself is no worker).
    """

    script: str | None
    module: str | None
    launcher: bool = False


def is_python(executable: str) -> bool:
    """True for the path of a Python interpreter (``python``, ``python3.12``, ``pypy3``)."""
    return _PYTHON.fullmatch(PurePath(executable).name) is not None


def program_of(argv: Sequence[str], executable: str | None = None) -> Program | None:
    """The program that ``argv`` runs, None when it runs none (``-c``, an interactive shell, no Python).

    ``executable`` is the real path of the program file where it is known (argv[0] can be anything).
    """
    if not argv:
        return None
    if is_python(executable or argv[0]):
        return _python_program(list(argv[1:]))
    return _torchrun_program(list(argv[1:])) if PurePath(argv[0]).name == "torchrun" else None


def _python_program(words: list[str]) -> Program | None:
    while words:
        word = words.pop(0)
        if word in _PYTHON_OPTIONS_WITH_VALUE:
            words = words[1:]
        elif word.startswith("--"):
            continue
        elif word == "-" or not word.startswith("-"):
            return None if word == "-" else _script_program(word, words)
        elif "m" in (letters := _short_options(word)):
            module = word[letters.index("m") + 2 :] or (words.pop(0) if words else "")
            return _module_program(module, words)
        elif "c" in letters:
            return None
    return None


def _short_options(word: str) -> str:
    """The letters of ``-uBm``; what follows the first that takes a value (c, m, W, X) is its value."""
    found = re.match(r"-([^cmWX]*[cmWX]?)", word)
    return found[1] if found else ""


def _script_program(script: str, words: list[str]) -> Program | None:
    name = PurePath(script).name
    if name == "torchrun":
        return _torchrun_program(words)
    if name in ("coverage", "debugpy"):  # the console script, and the folder that an editor's debugger starts
        return _wrapped_program(name, words)
    return Program(script=script, module=None)


def _module_program(module: str, words: list[str]) -> Program | None:
    if module in _TORCHRUN_MODULES:
        return _torchrun_program(words)
    if module in _WRAPPER_MODULES:
        return _wrapped_program(module, words)
    return Program(script=None, module=module)


def _wrapped_program(wrapper: str, words: list[str]) -> Program | None:
    """The program behind a profiler's or a debugger's own options."""
    if (command := _WRAPPER_COMMANDS.get(wrapper)) is not None and words[:1] != [command]:
        return None
    if command is not None:
        words = words[1:]
    while words and words[0].startswith("-") and words[0] != "-m":
        option = words.pop(0)
        if option in _WRAPPER_MODULES[wrapper] or option.startswith("--configure-"):
            words = words[1:]
    return _python_program(words)


def _torchrun_program(words: list[str]) -> Program | None:
    """The training script after torchrun's own options, which take a value unless they are flags."""
    as_module = False
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            return Program(script=None if as_module else word, module=word if as_module else None, launcher=True)
        option = word.replace("_", "-")
        if option in ("-m", "--module"):
            as_module = True
        elif option not in TORCHRUN_FLAGS and "=" not in word and not _holds_value(word):
            words = words[1:]
    return None


def _holds_value(word: str) -> bool:
    """True for a short option with its value attached (``-r3``), and for ``-h``."""
    return word == "-h" or (not word.startswith("--") and len(word) > 2)
