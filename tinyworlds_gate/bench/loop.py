"""What the harness itself costs: `tinyworlds-gate bench loop`.

    tinyworlds-gate bench loop                      # runs the smoke loop of this project, watched; minutes
    tinyworlds-gate bench loop --run results/RUN    # the loop time of a run that is there; seconds

Loop time is the time outside training and inference processes; generating the frames is listed separately. The share of
a core that the harness and a `watch` beside it use meanwhile comes from the processes' CPU time. All other rows are
medians of wall and CPU time of a command that is started several times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tinyworlds_gate.bench.loop_time import CpuTrace, LoopTime, child_lives, loop_time
from tinyworlds_gate.config.cli_values import parse_positive_int
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.journal import Event, read_journal
from tinyworlds_gate.run.machine import usable_cpus

SAMPLE_S = 0.25
SETTLED_S = 5.0
"""Python's start and the first reading of a watch are no part of what it costs."""
TABLE_WIDTH = 110
SESSION = ("-m", "pytest", "validation/", "-m", "smoke")
COLLECT = ("-m", "pytest", "--collect-only", "-q", "validation/")
NO_TORCH = "import sys, tinyworlds_gate; sys.exit('torch' in sys.modules)"


@dataclass(frozen=True)
class Row:
    """One line of the table: measured values with their unit, CPU seconds where known, and the target."""

    what: str
    unit: str
    values: Sequence[float]
    at_most: float
    cpu_s: Sequence[float] = ()
    note: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    @property
    def holds(self) -> bool | None:
        """Whether the median reaches the target; None where nothing was measured."""
        return None if self.median is None else self.median <= self.at_most

    def record(self) -> dict[str, Any]:
        cpu = round(statistics.median(self.cpu_s), 3) if self.cpu_s else None
        median = None if self.median is None else round(self.median, 3)
        values = [round(one, 3) for one in self.values]
        found = {"what": self.what, "unit": self.unit, "median": median, "values": values, "cpu_s": cpu}
        return found | {"at_most": self.at_most, "holds": self.holds, "note": self.note}


@dataclass(frozen=True)
class SmokeRun:
    """A run of the loop that was watched while it went on."""

    folder: Path
    harness: CpuTrace
    watch: CpuTrace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `bench loop`."""
    parser.add_argument(
        "--run", type=Path, metavar="results/RUN", help="a finished run, instead of running the smoke loop now"
    )
    parser.add_argument(
        "--rounds", type=parse_positive_int, default=5, help="starts of each command (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print one table, the longest steps of the loop, and one line of JSON.

    Raises:
        GateError: this folder has no loop, or the run has no journal.
    """
    from rich.console import Console

    root = Path.cwd()
    if not (root / "validation").is_dir():
        raise GateError(f"{root} has no folder validation/: start `bench loop` in the project's own folder")
    smoke = run_smoke(root) if args.run is None else None
    folder = args.run if smoke is None else smoke.folder
    events = read_journal(folder / "journal.jsonl")
    if not events:
        raise GateError(f"{folder} holds no event of a run; give --run results/<run>, or leave it out")
    found = loop_time(events)
    rows = [
        Row("loop time of a smoke run", "s", [found.loop_s], 20.0, note=_loop_note(found)),
        *_monitor_rows(smoke, events),
        _command_row("collect validation/", COLLECT, root, args.rounds, 1.5),
        _command_row(
            "render the reports again", ("-m", "tinyworlds_gate", "report", str(folder)), root, args.rounds, 2.0
        ),
        _command_row("import tinyworlds_gate, no torch", ("-c", NO_TORCH), root, args.rounds, 0.5),
    ]
    # Never narrower than the table: a pipe counts as 80 columns, and a cut number is none.
    console = Console(width=max(TABLE_WIDTH, Console().width))
    console.print(table_of(rows))
    for row in rows:
        if row.note:
            console.print(f"  {row.what}: {row.note}", highlight=False)
    console.print("  the longest steps of the loop:")
    for what, seconds in found.steps:
        console.print(f"    {seconds:6.2f} s  {what}", highlight=False)
    record = {"bench": "loop", "run": folder.name, "cpus": usable_cpus(), "rows": [row.record() for row in rows]}
    print(json.dumps(record | {"steps": [[what, round(seconds, 3)] for what, seconds in found.steps]}))
    return 0


