"""The record of the soaks (docs/results/soak.json) as a section of docs/faults.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORD = Path(__file__).resolve().parents[2] / "docs" / "results" / "soak.json"

TEXT = """\
## Soak

`python -m tests.soak` runs the loop once without interruption and once with SIGKILLs at random moments to random
processes of it (pytest, the watchdog process, torchrun, a worker, the inference process), and resumes it whenever
pytest itself was killed. Weights, measurements, verdicts and status must be bit-identical.

Effective training time is the share of the wall time of training that became updates of the models. It is computed
from the journal, and every report states it. Starts of processes, repeated updates, checkpoints and the time until a
resume count as lost; inference is no training. The load is the number of busy processes of the machine at the end.
"""
HEADINGS = (
    *("Run", "Kills", "Of pytest", "Seconds", "without kills", "Effective", "without kills"),
    *("Load", "Bit-identical"),
)


def soak_section(record: Path = RECORD) -> str:
    """Return the section, or nothing without a record."""
    if not record.exists():
        return ""
    data: dict[str, dict[str, Any]] = json.loads(record.read_text(encoding="utf-8"))
    lines = [f"| {' | '.join(HEADINGS)} |", f"| --- |{' ---: |' * 7} --- |"]
    for name, one in data.items():
        cells = [
            *(name, one["kills"], one["kills_of_the_harness"], one["killed_s"], one["uninterrupted_s"] or "-"),
            *(_percent(one["killed_effective"]), _percent(one["uninterrupted_effective"]), one["load"]),
            {True: "yes", False: "**no**", None: "not compared"}[one["bit_identical"]],
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    machines = sorted({f"{one['date']}, {one['machine']}" for one in data.values()})
    return "\n".join(["", TEXT, *lines, "", f"Measured on {'; '.join(machines)}."])


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
