"""Parse a Python command line: which script or module it runs, also through torchrun or a debugger (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

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
_LAUNCHER_MODULES = {
    *("accelerate.commands.launch", "accelerate.commands.accelerate_cli", "accelerate"),
    *("deepspeed", "deepspeed.launcher.runner", "deepspeed.launcher.launch", "composer.cli.launcher"),
}
_LAUNCHER_COMMANDS = {"accelerate", "accelerate-launch", "deepspeed", "composer", "colossalai"}
"""Console scripts that start a training script as torchrun does, with many options of their own."""
_RUNNER_MODULES = {
    *("IPython", "bpython", "ptpython", "pudb", "ipdb", "bpdb", "runpy"),
    *("scalene", "memray", "kernprof", "line_profiler", "memory_profiler", "viztracer", "pyinstrument", "yappi"),
    *("torch.utils.bottleneck", "hunter", "pyflame", "filprofiler", "fil_profile"),
}
_RUNNER_COMMANDS = {
    *("ipython", "ipython3", "bpython", "ptpython", "pudb", "pudb3", "ipdb", "ipdb3"),
    *("scalene", "memray", "kernprof", "viztracer", "pyinstrument", "yappi", "fil-profile", "hunter-trace"),
}
"""Modules and console scripts that run a program in their own process: shells, debuggers, profilers."""
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


def code_of(argv: Sequence[str]) -> str | None:
    """Return the code of ``python -c CODE``; None for any other command line of an interpreter."""
    kind, text, _ = _main_of(list(argv[1:]))
    return text if kind == "code" else None


def reads_stdin(argv: Sequence[str]) -> bool:
    """Whether an interpreter with this command line runs what its standard input holds."""
    return _main_of(list(argv[1:]))[0] == "stdin"


def _python_program(arguments: list[str]) -> Program | None:
    kind, text, rest = _main_of(arguments)
    if kind == "script":
        return _script_program(text, rest)
    return _module_program(text, rest) if kind == "module" else None


def _main_of(arguments: list[str]) -> tuple[Literal["script", "module", "code", "stdin"], str, list[str]]:
    """What an interpreter runs, its path, name or text, and the arguments that follow."""
    while arguments:
        argument = arguments.pop(0)
        if argument in _PYTHON_OPTIONS_WITH_VALUE:
            arguments = arguments[1:]
        elif argument.startswith("--"):
            continue
        elif argument in ("-", "/dev/stdin"):
            return "stdin", "", arguments
        elif not argument.startswith("-"):
            return "script", argument, arguments
        elif (letters := _short_options(argument))[-1:] in ("m", "c"):
            value = argument[len(letters) + 1 :] or (arguments.pop(0) if arguments else "")
            return ("module" if letters[-1] == "m" else "code"), value, arguments
    return "stdin", "", []


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
    if name in _LAUNCHER_COMMANDS or name in _RUNNER_COMMANDS:
        return _first_program(arguments, launcher=name in _LAUNCHER_COMMANDS)
    return Program(script=script, module=None)


def _module_program(module: str, arguments: list[str]) -> Program | None:
    if module in _TORCHRUN_MODULES:
        return _torchrun_program(arguments)
    if module in _WRAPPER_MODULES:
        return _wrapped_program(module, arguments)
    if module in _LAUNCHER_MODULES or module in _RUNNER_MODULES:
        if module == "runpy" and arguments:
            return Program(script=None, module=arguments[0])
        return _first_program(arguments, launcher=module in _LAUNCHER_MODULES)
    return Program(script=None, module=module)


def _first_program(arguments: list[str], *, launcher: bool) -> Program | None:
    """Return the first script, or the module after ``-m``, behind options that are not known one by one."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in ("-m", "--module") and following:
            return Program(script=None, module=following, launcher=launcher)
        if not argument.startswith("-") and PurePath(argument).suffix in (".py", ".ipy"):
            return Program(script=argument, module=None, launcher=launcher)
    return None


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
