"""What the installed pytest plugin costs a session that does not use it: `tinyworlds-gate bench plugin`.

Timed are whole sessions, `python -m pytest` on one test, in turns with and without this distribution on the import
path; all other packages are the same in both.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.cli_values import parse_positive_int
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.installation import PACKAGE

LIMIT_MS = 50.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `bench plugin`."""
    parser.add_argument(
        "--rounds",
        type=parse_positive_int,
        default=20,
        help="sessions of each kind, of which the medians (default: 20)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print a sentence and then one line of JSON; 1 when the cost is above the limit.

    Raises:
        GateError: the package is not installed, or a session failed.
    """
    with tempfile.TemporaryDirectory(prefix="tinyworlds-gate-plugin-") as folder:
        measured = measure(Path(folder), args.rounds)
    wall_ms, cpu_ms = (
        {kind: [1000 * one[which] for one in sessions] for kind, sessions in measured.items()} for which in (0, 1)
    )
    cost_ms, cpu_cost_ms = cost(wall_ms), cost(cpu_ms)
    print(
        f"the installed, unused plugin costs a pytest session {cost_ms:.1f} ms ({cpu_cost_ms:.1f} ms of CPU time; "
        f"medians of {args.rounds} pairs): {statistics.median(wall_ms['with']):.0f} ms with it, "
        f"{statistics.median(wall_ms['without']):.0f} ms without; limit {LIMIT_MS:g} ms"
    )
    record: dict[str, Any] = {
        "bench": "plugin",
        "cost_ms": round(cost_ms, 1),
        "cpu_cost_ms": round(cpu_cost_ms, 1),
        "limit_ms": LIMIT_MS,
        "sessions_s": {kind: [[round(s, 4) for s in one] for one in sessions] for kind, sessions in measured.items()},
    }
    print(json.dumps(record))
    return 0 if cost_ms <= LIMIT_MS else 1


def cost(values: Mapping[str, Sequence[float]]) -> float:
    """Return the median difference of the pairs; the sessions of a pair ran one after the other."""
    return statistics.median(ours - without for ours, without in zip(values["with"], values["without"], strict=True))


def measure(folder: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return the wall and CPU seconds of each session, ``with`` the plugin and ``without``.

    Raises:
        GateError: the package is not installed, or a session failed.
    """
    others, ours = folder / "others", folder / "ours"
    link_packages(others, ours)
    tests = folder / "tests"
    tests.mkdir()
    (tests / "test_one.py").write_text("def test_one() -> None:\n    assert True\n", encoding="utf-8")
    kinds = {"with": (others, ours), "without": (others,)}
    for paths in kinds.values():
        session_seconds(tests, paths)  # writes the bytecode
    seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind in list(kinds)[:: 1 if number % 2 else -1]:
            seconds[kind].append(session_seconds(tests, kinds[kind]))
    return seconds


def link_packages(others: Path, ours: Path) -> None:
    """Make two folders for the import path: links to all installed packages but this one, and to this one.

    Raises:
        GateError: the package is not installed.
    """
    sites = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    information = [path for site in sites for path in site.glob("tinyworlds_gate-*.dist-info")]
    if not information:
        raise GateError("tinyworlds_gate is not installed in this environment; run make setup, or pip install.")
    for folder in (others, ours):
        folder.mkdir()
    for site in sites:
        for entry in site.iterdir():
            if "tinyworlds_gate" not in entry.name and entry.suffix != ".pth" and not (others / entry.name).exists():
                (others / entry.name).symlink_to(entry)
    (ours / information[0].name).symlink_to(information[0])
    (ours / PACKAGE.name).symlink_to(PACKAGE)


def session_seconds(tests: Path, paths: Sequence[Path]) -> tuple[float, float]:
    """Return the wall and CPU seconds of one session on the folder ``tests``.

    Raises:
        GateError: the session failed, or had another set of plugins than it should have.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    # -S: no site-packages, where an installed copy would be found in both kinds of session.
    command = [sys.executable, "-S", "-m", "pytest", "-p", "no:cacheprovider", "."]
    began, cpu_began = time.perf_counter(), children_cpu_s()
    done = subprocess.run(command, cwd=tests, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began, children_cpu_s() - cpu_began
    if done.returncode or ("tinyworlds_gate" in done.stdout) != (len(paths) == 2):
        raise GateError(
            f"a session to measure went wrong, exit code {done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}"
        )
    return seconds


def children_cpu_s() -> float:
    """Return the CPU seconds of the child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
