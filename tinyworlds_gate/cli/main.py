"""The command `tinyworlds-gate`. Each subcommand is a module of this package, imported only if it is called.

Exit codes: 0 success, 1 a negative result (a check failed, a tensor differs, a verdict is not PASS), 2 a usage or
input error with a one-sentence message, 130 interrupted. `watch` exits with 0 whatever the verdict is.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from tinyworlds_gate import __version__
from tinyworlds_gate.errors import GateError

PROGRAM = "tinyworlds-gate"
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
    try:
        args = _parser(arguments).parse_args(arguments)
        code: int = _module(args.command).run(args)
        sys.stdout.flush()
        return code
    except GateError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has closed the pipe; Python's flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser with all subcommands; only the module of the one that is called is imported."""
    parser = argparse.ArgumentParser(
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
