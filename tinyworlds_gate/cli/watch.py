"""The command `tinyworlds-gate watch results/<run>`: a live page of a run, or plain lines and a record (M4).

It reads the journal and the files that it names and writes nothing into the run, so that it can be started and stopped
at any time, by any number of people.
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
from tinyworlds_gate.watch.plain import Narrator
from tinyworlds_gate.watch.reader import Look, RunReader
from tinyworlds_gate.watch.record import WatchRecord
from tinyworlds_gate.watch.screens import choose_screen
from tinyworlds_gate.watch.state import ENDED, RunState
from tinyworlds_gate.watch.view import Alert, View, view_of

LOOK_S = 2.0
"""Between two looks at the files."""
LINGER_S = 3.0
"""After a run's end its reports are still being written."""
TOLD_RUNS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", type=Path, metavar="results/RUN", help="the run's folder, the one with journal.jsonl")
    parser.add_argument(
        "--for",
        dest="asked",
        metavar="DURATION",
        help="watch this long (4h, 90m, 30s), and keep a record: Logs/monitor_4h_<timestamp>.log and "
        "Logs/monitor_4h_latest.info (default: until the run has ended, without a record)",
    )
    parser.add_argument("--plain", action="store_true", help="lines instead of a page; so too without a terminal")
    parser.add_argument(
        "--every",
        default="60s",
        metavar="DURATION",
        help="between two lines on where the run stands (default: 60s); events and alerts are told at once",
    )


def run(args: argparse.Namespace) -> int:
    """Watch until the run has ended, the time is over, or Ctrl-C; the exit code is 0 whatever the run's verdict is.

    Raises:
        GateError: no such run, no such duration, or the record cannot be written.
    """
    layout = layout_of(args.run)
    last_s = None if args.asked is None else parse_duration(args.asked)
    every_s = parse_duration(args.every)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal of another character set
    with _ended_like_ctrl_c():
        Watch(layout, asked=args.asked, last_s=last_s, every_s=every_s, plain=args.plain).go()
    return 0


def layout_of(folder: Path) -> RunLayout:
    """The layout of a run that a person names by its folder.

    Raises:
        GateError: it is no folder `<project>/results/<run>`.
    """
    whole = folder.resolve()
    if whole.parent.name == "results" and whole.is_dir():
        return RunLayout(whole.parent.parent, whole.name)
    results = whole.parent if whole.parent.name == "results" else whole if whole.name == "results" else Path("results")
    with suppress(OSError):
        runs = sorted((path for path in results.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        if runs:
            named = ", ".join(path.name for path in reversed(runs[-TOLD_RUNS:]))
            raise GateError(f"{folder} is no run's folder: give one of {results}, the newest are {named}.")
    raise GateError(
        f"{folder} is no run's folder: expected <project>/results/<run>. A run makes it when it starts; its first line "
        "names it."
    )


class Watch:
    """One watch of one run, from its first look to its end."""

    def __init__(
        self, layout: RunLayout, *, asked: str | None, last_s: float | None, every_s: float, plain: bool
    ) -> None:
        self._layout, self._asked, self._last_s, self._plain = layout, asked, last_s, plain
        self._narrator = Narrator(every_s)

    def go(self) -> None:
        """Look, show and wait until there is nothing more to see."""
        record = None if self._asked is None else WatchRecord(self._layout, self._asked)
        screen = choose_screen(plain=self._plain)
        reason, view, is_over = "a fault of its own", None, False
        try:
            for look, view in self._looks():
                lines = self._narrator.lines(view, look.new_events)
                if record is not None:
                    record.write(lines)
                    record.show(view)
                    view = _with_problem(view, record.problem)
                screen.show(view, lines)
                is_over = self._is_over(look.state, view.now)
            reason = "the run has ended" if is_over else "its time is over"
        except KeyboardInterrupt:
            reason = "it was stopped by a person or by the system"
        except GateError as error:
            reason = str(error)
            raise
        except OSError as error:  # of the screen alone: files that cannot be read or written are told, and no error
            reason = f"its terminal or its reader has gone ({error.strerror})"
            raise BrokenPipeError from error
        finally:
            if record is not None:
                record.close(reason)
            screen.close(view)

    def _looks(self) -> Iterator[tuple[Look, View]]:
        """A look every two seconds; the last one is of the run's end, or of the end of the time."""
        reader, began = RunReader(self._layout), time.monotonic()
        while True:
            look = reader.look()
            view = view_of(look.state, look.facts, time.time())
            yield look, view
            left_s = None if self._last_s is None else began + self._last_s - time.monotonic()
            if self._is_over(look.state, view.now) or (left_s is not None and left_s <= 0):
                return
            time.sleep(LOOK_S if left_s is None else min(LOOK_S, left_s))

    def _is_over(self, state: RunState, now: float) -> bool:
        """A watch for a given time waits for the resumption of a run that was interrupted."""
        if state.phase != ENDED or (state.may_be_resumed and self._last_s is not None):
            return False
        return now - (state.last_event or 0.0) >= LINGER_S


def _with_problem(view: View, problem: str | None) -> View:
    return view if problem is None else replace(view, alerts=(*view.alerts, Alert("record", problem)))


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, and the loss of the terminal, end a watch in order; what `nohup` ignores stays ignored."""

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
