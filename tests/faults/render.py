"""Generate docs/faults.md from the table and the record: python -m tests.faults.render"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

from tests.crash_points.table import crash_section
from tests.faults.fault import NOTHING, Fault
from tests.faults.record import Tests, read_record, verdict_of
from tests.faults.table import FAULTS, SECTIONS
from tests.soak.page import soak_section

REPOSITORY = Path(__file__).resolve().parents[2]
RECORD = REPOSITORY / "docs" / "results" / "faults.json"
PAGE = REPOSITORY / "docs" / "faults.md"

WIDTH = 120
NOT_MEASURED = "not measured yet"
HEAD = """\
# Fault matrix

What the harness does when something breaks during a long run. Every fault has at least one test in `tests/faults/` that
breaks a real process, file or device, not the code under test.

After every test, three things must hold:

- No process of the test's project is still running.
- Every earlier checkpoint, and every earlier line of the journal and the logs, is still there.
- A bystander process (`tail -f` on a stage script) is still alive.

`python -m tests.faults.render` generates this page from `tests/faults/table.py` and
[results/faults.json](results/faults.json), which records the duration, date, commit and machine of each test.
`make faults` runs all tests, updates the record and generates the page.

Each entry says how the test causes the fault, what the loop does, what the report (or the terminal) says and what is
lost, and names its requirements and tests. A1, A5 and A6 are [reports](requirements.md#artifacts); T1 to T7 are
[retune rules](requirements.md#retuning).
"""


def page(record: Mapping[str, Tests]) -> str:
    """Return the whole page."""
    machines = sorted({test["machine"] for tests in record.values() for test in tests.values()})
    parts = [HEAD, "## Overview\n", f"{len(FAULTS)} faults: {_counts(record, FAULTS)}."]
    parts += [f"Measured on: {'; '.join(machines)}."] if machines else []
    parts += ["", "| Section | Faults | Slow | Verdicts |", "| --- | --- | --- | --- |"]
    parts += [
        f"| [{section.title}](#{section.title.lower().replace(',', '').replace(' ', '-')}) | {len(section.rows)} | "
        f"{sum(row.slow for row in section.rows)} | {_counts(record, section.rows)} |"
        for section in SECTIONS
    ]
    parts.append("\nA bare `pytest` does not run the slow ones.")
    for section in SECTIONS:
        parts += [f"\n## {section.title}"]
        parts += [_entry(record.get(row.id, {}), row) for row in section.rows]
    parts += [crash_section(), soak_section()]
    return "\n".join(parts).rstrip() + "\n"


def _entry(tests: Tests, row: Fault) -> str:
    verdict, reason = _verdict(tests)
    lines = [f"\n### {row.id}\n", _wrapped(row.title), ""]
    texts = {"Cause in the test": row.injected, "Loop": row.loop, "Report": row.report}
    if row.lost != NOTHING:
        texts["Lost"] = row.lost[0].upper() + row.lost[1:] + "."
    texts |= {
        "Requirements": ", ".join(row.requirements),
        "Verdict": f"**{verdict}**" + (f" ({reason})" if reason else "") + (", slow" if row.slow else ""),
    }
    lines += [_wrapped(f"- {label}: {text}", indent="  ") for label, text in texts.items()]
    for path in dict.fromkeys(node.partition("::")[0] for node in sorted(tests)):
        names = {node.partition("[")[0].rpartition("::")[2] for node in tests if node.startswith(f"{path}::")}
        listed = ", ".join(f"`{name}`" for name in sorted(names))
        lines.append(_wrapped(f"- Tests in `{path}`: {listed}", indent="  "))
    return "\n".join(lines)


def _counts(record: Mapping[str, Tests], rows: Sequence[Fault]) -> str:
    counts = Counter(_verdict(record.get(row.id, {}))[0] for row in rows)
    return ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))


def _verdict(tests: Tests) -> tuple[str, str]:
    return verdict_of(tests) if tests else (NOT_MEASURED, "")


def _wrapped(text: str, indent: str = "") -> str:
    return fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def main() -> None:
    """Write docs/faults.md."""
    PAGE.write_text(page(read_record(RECORD)), encoding="utf-8")


if __name__ == "__main__":
    main()
