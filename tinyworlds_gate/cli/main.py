"""The command `tinyworlds-gate`. Each subcommand is a module of this package, imported only if it is called.

Exit codes: 0 success, 1 a negative result (a check failed, a tensor differs, a verdict is not PASS), 2 a usage or
input error with a one-sentence message, 130 interrupted. `watch` exits with 0 whatever the verdict is.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

from tinyworlds_gate import __version__
from tinyworlds_gate.errors import GateError

PROGRAM = "tinyworlds-gate"
_LONG_WORD = re.compile(r"(\S{80})\S{120,}?([:;,.'\")]*)(?=\s|$)")
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


COMMANDS = {
    "init": "write settings, a conftest.py and a GitHub workflow into a project, to keep and edit",
    "doctor": "check this machine and project before a run, and print a fix for each problem",
    "show-config": "print the settings of a run, each with its source",
    "data": "make, download, import, split or show game frames",
    "conformance": "compare this install with values recorded from TinyWorlds",
    "devices": "check a chunk's device samples: were all GPUs busy at once",
    "score": "score three checkpoints on a frames file, without a run",
    "budget": "train with a command of yours within a time, and judge it on clips that it never saw",
    "compare": "compare two models on the same clips: better, the same, or worse",
    "accept": "make passed runs the baseline of the project, docs/baseline.json",
    "play": "drive a trained model with the keyboard, in the browser",
    "limits": "measure the predictions without a model on a profile's clips, and derive its error limit",
    "horizon": "roll a trained model out for 64 steps: how many are usable, drift, a walk and back",
    "policies": "rank scripted policies inside a trained model and in the true game",
    "convert": "write published single-file weights (.pth) as checkpoint folders",
    "audit": "run only the git history audit of a project (L4)",
    "watch": "watch a run in progress from another terminal (M1-M4)",
    "runs": "list the runs of a project and their status",
    "report": "write a run's reports again from its journal",
    "verdict": "check whether a run's verdict still holds for the files on disk",
    "keep": "copy a finished run's evidence into small files for a commit",
    "power": "inject known defects one by one; the gate must detect each",
    "bench": "measure how fast this machine trains and scores",
}
"""Subcommand → its help line; its module has ``add_arguments(parser)`` and ``run(args) -> exit code``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code; argparse itself exits with 0 for help and 2 for a usage error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file name that is not UTF-8 is printed with escapes
            stream.reconfigure(errors="backslashreplace")
    try:
        args = _parser(arguments).parse_args(arguments)
        _require_working_folder()
        code: int = _module(args.command).run(args)
        sys.stdout.flush()
        return code
    except GateError as error:
        print(f"{PROGRAM}: {_shown(str(error))}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has closed the pipe; Python's flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        named = f"{error.filename}: " if error.filename is not None else ""
        print(f"{PROGRAM}: {_shown(f'{named}{error.strerror or error}')}.{_fix(error)}", file=sys.stderr)
        return EXIT_MISTAKE


def _require_working_folder() -> None:
    try:
        os.getcwd()
    except OSError:
        raise GateError("The working folder was removed. Change to a folder that exists (`cd`).") from None


def _fix(error: OSError) -> str:
    fixes = {
        errno.EMFILE: " Raise the limit of open files (`ulimit -n 1024`).",
        errno.ENFILE: " Close other programs: the machine has no file handles left.",
        errno.ENAMETOOLONG: " Name a file or folder with at most 255 bytes.",
        errno.ENOSPC: " Free the disk.",
        errno.EACCES: " Make it readable and writable, or name another one.",
    }
    return fixes.get(error.errno or 0, "")


def _shown(message: str) -> str:
    """Return a message without secrets, in which words of more than 200 characters are cut."""
    from tinyworlds_gate.run.redact import redact

    text = redact(message)
    return _LONG_WORD.sub(lambda word: f"{word[1]}… ({len(word[0]):,} characters){word[2]}", text)


class _Parser(argparse.ArgumentParser):
    """Reports a mistake without secrets, and long values cut."""

    def error(self, message: str) -> NoReturn:
        super().error(_shown(message))


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser with all subcommands; only the module of the one that is called is imported."""
    parser = _Parser(
        prog=PROGRAM,
        description="Validation of TinyWorlds world models. The closed loop is pytest: "
        "`pytest --pyargs tinyworlds_gate.validation -m smoke`, or `pytest validation/ -m smoke` in a checkout.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, text in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == called:
            _module(name).add_arguments(subparser)
    return parser


def _module(command: str) -> Any:
    return import_module(f"tinyworlds_gate.cli.{command.replace('-', '_')}")


if __name__ == "__main__":
    sys.exit(main())
