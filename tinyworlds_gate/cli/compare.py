"""The command `tinyworlds-gate compare A B`: whether B is better or worse than A, on the same clips (docs/compare.md).

    tinyworlds-gate compare docs/baseline.json results/RUN
    tinyworlds-gate compare --old results/A1 results/A2 --new results/B1 results/B2 --json

Exit status: 0 BETTER or SAME, 1 WORSE, 2 a mistake in the input, 3 NOT-COMPARABLE.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from tinyworlds_gate.cli.compare_sources import Source, read_source
from tinyworlds_gate.cli.score_clips import add_clip_arguments
from tinyworlds_gate.cli.score_models import plain
from tinyworlds_gate.cli.score_options import add_rollout_arguments
from tinyworlds_gate.cli.unreadable_events import reads_journals
from tinyworlds_gate.compare.comparison import NOT_COMPARABLE, QUESTIONS, Comparison, compare
from tinyworlds_gate.compare.effects import RECIPES, WORSE
from tinyworlds_gate.compare.same_clips import Entry
from tinyworlds_gate.compare.spread import Spread
from tinyworlds_gate.compare.table import comparison_text
from tinyworlds_gate.config.cli_values import parse_count, parse_positive_float, parse_positive_int
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.run.redact import redact, redact_tree

EXIT_CODES = {WORSE: 1, NOT_COMPARABLE: 3}
GIVEN_FREEDOM = 30
"""Degrees of freedom of a spread that a person states."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("a", nargs="?", metavar="A", help="the baseline: a run, kept run, scorecard, baseline, …")
    parser.add_argument("b", nargs="?", metavar="B", help="the new one")
    parser.add_argument("--old", nargs="+", metavar="A", help="the baseline, several seeds of one recipe")
    parser.add_argument("--new", nargs="+", metavar="B", help="the new one, several seeds of one recipe")
    parser.add_argument(
        "--question",
        choices=QUESTIONS,
        default=RECIPES,
        help="recipes: would other seeds differ, too; models: do these checkpoints (default: %(default)s)",
    )
    parser.add_argument(
        "--seed-spread",
        type=parse_positive_float,
        metavar="PERCENT",
        help="how much the error differs between seeds of your recipe (default: of the compared seeds, else of smoke)",
    )
    parser.add_argument("--speed", action="store_true", help="show the speed of inference as well; it never decides")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw the clips that changed most")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    group = parser.add_argument_group("for folders with checkpoints, which are scored on the way")
    group.add_argument("--data", type=Path, metavar="F.h5", help="frames, uint8 [N, H, W, 3]")
    group.add_argument("--steps", type=parse_positive_int, help="frames generated (default: 12)")
    group.add_argument("--seed", type=parse_count, help="of random actions (default: 0)")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    add_clip_arguments(parser)
    add_rollout_arguments(parser)
    hidden = {"batch_size": 16, "tf32": None, "max_mse": None}
    parser.set_defaults(**hidden)


@reads_journals
def run(args: argparse.Namespace) -> int:
    """Compare and print; return the exit status of the module's docstring.

    Raises:
        GateError: a side is missing, or cannot be read.
    """
    old, new = _sides(args)
    if args.picture is not None and args.picture.suffix.lower() != ".png":
        raise ConfigError(f"--picture {args.picture}: the picture is a PNG; end its name in .png")
    given = None
    if args.seed_spread is not None:
        given = {"error": Spread(args.seed_spread / 100, GIVEN_FREEDOM, f"a stated spread of {args.seed_spread:g} %")}
    a, b = ([read_source(name, args) for name in names] for names in (old, new))
    found = compare(_entries(a), _entries(b), question=args.question, spread=given, speed=args.speed)
    print(_as_json(found) if args.json else redact(comparison_text(found)))
    if args.picture is not None and found.reason is None:
        from tinyworlds_gate.cli.compare_picture import draw_comparison

        draw_comparison(found, a, b, args.picture)
    return EXIT_CODES.get(found.verdict, 0)


def _sides(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    if args.old or args.new:
        if args.a or not (args.old and args.new):
            raise ConfigError("--old A … --new B …: name both, and no other side; for one model a side: compare A B")
        return list(args.old), list(args.new)
    if args.a is None or args.b is None:
        raise ConfigError(
            "compare needs two sides: compare A B (A is the baseline, B the new one), or several seeds a side: "
            "compare --old A1 A2 --new B1 B2"
        )
    return [args.a], [args.b]


def _entries(sources: Sequence[Source]) -> list[Entry]:
    return [entry for source in sources for entry in source.entries]


def _as_json(found: Comparison) -> str:
    return json.dumps(redact_tree(plain(found.as_dict())), ensure_ascii=False, allow_nan=False)
