"""The picture of a ranking: the return of each policy in the model against that in the game."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.reports.verdict_picture.page import GRID, INK, MUTED, Page
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.drawing import plain_style

WIDTH_IN, MARGIN_IN, SIDE_IN, LINE_IN, DPI = 12.0, 0.45, 5.0, 0.24, 100
POINT = "#1f4e79"
ROW_IN = 0.3


def draw_picture(record: Mapping[str, Any], path: Path) -> None:
    """Write a PNG.

    Raises:
        OSError: the folder cannot be written.
    """
    lines = [part for one in record["sentences"] for part in textwrap.wrap(one, 150)]
    top = MARGIN_IN + 0.45 + LINE_IN * len(lines) + 0.35
    with plain_style():
        page = Page(WIDTH_IN, top + SIDE_IN + 0.9, DPI)
        title = f"Policies of {record['game']}" + (f" in {record['model']}" if "model" in record else "")
        page.text(MARGIN_IN, MARGIN_IN, title, size=13, weight="bold")
        for number, line in enumerate(lines):
            page.text(MARGIN_IN, MARGIN_IN + 0.4 + number * LINE_IN, line, size=9.5)
        axes = page.axes(MARGIN_IN + 0.5, top, SIDE_IN, SIDE_IN)
        for number, row in enumerate(record["policies"], start=1):
            axes.errorbar(
                row["game"],
                row["model"],
                xerr=_bar(row, "game"),
                yerr=_bar(row, "model"),
                fmt="o",
                color=POINT,
                ecolor=MUTED,
                elinewidth=1,
                markersize=6,
            )
            axes.annotate(str(number), (row["game"], row["model"]), xytext=(5, 5), textcoords="offset points", size=10)
        axes.set_xlabel("return in the game (its score)", fontsize=10, color=INK)
        axes.set_ylabel("return in the model (read from its frames)", fontsize=10, color=INK)
        axes.grid(color=GRID)
        left = MARGIN_IN + 0.5 + SIDE_IN + 0.5
        for x, text in ((0.0, "policy"), (3.1, "game"), (4.0, "read"), (4.9, "model")):
            page.text(left + x, top + 0.1, text, size=10, weight="bold")
        for number, row in enumerate(record["policies"], start=1):
            y = top + 0.1 + ROW_IN * number
            page.text(left, y, f"{number}  {row['policy']}", size=10)
            for x, key in ((3.1, "game"), (4.0, "read"), (4.9, "model")):
                page.text(left + x, y, f"{row[key]:.2f}", size=10)
        page.text(
            left,
            top + ROW_IN * (len(record["policies"]) + 2),
            "Bars: 95 % intervals over episodes.",
            size=9,
            colour=MUTED,
        )
        with atomic_path(path) as temporary:
            page.figure.savefig(temporary, format="png", dpi=DPI)


def _bar(row: Mapping[str, Any], key: str) -> list[list[float]] | None:
    """Return the lengths of an error bar below and above, as matplotlib takes them."""
    if row[f"{key}_interval"] is None:
        return None
    low, high = row[f"{key}_interval"]
    return [[max(0.0, row[key] - low)], [max(0.0, high - row[key])]]
