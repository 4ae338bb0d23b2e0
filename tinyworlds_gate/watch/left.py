"""What earlier watches of a run left in Logs/, read back as the evidence for M4."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.watch.plain import STATUS
from tinyworlds_gate.watch.record import LOG_GLOB

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
