"""The command `tinyworlds-gate conformance FILE…`: compare tensors with values recorded from TinyWorlds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

from tinyworlds_gate.reference.conformance import TensorResult, compare

NUMBER_COLUMNS = 40
"""Characters of the printed table without the names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE.safetensors", help="recorded values, with their JSON file beside"
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Compare each file and print the largest error of each tensor; return 0 if all are within tolerance, else 1."""
    from rich.console import Console

    console = Console()
    failed = 0
    for path in args.files:
        results = compare(path, args.device)
        # Never truncate a name, so that it can be searched for; a narrow terminal wraps the lines.
        console.width = max(console.width, max(len(result.name) for result in results) + NUMBER_COLUMNS)
        console.print(_table(path, results), soft_wrap=True)
        differing = [result.name for result in results if not result.ok]
        failed += len(differing)
        verdict = f"{len(results) - len(differing)} of {len(results)} tensors hold on {args.device}"
        console.print(
            f"{path.name}: {verdict}{'; differing: ' + ', '.join(differing) if differing else ''}", soft_wrap=True
        )
    return 1 if failed else 0


def _table(path: Path, results: list[TensorResult]) -> Table:
    from rich.table import Table

    table = Table(title=path.name, title_justify="left", box=None)
    table.add_column("tensor", no_wrap=True)
    for heading in ("largest error", "allowed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("holds", no_wrap=True)
    for name, max_error, tolerance, ok in results:
        table.add_row(name, f"{max_error:.2e}", f"{tolerance:.2e}", "yes" if ok else "NO", style=None if ok else "red")
    return table