def table_of(rows: Sequence[Row]) -> Any:
    """The table: a row each, with unit, median, range, CPU time, target and whether it holds."""
    from rich.table import Table

    table = Table(title="what the harness costs")
    for heading in ("what", "unit", "median", "from – to", "CPU s", "at most", "holds"):
        table.add_column(heading, justify="left" if heading == "what" else "right", no_wrap=True)
    for row in rows:
        median = "–" if row.median is None else f"{row.median:.2f}"
        span = f"{min(row.values):.2f} – {max(row.values):.2f}" if row.values else "–"
        cpu = f"{statistics.median(row.cpu_s):.2f}" if row.cpu_s else "–"
        holds = {True: "yes", False: "NO", None: "not measured"}[row.holds]
        table.add_row(row.what, row.unit, median, span, cpu, f"{row.at_most:g}", holds)
    return table


def run_smoke(root: Path) -> SmokeRun:
    """Run the smoke loop in this project with a `watch` beside it; what it says goes to the error stream.

    Raises:
        GateError: the session left no run.
    """
    before = set(root.glob("results/*/journal.jsonl"))
    harness, watch = CpuTrace(), CpuTrace()
    session = subprocess.Popen([sys.executable, *SESSION], cwd=root, stdout=sys.stderr)
    watching: subprocess.Popen[bytes] | None = None
    try:
        with _sampled(psutil.Process(session.pid), harness):
            while not (new := set(root.glob("results/*/journal.jsonl")) - before) and session.poll() is None:
                time.sleep(SAMPLE_S)
            if not new:
                raise GateError(f"pytest ended with status {session.wait()} and left no run; its output is above")
            folder = new.pop().parent
            words = ("-m", "tinyworlds_gate", "watch", str(folder), "--for", "4h", "--plain")
            watching = subprocess.Popen([sys.executable, *words], cwd=root, stdout=subprocess.DEVNULL)
            with _sampled(psutil.Process(watching.pid), watch):
                session.wait()
    finally:
        for process in (session, watching):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait()
    return SmokeRun(folder, harness, watch)


@contextmanager
def _sampled(process: psutil.Process, trace: CpuTrace) -> Iterator[None]:
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_S):
            trace.take(process)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _monitor_rows(smoke: SmokeRun | None, events: Sequence[Event]) -> list[Row]:
    names = ("harness while a child lives", "watch --plain beside it")
    if smoke is None:
        return [Row(name, "% of a core", [], 1.0, note="needs a run of its own: leave --run out") for name in names]
    lives = child_lives(events)
    watched = smoke.watch.moments
    settled = [(watched[0] + SETTLED_S, watched[-1])] if watched else []
    return [
        Row(names[0], "% of a core", smoke.harness.percent(lives), 1.0, note=f"{len(lives)} children"),
        Row(names[1], "% of a core", smoke.watch.percent(settled), 1.0),
    ]


def _command_row(what: str, words: Sequence[str], root: Path, rounds: int, at_most: float) -> Row:
    """Start a command once to warm up, then ``rounds`` times.

    Raises:
        GateError: it did not end with 0.
    """
    # As it is installed: without byte code every start would compile the sources anew.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    runs = [timed([sys.executable, *words], root, environment) for _ in range(rounds + 1)][1:]
    return Row(what, "s", [wall for wall, _ in runs], at_most, [cpu for _, cpu in runs])


def timed(command: Sequence[str], root: Path, environment: Mapping[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command with the processes that it waited for.

    Raises:
        GateError: it did not end with 0.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=root, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        shown = " ".join(command[1:])
        raise GateError(
            f"`python {shown}` ended with status {process.returncode}, so its time says nothing; run it alone"
        )
    return wall_s, used.ru_utime + used.ru_stime


def _loop_note(found: LoopTime) -> str:
    made = f", {found.data_s:.0f} s frames" if found.data_s else ""
    return f"{found.total_s:.0f} s in all, {found.children_s:.0f} s children{made}"
