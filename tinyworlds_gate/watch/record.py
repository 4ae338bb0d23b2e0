"""The files that a watch leaves (M4): `Logs/monitor_4h_<timestamp>.log` and `Logs/monitor_4h_latest.info`.

The names are those of the specification, whatever time was asked for; the log's first line says for which run and for
how long.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.timestamps import timestamp
from tinyworlds_gate.watch.plain import NOTE, STATUS, Line, info_lines
from tinyworlds_gate.watch.view import View

LATEST = "monitor_4h_latest.info"
LOG_NAME = "monitor_4h_{stamp}.log"
LOG_GLOB = "monitor_4h_*.log"
HEAD = "watch of run {run} for {asked}"


class WatchRecord:
    """Writes both files; one that cannot be written any more is told in ``problem`` and stops no watch.

    Raises:
        GateError: the log cannot be made.
    """

    def __init__(self, layout: RunLayout, asked: str) -> None:
        self._layout, self._asked = layout, asked
        self._began = time.time()
        self.problem: str | None = None
        self.log, self._file = _new_log(layout.histories, self._began)
        self.write([Line(self._began, NOTE, HEAD.format(run=layout.run, asked=asked))])

    def write(self, lines: Iterable[Line]) -> None:
        """Append lines to the log."""
        try:
            for line in lines:
                self._file.write(f"{line}\n")
            self._file.flush()
        except OSError as error:
            self._refused(self.log, error)

    def show(self, view: View) -> None:
        """Replace `monitor_4h_latest.info`; a reader sees the old one or the new one."""
        path = self._layout.histories / LATEST
        head = [
            f"run: {self._layout.relative(self._layout.root)}",
            f"watched since: {timestamp(self._began)} for {self._asked}",
            f"log: {self._layout.relative(self.log)}",
            f"updated: {timestamp(view.now)}",
        ]
        part = path.with_name(f".{LATEST}.{os.getpid()}")
        try:
            part.write_text("\n".join([*head, *info_lines(view)]) + "\n", encoding="utf-8", errors="replace")
            part.replace(path)
        except OSError as error:
            self._refused(path, error)

    def close(self, reason: str) -> None:
        """Write why the watch ended."""
        self.write([Line(time.time(), NOTE, f"the watch ended: {reason}")])
        try:
            self._file.close()
        except OSError as error:
            self._refused(self.log, error)

    def _refused(self, path: Path, error: OSError) -> None:
        self.problem = f"{self._layout.relative(path)} cannot be written: {error.strerror or error}"


def _new_log(folder: Path, moment: float) -> tuple[Path, IO[str]]:
    """A log that no other watch writes; two watches of one second get names of two seconds."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = folder / LOG_NAME.format(stamp=timestamp(moment))
            try:
                return path, open(path, "x", encoding="utf-8", errors="replace")
            except FileExistsError:
                moment += 1.0
    except OSError as error:
        raise GateError(
            f"The record of the watch cannot be written in {folder}: {error.strerror}. Make the folder writable, free "
            "its disk, or watch without --for."
        ) from error


# What earlier watches of a run left in Logs/, read back as the evidence for M4.

_LINE = re.compile(r"(?P<moment>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)  (?P<kind>[A-Z]+) +(?P<told>.*)")
_HEAD = re.compile(r"watch of run (?P<run>\S+) for (?P<asked>\S+)")


@dataclass(frozen=True)
class LeftWatch:
    """One log: for how long was asked, how often the run was seen at work, and seconds from first to last of these."""

    log: Path
    asked: str
    seen: int
    seconds: float


def watches_of(layout: RunLayout) -> list[LeftWatch]:
    """The logs that name this run in their first line, oldest first; a log that cannot be read is none."""
    found = (_read(path, layout.run) for path in sorted(layout.histories.glob(LOG_GLOB)))
    return [watch for watch in found if watch is not None]


def _read(path: Path, run: str) -> LeftWatch | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # A line counts once its end is written.
    lines = [match for line in text.split("\n")[:-1] if (match := _LINE.fullmatch(line))]
    head = _HEAD.fullmatch(lines[0]["told"]) if lines else None
    if head is None or head["run"] != run:
        return None
    moments = [moment for line in lines if line["kind"] == STATUS and (moment := _moment(line["moment"])) is not None]
    seconds = (moments[-1] - moments[0]).total_seconds() if moments else 0.0
    return LeftWatch(path, head["asked"], len(moments), max(0.0, seconds))


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
