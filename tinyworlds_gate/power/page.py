"""docs/gate-power.md from the record: defect, verdict, reason, as measured, and the two error rates."""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import Any

from tinyworlds_gate.power.record import Record
from tinyworlds_gate.reports.markdown import code, escape

PAGE = Path("docs/gate-power.md")
RECORD = Path("docs/results/gate-power.json")
SENTENCE_CHARS = 260

HEAD = """# The power of the gate: what it does not let pass, and what it does

`tinyworlds-gate power --record docs/results/gate-power.json --page docs/gate-power.md` measures the rows and
writes this page; do not edit it by hand.

A small model that is good (the lamp world, `tinyworlds_gate/power/world.py`) is measured by the real inference process
under the rule of the long-run profiles, and passes. Then one defect at a time gets in: through weights, files, data,
the rollout's code or the child's output, never through a field that the verdict reads. A row holds when the verdict,
the condition that fails and the reason in the sentence are the expected ones. The same evidence is then judged without
the named condition: the row must not hold any more, or the condition is not what catches the defect.

`pytest validation/ -m power` holds every row; `make test` holds the quick ones.
"""


def page(record: Record) -> str:
    """The whole page."""
    rows = record["rows"]
    passed = [id for id, row in rows.items() if row["verdict"] in ("PASS", "DEGRADED")]
    parts = [HEAD, "## Error rates\n"]
    parts.append(f"- False passes: {told(len(passed), len(rows))} defects got a PASS.")
    for key, what in (
        ("trainings", "trainings of the lamp world from other initial weights, under the strict rule, did not pass"),
        ("smoke_trainings", "trainings of the smoke profile from other initial weights did not pass"),
    ):
        trained = record.get(key) or {}
        if trained:
            failed = [seed for seed, one in trained.items() if one["verdict"] != "PASS"]
            parts.append(f"- False fails: {told(len(failed), len(trained))} {what}.")
    parts.append(
        "\nThe rows are defects that somebody thought of, not a sample of those that exist: the first interval says\n"
        "how sure the number is, not how many other defects there are. Intervals: Clopper and Pearson.\n"
    )
    held = sum(row["caught"] and not row["caught_without"] for row in rows.values())
    parts.append(f"## Defects\n\n{len(rows)} rows, {held} hold.\n")
    parts.append(
        _table(["Defect", "Enters by", "Verdict", "Check", "What the check says", "Without the check"], _rows(rows))
    )
    parts.append(_limits(record.get("limits") or {}))
    parts.append(_trainings(record))
    parts.append(_measured(rows))
    return "\n".join(parts).rstrip() + "\n"


def _rows(rows: dict[str, Any]) -> list[list[str]]:
    return [
        [
            f"{code(id)} {escape(row['what'])}",
            row["way"],
            row["verdict"] if row["caught"] else f"**{row['verdict']}, not as expected**",
            row["check"],
            str(escape(_short(row["reason"]))),
            row["without"] if not row["caught_without"] else f"**{row['without']}, still caught**",
        ]
        for id, row in rows.items()
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _limits(limits: dict[str, Any]) -> str:
    if not limits:
        return ""
    lines = ["\n## What the rule does not see\n"]
    for row in limits.values():
        lines.append(f"- {row['what'][0].upper()}{row['what'][1:]}: {_short(row['sentence'])}")
    lines.append(
        "\nMean squared error rewards the average of what may come. Blur is told by SSIM and by the picture, which the "
        "report shows beside the verdict, not by the rule.\n"
    )
    return "\n".join(lines)


def _trainings(record: Record) -> str:
    lines = []
    for key, title in (
        ("trainings", "Trainings of the lamp world (`tinyworlds-gate power --trainings 20`), strict rule"),
        ("smoke_trainings", "Trainings of the smoke profile (`pytest validation/ -m smoke --seed N`)"),
    ):
        trained = record.get(key) or {}
        if not trained:
            continue
        cells = [
            [
                seed,
                one["verdict"],
                _number(one.get("mse")),
                f"{_number(one.get('mse_low'))} to {_number(one.get('mse_high'))}",
                _number(one.get("skill"), 2),
                one.get("machine", ""),
            ]
            for seed, one in trained.items()
        ]
        lines.append(f"\n## {title}\n")
        lines.append(_table(["Seed", "Verdict", "MSE", "95 % interval", "Skill", "Machine"], cells))
    return "\n".join(lines)


def _measured(rows: dict[str, Any]) -> str:
    places = sorted(
        {f"{row.get('machine', '?')}, {row.get('date', '?')}, commit {row.get('commit', '?')}" for row in rows.values()}
    )
    return f"\nRows measured on: {'; '.join(places)}.\n"


def _number(value: object, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "not measured"


def _short(sentence: str) -> str:
    return sentence if len(sentence) <= SENTENCE_CHARS else f"{sentence[:SENTENCE_CHARS].rsplit(' ', 1)[0]} …"


# A rate with its exact 95 % interval (Clopper and Pearson 1934).

LEVEL = 0.95
BISECTIONS = 60


def interval(count: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Ends of the exact interval for ``count`` of ``trials``.

    Raises:
        ValueError: no trials, or a count that does not fit them.
    """
    if trials < 1 or not 0 <= count <= trials:
        raise ValueError(f"{count} of {trials} is no rate; needed is a count from 0 to a number of trials from 1")
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else _root(lambda p: 1 - _at_most(count - 1, trials, p) - tail)
    high = 1.0 if count == trials else _root(lambda p: tail - _at_most(count, trials, p))
    return low, high


def told(count: int, trials: int) -> str:
    """``0 of 20 (95 % interval 0 % to 16.8 %)``."""
    low, high = interval(count, trials)
    return f"{count} of {trials} (95 % interval {100 * low:.1f} % to {100 * high:.1f} %)"


def _at_most(count: int, trials: int, p: float) -> float:
    return sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(count + 1))


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function of a probability is 0."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
