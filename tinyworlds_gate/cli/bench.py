"""The command `tinyworlds-gate bench`: measure speed and overhead on this machine.

It measures training (`train`), rollouts (`rollout`), the time until a model is good (`quality`), scoring (`gate`), the
git audit (`audit`), and the overhead of the harness (`loop`) and of the unused pytest plugin (`plugin`).

    make bench
    tinyworlds-gate bench train --profile baseline --write docs/results/bench.json
    tinyworlds-gate bench rollout --profile baseline --check docs/results/bench.json
    tinyworlds-gate bench quality --profile smoke
    tinyworlds-gate bench gate --clips 64 --steps 12
    tinyworlds-gate bench audit --commits 10000
    tinyworlds-gate bench plugin

Each prints one table or sentence with units, and one line of JSON. The code is in `tinyworlds_gate/bench/`, one module
a measurement; that of `gate` is `scoring.py`, that of `quality` is `cli/bench_quality.py`.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TRAIN_COLUMNS = {
    "stage": "stage",
    "batch": "clips",
    "updates_per_s": "updates/s",
    "slowest": "slowest",
    "fastest": "fastest",
    "first_update_s": "first update, s",
    "peak_mem_gib": "memory, GiB",
    "yardstick_updates_per_s": "plain, updates/s",
    "yardstick_ratio": "ratio",
    "ddp_speedup": "speedup of workers",
}
ROLLOUT_COLUMNS = {
    "case": "case",
    "clips": "clips",
    "decode_steps": "passes",
    "frames_per_s": "frames/s",
    "yardstick_frames_per_s": "plain, frames/s",
    "yardstick_ratio": "ratio",
    "same_tokens": "same tokens",
    "first_s": "first rollout, s",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a subcommand for each measurement."""
    from tinyworlds_gate.bench import audit, loop, plugin, rollout, scoring, train
    from tinyworlds_gate.cli import bench_quality

    kinds = parser.add_subparsers(dest="what", required=True, metavar="train|rollout|quality|gate|audit|loop|plugin")
    for name, module, what in (
        ("train", train, "updates per second of each stage, launched as in the loop"),
        ("rollout", rollout, "generated frames per second"),
    ):
        kind = kinds.add_parser(name, help=what)
        module.add_arguments(kind)
        kind.add_argument(
            "--check", type=Path, metavar="FILE", help="fail if a ratio to the yardstick is lower than in FILE"
        )
    bench_quality.add_arguments(kinds.add_parser("quality", help="seconds until the model of a loop is good"))
    loop.add_arguments(kinds.add_parser("loop", help="overhead of the harness"))
    scoring.add_arguments(kinds.add_parser("gate", help="seconds to score clips"))
    audit.add_arguments(kinds.add_parser("audit", help="seconds to audit a generated git history"))
    plugin.add_arguments(kinds.add_parser("plugin", help="overhead of the unused plugin in a pytest session"))


def run(args: argparse.Namespace) -> int:
    """Measure, then print a table and one line of JSON with all measurements; return 1 if ``--check`` fails, else 0.

    Raises:
        GateError: the profile is wrong, or there is no CUDA device.
    """
    from tinyworlds_gate.bench import audit, loop, plugin, rollout, scoring, train
    from tinyworlds_gate.bench.baseline import read_speeds, regressions, write_speeds
    from tinyworlds_gate.cli import bench_quality

    others = {"quality": bench_quality, "audit": audit, "plugin": plugin, "loop": loop, "gate": scoring}
    if args.what in others:
        return others[args.what].run(args)
    stored = read_speeds(args.check) if args.check else None
    record = (train if args.what == "train" else rollout).measure(args)
    rows, columns = (record["stages"], TRAIN_COLUMNS) if args.what == "train" else (record["cases"], ROLLOUT_COLUMNS)
    lacking = "" if record.get("bytecode", True) else " without bytecode: slow starts"
    title = f"{args.what}, profile {args.profile}, {record['device']}, torch {record['torch']}{lacking}"
    _print_table(title, rows, columns)
    if args.write:
        write_speeds(args.write, record, _command(args))
    print(json.dumps(record))
    slower = regressions(stored, record) if stored else []
    for sentence in slower:
        print(f"slower than {args.check}: {sentence}")
    return 1 if slower else 0


def _command(args: argparse.Namespace) -> str:
    """Return the command that repeats this measurement."""
    command = ["tinyworlds-gate", "bench", args.what, "--profile", args.profile]
    for name in ("batch", "updates", "workers"):  # options without a default
        if getattr(args, name, None) is not None:
            command += [f"--{name}", str(getattr(args, name))]
    return shlex.join(command)


def _print_table(title: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    shown = [key for key in columns if any(key in row for row in rows)]
    for key in shown:
        table.add_column(columns[key], justify="left" if key in ("stage", "case") else "right")
    for row in rows:
        table.add_row(*("" if row.get(key) is None else str(row[key]) for key in shown))
    Console(width=140).print(table)
