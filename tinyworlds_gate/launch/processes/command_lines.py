"""Parse a Python command line: which script or module it runs, also through torchrun or a debugger (pure)."""

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
    """The program: ``script`` (a path, maybe relative to the process's cwd) or ``module`` (a dotted name).

    ``launcher`` is True if torchrun runs it (then the process itself is not a worker).
    """

    script: str | None
    module: str | None
    launcher: bool = False


def is_python(executable: str) -> bool:
    """Whether this is the path of a Python interpreter (``python``, ``python3.12``, ``pypy3``)."""
    return _PYTHON.fullmatch(PurePath(executable).name) is not None


def program_of(argv: Sequence[str], executable: str | None = None) -> Program | None:
    """Return the program that ``argv`` runs; None if there is none (``-c``, an interactive shell, no Python).

    ``executable`` is the real path of the executable, if known (argv[0] can be anything).
    """
    if not argv:
        return None
    if is_python(executable or argv[0]):
        return _python_program(list(argv[1:]))
    return _torchrun_program(list(argv[1:])) if PurePath(argv[0]).name == "torchrun" else None


def _python_program(arguments: list[str]) -> Program | None:
    while arguments:
        argument = arguments.pop(0)
        if argument in _PYTHON_OPTIONS_WITH_VALUE:
            arguments = arguments[1:]
        elif argument.startswith("--"):
            continue
        elif argument == "-" or not argument.startswith("-"):
            return None if argument == "-" else _script_program(argument, arguments)
        elif "m" in (letters := _short_options(argument)):
            module = argument[letters.index("m") + 2 :] or (arguments.pop(0) if arguments else "")
            return _module_program(module, arguments)
        elif "c" in letters:
            return None
    return None


def _short_options(argument: str) -> str:
    """Return the letters of ``-uBm``, up to the first one that takes a value (c, m, W, X)."""
    found = re.match(r"-([^cmWX]*[cmWX]?)", argument)
    return found[1] if found else ""


def _script_program(script: str, arguments: list[str]) -> Program | None:
    name = PurePath(script).name
    if name == "torchrun":
        return _torchrun_program(arguments)
    if name in ("coverage", "debugpy"):  # the console script, and the folder that an editor's debugger starts
        return _wrapped_program(name, arguments)
    return Program(script=script, module=None)


def _module_program(module: str, arguments: list[str]) -> Program | None:
    if module in _TORCHRUN_MODULES:
        return _torchrun_program(arguments)
    if module in _WRAPPER_MODULES:
        return _wrapped_program(module, arguments)
    return Program(script=None, module=module)


def _wrapped_program(wrapper: str, arguments: list[str]) -> Program | None:
    """Return the program after the options of a profiler or debugger."""
    if (command := _WRAPPER_COMMANDS.get(wrapper)) is not None and arguments[:1] != [command]:
        return None
    if command is not None:
        arguments = arguments[1:]
    while arguments and arguments[0].startswith("-") and arguments[0] != "-m":
        option = arguments.pop(0)
        if option in _WRAPPER_MODULES[wrapper] or option.startswith("--configure-"):
            arguments = arguments[1:]
    return _python_program(arguments)


def _torchrun_program(arguments: list[str]) -> Program | None:
    """Return the training script after torchrun's own options, which take a value unless they are flags."""
    as_module = False
    while arguments:
        argument = arguments.pop(0)
        if not argument.startswith("-"):
            return Program(
                script=None if as_module else argument, module=argument if as_module else None, launcher=True
            )
        option = argument.replace("_", "-")
        if option in ("-m", "--module"):
            as_module = True
        elif option not in TORCHRUN_FLAGS and "=" not in argument and not _holds_value(argument):
            arguments = arguments[1:]
    return None


def _holds_value(argument: str) -> bool:
    """Whether this is a short option with its value attached (``-r3``), or ``-h``."""
    return argument == "-h" or (not argument.startswith("--") and len(argument) > 2)
