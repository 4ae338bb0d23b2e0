"""Draw the verdicts of a project over time: error with interval, skill, objects, minutes, one column for each run.

Runs stand in the order of their start, at equal distances: twenty seeds of one night and a run a month later can both
be read. Only runs of the same profile, game and target are joined by a line. The mark of a verdict differs in shape,
so that no colour is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.names import DEGRADED, FAIL, INVALID, NOT_RUN, PASS
from tinyworlds_gate.reports.history import HistoryRow
from tinyworlds_gate.reports.markdown import clean, clock
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.drawing import load_matplotlib, plain_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7b4ab5")
OTHERS = "#8a94a0"
MARKS = {PASS: "o", DEGRADED: "D", FAIL: "X", INVALID: "s", NOT_RUN: "v"}
WORDS = {
    PASS: "PASS",
    DEGRADED: "pass with a limit, or DEGRADED",
    FAIL: "FAIL",
    INVALID: "INVALID, or no verdict",
    NOT_RUN: "NOT-RUN",
}
INK, MUTED, GRID = "#1c2630", "#5a6875", "#e3e8ed"
WIDTH_IN, PANEL_IN, DPI = 11.0, 1.95, 110
MOST_LABELS, MOST_LIMITS = 14, 3
Ends = tuple[float | None, float | None, float | None]


def save_history(rows: Sequence[HistoryRow], name: str, path: Path) -> None:
    """Draw the rows (at least one, oldest first) and write a PNG, whole or not at all.

    Args:
        name: what the runs belong to, for the heading.

    Raises:
        OSError: the file cannot be written.
    """
    with plain_style():
        figure = _draw(rows, name)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI, facecolor="white")


def _draw(rows: Sequence[HistoryRow], name: str) -> Figure:
    load_matplotlib()
    from matplotlib.figure import Figure

    colours = series_colours(rows)
    figure = Figure(figsize=(WIDTH_IN, 4 * PANEL_IN + 1.9), layout="constrained")
    panels = figure.subplots(4, 1, sharex=True)
    size = 7.0 if len(rows) <= 20 else 5.0
    _panel(panels[0], rows, colours, size, lambda row: (row.mse, row.mse_low, row.mse_high))
    _error_axis(panels[0], rows, size)
    _panel(panels[1], rows, colours, size, _skill, pale=lambda row: row.skill_strongest is None)
    panels[1].axhline(0.0, color=MUTED, lw=0.8, ls=":")
    older = any(row.skill_strongest is None and row.skill_last_frame is not None for row in rows)
    against = "the strongest prediction without a model" + ("; pale: copying the last frame" if older else "")
    _heading(panels[1], f"Skill against {against} (higher is better)")
    _panel(panels[2], rows, colours, size, lambda row: _percent(row.recall, row.recall_low, row.recall_high))
    _heading(panels[2], "Small moving objects found, % (higher is better)")
    _panel(panels[3], rows, colours, size, lambda row: (row.train_minutes, None, None))
    _heading(panels[3], "Minutes of training")
    panels[3].set_ylim(0.0, 1.15 * max((row.train_minutes or 0.0 for row in rows), default=0.0) or 1.0)
    for panel in panels:
        _empty(panel)
        panel.grid(color=GRID, lw=0.7)
        panel.set_axisbelow(True)
        panel.tick_params(labelsize=8, colors=MUTED)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    _dates(panels[3], rows)
    days = sorted({clock(row.started)[:10] for row in (rows[0], rows[-1])})
    count = f"{len(rows)} run{'' if len(rows) == 1 else 's'}"
    figure.suptitle(f"{clean(name)[:60]}: {count}, {' to '.join(days)}", color=INK, fontsize=13, x=0.01, ha="left")
    _legends(figure, rows, colours)
    return figure


def series_colours(rows: Sequence[HistoryRow]) -> dict[str, str]:
    """Return series → colour; the most frequent ones have one of their own (pure)."""
    counts = Counter(row.series for row in rows)
    ordered = sorted(counts, key=lambda series: (-counts[series], series))
    return {series: COLOURS[at] if at < len(COLOURS) else OTHERS for at, series in enumerate(ordered)}


def segments(rows: Sequence[HistoryRow], values: Sequence[float | None]) -> dict[str, list[tuple[int, float]]]:
    """Return series → (column, value) of its runs, which a line joins; runs without the number are left out (pure)."""
    found: dict[str, list[tuple[int, float]]] = {}
    for at, (row, value) in enumerate(zip(rows, values, strict=True)):
        if value is not None:
            found.setdefault(row.series, []).append((at, value))
    return found


def _panel(
    panel: Axes,
    rows: Sequence[HistoryRow],
    colours: dict[str, str],
    size: float,
    ends: Callable[[HistoryRow], Ends],
    pale: Callable[[HistoryRow], bool] = lambda row: False,
) -> None:
    values = [ends(row) for row in rows]
    for series, line in segments(rows, [value for value, _, _ in values]).items():
        panel.plot([at for at, _ in line], [value for _, value in line], color=colours[series], lw=1.0, alpha=0.5)
    for at, (row, (value, low, high)) in enumerate(zip(rows, values, strict=True)):
        if value is None:
            continue
        colour, alpha = colours[row.series], 0.4 if pale(row) else 1.0
        if low is not None and high is not None:
            panel.vlines(at, low, high, color=colour, lw=1.6, alpha=0.6 * alpha)
        face = "white" if row.tone in (DEGRADED, INVALID) else colour
        style: dict[str, Any] = {"mfc": face, "mec": colour, "mew": 1.3, "ms": size, "alpha": alpha}
        panel.plot([at], [value], marker=MARKS.get(row.tone, "s"), ls="none", **style)


def _error_axis(panel: Axes, rows: Sequence[HistoryRow], size: float) -> None:
    """Logarithmic, with the limits; runs without an error are marks at the lower edge."""
    positive = any(row.mse is not None and row.mse > 0 for row in rows)
    if positive:
        panel.set_yscale("log")
    limits = sorted({row.limit for row in rows if row.limit is not None and 0 < row.limit < 1})
    for limit in limits[:MOST_LIMITS]:
        panel.axhline(limit, color=MUTED, lw=1.0, ls="--")
        panel.annotate(
            f"limit {limit:g}",
            (1.0, limit),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 2),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=MUTED,
        )
    for at, row in enumerate(rows):
        if row.mse is None:
            mark: dict[str, Any] = {
                "marker": MARKS.get(row.tone, "s"),
                "color": MUTED,
                "mfc": "white",
                "ms": size,
                "ls": "none",
            }
            panel.plot([at], [0.05], transform=panel.get_xaxis_transform(), clip_on=False, **mark)
    if positive:
        _plain_ticks(panel)
    without = " (at the lower edge: no error was measured)" if any(row.mse is None for row in rows) else ""
    _heading(panel, f"Mean squared error of the rollout, 95 % interval (lower is better){without}")


def _plain_ticks(panel: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0), numticks=12))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    low, high = panel.get_ylim()
    if high / low < 1.6:
        middle = (low * high) ** 0.5
        panel.set_ylim(middle / 1.6, middle * 1.6)


def _skill(row: HistoryRow) -> Ends:
    if row.skill_strongest is not None:
        return row.skill_strongest, row.skill_strongest_low, row.skill_strongest_high
    return row.skill_last_frame, row.skill_last_frame_low, row.skill_last_frame_high


def _percent(*values: float | None) -> Ends:
    value, low, high = (None if one is None else 100.0 * one for one in values)
    return value, low, high


def _heading(panel: Axes, text: str) -> None:
    panel.set_title(text, fontsize=9.5, color=INK, loc="left")


def _empty(panel: Axes) -> None:
    """Say so where no run has the number."""
    if not panel.has_data() or not panel.lines:
        panel.text(0.5, 0.5, "no run has measured it", transform=panel.transAxes, ha="center", color=MUTED, fontsize=9)
        panel.set_yticks([])


def _dates(panel: Axes, rows: Sequence[HistoryRow]) -> None:
    """Day and time below each run where all fit, else the day below the first run of each day, as many as fit."""
    panel.set_xlim(-0.6, max(len(rows) - 0.4, 0.6))
    texts = [clock(row.started) for row in rows]
    if len(rows) <= MOST_LABELS:
        panel.set_xticks(range(len(rows)), [text[5:16] for text in texts], rotation=30, ha="right")
        return
    first = [at for at, text in enumerate(texts) if at == 0 or text[:10] != texts[at - 1][:10]]
    chosen: list[int] = []
    for at in first:
        if not chosen or at - chosen[-1] >= len(rows) / MOST_LABELS:
            chosen.append(at)
    panel.set_xticks(chosen, [texts[at][:10] for at in chosen], rotation=30, ha="right")


def _legends(figure: Figure, rows: Sequence[HistoryRow], colours: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    named = [series for series, colour in colours.items() if colour != OTHERS]
    handles = [Line2D([], [], color=colours[one], lw=2.5, label=clean(one)[:48] or "unknown") for one in named]
    if len(named) < len(colours):
        handles.append(Line2D([], [], color=OTHERS, lw=2.5, label=f"{len(colours) - len(named)} other kinds"))
    for tone in (one for one in MARKS if any(row.tone == one for row in rows)):
        face = "white" if tone in (DEGRADED, INVALID) else INK
        mark: dict[str, Any] = {"marker": MARKS[tone], "color": INK, "mfc": face, "mec": INK, "ls": "none", "ms": 6.5}
        handles.append(Line2D([], [], label=WORDS[tone], **mark))
    figure.legend(handles=handles, loc="outside lower left", ncols=4, fontsize=8.5, frameon=False)
