"""Write and read the record of a watch (M4): `Logs/monitor_4h_<timestamp>.log` and `Logs/monitor_4h_latest.info`.

The specification fixes these names, whatever the duration; the log's first line names the run and the duration.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.owned import owned_folder
from tinyworlds_gate.run.timestamps import timestamp
from tinyworlds_gate.watch.plain import NOTE, STATUS, Line, info_lines
from tinyworlds_gate.watch.view import View

LATEST = "monitor_4h_latest.info"
LOG_NAME = "monitor_4h_{stamp}.log"
LOG_GLOB = "monitor_4h_*.log"
HEAD = "watch of run {run} for {duration}"


class WatchRecord:
    """Writes both files; a later write error is reported in ``problem`` and does not stop the watch.

    Raises:
        GateError: the log cannot be created.
    """

    def __init__(self, layout: RunLayout, duration: str) -> None:
        self._layout, self._duration = layout, duration
        self._began = time.time()
        self.problem: str | None = None
        self.log, self._file = _new_log(layout.project_root, layout.histories, self._began)
        self.write([Line(self._began, NOTE, HEAD.format(run=layout.run, duration=duration))])

    def write(self, lines: Iterable[Line]) -> None:
        """Append lines to the log."""
        try:
            for line in lines:
                self._file.write(f"{line}\n")
            self._file.flush()
        except OSError as error:
            self._report(self.log, error)

    def show(self, view: View) -> None:
        """Replace `monitor_4h_latest.info` atomically."""
        path = self._layout.histories / LATEST
        head = [
            f"run: {self._layout.relative(self._layout.root)}",
            f"watched since: {timestamp(self._began)} for {self._duration}",
            f"log: {self._layout.relative(self.log)}",
            f"updated: {timestamp(view.now)}",
        ]
        text = "\n".join([*head, *info_lines(view)]) + "\n"
        try:
            self.log.stat()  # a folder that was moved away is a problem to report, not to be made again
            atomic_write(path, text.encode("utf-8", "replace"), durable=False)
        except OSError as error:
            self._report(path, error)

    def close(self, reason: str) -> None:
        """Write why the watch ended."""
        self.write([Line(time.time(), NOTE, f"the watch ended: {reason}")])
        try:
            self._file.close()
        except OSError as error:
            self._report(self.log, error)

    def _report(self, path: Path, error: OSError) -> None:
        self.problem = f"{self._layout.relative(path)} cannot be written: {error.strerror or error}"


def _new_log(root: Path, folder: Path, moment: float) -> tuple[Path, IO[str]]:
    """Create a new log; if another watch took this second's name, use the next second."""
    try:
        owned_folder(root, folder)
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


_LINE = re.compile(r"(?P<moment>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)  (?P<kind>[A-Z]+) +(?P<text>.*)")
_HEAD = re.compile(r"watch of run (?P<run>\S+) for (?P<duration>\S+)")


@dataclass(frozen=True)
class WatchLog:
    """One log: the requested duration, the number of status lines, and the seconds from the first to the last one."""

    log: Path
    duration: str
    observations: int
    seconds: float


def read_watch_logs(layout: RunLayout) -> list[WatchLog]:
    """Return the logs of watches of this run (M4 evidence), oldest first; unreadable logs are skipped."""
    found = (_read(path, layout.run) for path in sorted(layout.histories.glob(LOG_GLOB)))
    return [watch for watch in found if watch is not None]


def latest_log(layout: RunLayout) -> str | None:
    """Return the log that `monitor_4h_latest.info` names, as a path in the project; None where it is of another run."""
    try:
        lines = (layout.histories / LATEST).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    fields = dict(line.partition(": ")[::2] for line in lines[:4])
    return fields.get("log") if fields.get("run") == layout.relative(layout.root) else None


def _read(path: Path, run: str) -> WatchLog | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The last line may be incomplete.
    lines = [match for line in text.split("\n")[:-1] if (match := _LINE.fullmatch(line))]
    head = _HEAD.fullmatch(lines[0]["text"]) if lines else None
    if head is None or head["run"] != run:
        return None
    moments = [moment for line in lines if line["kind"] == STATUS and (moment := _moment(line["moment"])) is not None]
    seconds = (moments[-1] - moments[0]).total_seconds() if moments else 0.0
    return WatchLog(path, head["duration"], len(moments), max(0.0, seconds))


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
