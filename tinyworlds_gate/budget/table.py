"""The leaderboard as a table: the tries that have a score, best first, and after them those that have none."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from tinyworlds_gate.budget.leaderboard import FINISHED, STARTED
from tinyworlds_gate.budget.one_try import SCORED
from tinyworlds_gate.run.formats import number_text
from tinyworlds_gate.run.journal import Event, events_of

WIDTH = 140
_COLUMNS = ("try", "skill", "95 %", "MSE", "95 %", "strongest baseline", "verdict", "s", "command")
UNFINISHED = "no result: it is still running, or the harness was ended with it"


def ranked(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return a row for each try: scored ones by the lower end of their skill, best first; then the others in order.

    Skill is against the strongest prediction without a model on the same clips: each try has clips of its own.
    """
    results = {int(event["try"]): event for event in events_of(events, FINISHED)}
    rows: list[dict[str, Any]] = [
        dict(results.get(int(event["try"]), {**event, "status": "UNFINISHED", "reason": UNFINISHED}))
        for event in events_of(events, STARTED)
    ]
    scored = [row for row in rows if row["status"] == SCORED]
    return sorted(scored, key=lambda row: -_skill(row)) + [row for row in rows if row["status"] != SCORED]


def _skill(row: dict[str, Any]) -> float:
    value = row["score"]["skill_strongest_low"]
    return float("-inf") if value is None else float(value)


def table_text(events: Sequence[Event]) -> str:
    """Return the table for a terminal."""
    table = Table(title="skill: 1 - MSE / MSE of the strongest prediction without a model", title_justify="left")
    for heading in _COLUMNS:
        table.add_column(heading, justify="left" if heading == "command" else "right", overflow="fold")
    for row in ranked(events):
        table.add_row(*_cells(row))
    console = Console(file=StringIO(), width=WIDTH)
    console.print(table)
    for row in ranked(events):
        if row["status"] != SCORED:
            console.print(f"try {row['try']}: {row['reason']}", soft_wrap=True, markup=False)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().rstrip()


def _cells(row: dict[str, Any]) -> list[str]:
    used = (row.get("seconds") or {}).get("train") or {}
    command = str(row["command"])
    if row["status"] != SCORED:
        return [str(row["try"]), *["-"] * 5, row["status"], number_text(used.get("used"), ".1f", "-"), command]
    score, baseline = row["score"], row["baseline"]

    def interval(name: str, form: str) -> str:
        return f"{number_text(score[f'{name}_low'], form)} to {number_text(score[f'{name}_high'], form)}"

    same = row.get("same_weights_as_try")
    return [
        str(row["try"]) if same is None else f"{row['try']} (= {same})",
        number_text(score["skill_strongest"], ".3f"),
        interval("skill_strongest", ".3f"),
        number_text(score["mse"], ".4f"),
        interval("mse", ".4f"),
        number_text(baseline["strongest_baseline_mse"], ".4f"),
        row["verdict"],
        number_text(used.get("used"), ".1f", "-"),
        command,
    ]
