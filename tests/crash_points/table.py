"""The record of the sweep (docs/results/crash_points.json) as a section of docs/faults.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORD = Path(__file__).resolve().parents[2] / "docs" / "results" / "crash_points.json"

RESUME = "during the resume"
COLUMNS = ("SIGKILL", "torn tail", "ENOSPC", "EIO", "EROFS", "power loss", RESUME)

TEXT = """\
## Crash points

`make crash-points` injects a fault at every write, fsync, rename, creation and removal that a command makes, looks at
the disk, runs the command again without a fault and looks again. After a kill at each change, faults are also injected
into the rerun, which then runs once more. ENOSPC and EROFS last until the command ends, EIO hits one call. A torn tail
is half a write, then SIGKILL. A power loss is SIGKILL, and the second half of what was not synced is lost. HDF5 files
are written through the harness's own file object, so that each of their writes is a change too.

A problem is: a torn file that is accepted, a lost journal line, checkpoint, report or folder, a traceback instead of a
sentence, or a rerun that does not go on by itself.
"""


def crash_section(record: Path = RECORD) -> str:
    """Return the section; the counts are cases per subject and fault."""
    if not record.exists():
        return ""
    data: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    total, problems = data["cases"], len(data["problems"])
    lines = [
        f"{total:,} cases, {problems} problems, measured on {data['date']} in {data['seconds']:.0f} s with "
        f"{data['jobs']} processes.",
        "",
        f"| Subject | {' | '.join(COLUMNS)} | All |",
        f"| --- |{' ---: |' * (len(COLUMNS) + 1)}",
    ]
    for row, counts in data["rows"].items():
        cells = [str(counts.get(name, 0)) for name in COLUMNS]
        lines.append(f"| {row} | {' | '.join(cells)} | {sum(counts.values())} |")
    return "\n".join(["", TEXT, *lines])
