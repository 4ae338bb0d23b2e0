"""The command `tinyworlds-gate`: one line a subcommand here, each in its own package, imported only when it is called.

Exit codes: 0 all is well, 1 the answer is no (a check failed, a tensor differs), 2 a mistake that one sentence tells,
130 interrupted. `score` and `watch` end with 0 whatever the verdict is.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from tinyworlds_gate import __version__
from tinyworlds_gate.errors import GateError

PROGRAM = "tinyworlds-gate"
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Command:
    """A subcommand: the module with its ``add_arguments(parser)`` and ``run(args) -> exit code``, and its help line."""

    module: str
    help: str


COMMANDS = {
    "doctor": Command(
        "tinyworlds_gate.cli.doctor", "check this machine and project before a run, with the fix of each fault"
    ),
    "show-config": Command(
        "tinyworlds_gate.cli.show_config", "print the settings of a run, each with where it came from"
    ),
    "data": Command("tinyworlds_gate.cli.data", "make, fetch, import or look at game frames"),
    "conformance": Command("tinyworlds_gate.cli.conformance", "hold this install to numbers that TinyWorlds computed"),
    "score": Command("tinyworlds_gate.cli.score", "score three checkpoints on a frames file, without a run"),
    "audit": Command("tinyworlds_gate.cli.audit", "the git history audit of a project, alone (L4)"),
    "watch": Command("tinyworlds_gate.cli.watch", "watch a run while it goes on, from another terminal (M1-M4)"),
    "runs": Command("tinyworlds_gate.cli.runs", "the runs of a project, and which of them are unfinished"),
    "report": Command("tinyworlds_gate.cli.report", "write a run's reports again from its journal"),
    "verdict": Command(
        "tinyworlds_gate.cli.verdict", "whether a run's verdict still holds for what is on the disk now"
    ),
    "keep": Command("tinyworlds_gate.cli.keep", "keep a finished run's evidence as small files that can be committed"),
    "power": Command("tinyworlds_gate.cli.power", "let known defects in, one at a time, and see that none passes"),
    "bench": Command("tinyworlds_gate.cli.bench", "measure how fast this machine trains and scores"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit code; argparse exits by itself with 0 for help and 2 for a usage error."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser(words).parse_args(words)
        code: int = import_module(COMMANDS[args.command].module).run(args)
        sys.stdout.flush()
        return code
    except GateError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone; Python's own flush at exit must not complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The whole parser, with the arguments of the one subcommand that was called: the others stay unimported."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Validation of TinyWorlds world models. The closed loop is pytest: `pytest validation/ -m smoke`.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    called = next((word for word in words if not word.startswith("-")), None)
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=command.help, description=command.help[0].upper() + command.help[1:] + "."
        )
        if name == called:
            import_module(command.module).add_arguments(subparser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
