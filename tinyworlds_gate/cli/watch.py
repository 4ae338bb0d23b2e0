"""The command `tinyworlds-gate watch results/<run>`: a live page of a run, or plain lines and a record (M4).

It only reads the journal and the files that it names, so any number of watches can be started and stopped at any time.
"""

from __future__ import annotations

import argparse
import io
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.watch.durations import parse_duration
from tinyworlds_gate.watch.plain import LogLines
from tinyworlds_gate.watch.reader import RunReader, Snapshot
from tinyworlds_gate.watch.record import WatchRecord
from tinyworlds_gate.watch.screens import choose_screen
from tinyworlds_gate.watch.state import ENDED, RunState
from tinyworlds_gate.watch.view import Alert, View, view_of

POLL_S = 2.0
"""Interval between two readings of the files, seconds."""
LINGER_S = 3.0
"""How long to watch after the end of a run, seconds; its reports are still being written."""
LISTED_RUNS = 5
"""Runs that an error lists."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run", type=Path, metavar="results/RUN", help="the run's folder, the one with journal.jsonl")
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="DURATION",
        help="watch this long (4h, 90m, 30s) and write a record: Logs/monitor_4h_<timestamp>.log and "
        "Logs/monitor_4h_latest.info (default: until the run has ended, without a record)",
    )
    parser.add_argument("--plain", action="store_true", help="lines instead of a page; the default without a terminal")
    parser.add_argument(
        "--every",
        default="60s",
        metavar="DURATION",
        help="interval between two status lines (default: 60s); events and alerts are printed at once",
    )


def run(args: argparse.Namespace) -> int:
    """Watch until the run has ended, the time is over, or Ctrl-C; return 0 whatever the run's verdict is.

    Raises:
        GateError: there is no such run, a duration is wrong, or the record cannot be written.
    """
    layout = layout_of(args.run)
    last_s = None if args.duration is None else parse_duration(args.duration)
    every_s = parse_duration(args.every)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal with another character set
    with _signals_as_ctrl_c():
        Watch(layout, duration=args.duration, last_s=last_s, every_s=every_s, plain=args.plain).run()
    return 0


def layout_of(folder: Path) -> RunLayout:
    """Return the layout of a run, given its folder.

    Raises:
        GateError: it is not a folder `<project>/results/<run>`.
    """
    whole = folder.resolve()
    if whole.parent.name == "results" and whole.is_dir():
        return RunLayout(whole.parent.parent, whole.name)
    results = whole.parent if whole.parent.name == "results" else whole if whole.name == "results" else Path("results")
    with suppress(OSError):
        runs = sorted((path for path in results.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        if runs:
            names = ", ".join(path.name for path in reversed(runs[-LISTED_RUNS:]))
            raise GateError(f"{folder} is not a run's folder: give one in {results}; the newest are {names}.")
    raise GateError(
        f"{folder} is not a run's folder: expected <project>/results/<run>. A run creates its folder when it starts "
        "and prints its name first."
    )


class Watch:
    """A watch of one run."""

    def __init__(
        self, layout: RunLayout, *, duration: str | None, last_s: float | None, every_s: float, plain: bool
    ) -> None:
        self._layout, self._duration, self._last_s, self._plain = layout, duration, last_s, plain
        self._log_lines = LogLines(every_s)

    def run(self) -> None:
        """Read and show the run repeatedly until it has ended or the time is over."""
        record = None if self._duration is None else WatchRecord(self._layout, self._duration)
        screen = choose_screen(plain=self._plain)
        reason, view, is_over = "a fault of its own", None, False
        try:
            for snapshot, view in self._snapshots():
                lines = self._log_lines.lines(view, snapshot.new_events)
                if record is not None:
                    record.write(lines)
                    record.show(view)
                    view = _with_problem(view, record.problem)
                screen.show(view, lines)
                is_over = self._is_over(snapshot.state, view.now)
            reason = "the run has ended" if is_over else "its time is over"
        except KeyboardInterrupt:
            reason = "it was stopped by a person or by the system"
        except GateError as error:
            reason = str(error)
            raise
        except OSError as error:  # only from the screen: problems of files are shown, not raised
            reason = f"its terminal or its reader has gone ({error.strerror})"
            raise BrokenPipeError from error
        finally:
            if record is not None:
                record.close(reason)
            screen.close(view)

    def _snapshots(self) -> Iterator[tuple[Snapshot, View]]:
        """Yield a snapshot every two seconds; the last one is at the run's end or at the end of the time."""
        reader, began = RunReader(self._layout), time.monotonic()
        while True:
            snapshot = reader.read()
            view = view_of(snapshot.state, snapshot.facts, time.time())
            yield snapshot, view
            left_s = None if self._last_s is None else began + self._last_s - time.monotonic()
            if self._is_over(snapshot.state, view.now) or (left_s is not None and left_s <= 0):
                return
            time.sleep(POLL_S if left_s is None else min(POLL_S, left_s))

    def _is_over(self, state: RunState, now: float) -> bool:
        """Whether the run has ended; a watch with a duration also waits for an interrupted run to be resumed."""
        if state.phase != ENDED or (state.may_be_resumed and self._last_s is not None):
            return False
        return now - (state.last_event or 0.0) >= LINGER_S


def _with_problem(view: View, problem: str | None) -> View:
    return view if problem is None else replace(view, alerts=(*view.alerts, Alert("record", problem)))


@contextmanager
def _signals_as_ctrl_c() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C; a SIGHUP that `nohup` ignores stays ignored."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
