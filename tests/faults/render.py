"""docs/faults.md from the table and the record: python -m tests.faults.render"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.faults.fault import Fault
from tests.faults.record import Tests, read_record, verdict_of
from tests.faults.table import FAULTS, SECTIONS

REPOSITORY = Path(__file__).resolve().parents[2]
RECORD = REPOSITORY / "docs" / "results" / "faults.json"
PAGE = REPOSITORY / "docs" / "faults.md"

NOT_MEASURED = "not measured yet"
HEAD = """\
# The fault matrix

What can happen to a long run, and what is there afterwards: what the loop does, what the report says, what is left
running and what is lost. Every row is at least one test in `tests/faults/` that breaks a real process, file or
device, never the code that would notice; its verdict is what was measured. After every test nothing of its project may
run, every checkpoint and every line of journal and logs from before the fault must be there, and a bystander
(`tail -f` on a stage script) must be alive.

This page is written from `tests/faults/table.py` and [results/faults.json](results/faults.json), which also holds each
test's duration, date, commit and machine. `make faults` measures every row and writes the page again;
`python -m tests.faults.render` only writes it.
"""
COLUMNS = ("Fault", "What happens, and how the test does it", "The loop", "The report", "Running", "Lost", "Verdict")


def page(record: Mapping[str, Tests]) -> str:
    """The whole page."""
    counts = Counter(_verdict(record, row)[0] for row in FAULTS)
    measured = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
    machines = sorted({test["machine"] for tests in record.values() for test in tests.values()})
    lines = [HEAD, f"{len(FAULTS)} rows: {measured or 'none'}."]
    lines += [f"Measured on: {'; '.join(machines)}."] if machines else []
    lines += ["", _row(COLUMNS), _row(["---"] * len(COLUMNS))]
    for section in SECTIONS:
        if section.rows:
            lines.append(_row([f"**{section.title}**", *[""] * (len(COLUMNS) - 1)]))
        lines += [_row(_cells(record, row)) for row in section.rows]
    return "\n".join(lines) + "\n"


def _cells(record: Mapping[str, Tests], row: Fault) -> list[str]:
    verdict, reason = _verdict(record, row)
    told = f"**{verdict}**" + (f" ({reason})" if reason else "") + (", slow" if row.slow else "")
    requirements = f"`{row.id}` <br> {' '.join(row.requirements)}"
    return [requirements, f"{row.title} <br> *{row.injected}*", row.loop, row.report, row.running, row.lost, told]


def _verdict(record: Mapping[str, Tests], row: Fault) -> tuple[str, str]:
    tests = record.get(row.id)
    return verdict_of(tests) if tests else (NOT_MEASURED, "")


def _row(cells: list[str] | tuple[str, ...]) -> str:
    escaped = (" ".join(cell.replace("|", "\\|").split()) for cell in cells)
    return f"| {' | '.join(escaped)} |"


def main() -> None:
    """Write docs/faults.md."""
    PAGE.write_text(page(read_record(RECORD)), encoding="utf-8")


if __name__ == "__main__":
    main()
