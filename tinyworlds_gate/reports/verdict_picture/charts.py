"""The charts in the picture of a verdict: errors by step with direct labels, what the actions do, codes in use."""

from __future__ import annotations

from collections.abc import Sequence

from tinyworlds_gate.gate.measures.information import used_share
from tinyworlds_gate.reports.verdict_picture.captions import mse_text
from tinyworlds_gate.reports.verdict_picture.data import Chart, Control, Line
from tinyworlds_gate.reports.verdict_picture.page import GRID, MUTED, Page

MODEL, LIMIT = "#0b5394", "#b00020"
LineStyle = str | tuple[int, tuple[float, ...]]
STYLES: dict[str, tuple[str, LineStyle, float]] = {
    "model": (MODEL, "-", 2.8),
    "copy_last": ("#c2410c", "-", 1.8),
    "mean_frame": ("#5b6875", "--", 1.5),
    "context_mean": ("#8a6d3b", (0, (3, 1.5)), 1.3),
    "blend": ("#b7791f", (0, (6, 1.5, 1, 1.5)), 1.8),
    "other_mode": ("#4aa3df", "-.", 1.5),
    "memory_sharp": ("#7b3fa0", ":", 1.7),
    "memory_hedged": ("#a35fb8", (0, (1, 2.5)), 1.7),
    "floor": ("#2f855a", (0, (5, 1.5)), 1.5),
}
"""Colour, dashes and width of a line; the dashes tell them apart without the colour."""
LABEL_IN = 0.19
"""Between two labels."""


def draw_chart(page: Page, chart: Chart, left: float, top: float, width: float, height: float) -> None:
    """Errors by step: a line each, its name and mean at its right end, the limit, and the interval as a band."""
    page.text(left, top + 0.12, chart.heading, size=11.5, weight="bold")
    page.text(
        left,
        top + 0.34,
        "mean squared error of frames in [0, 1]; the numbers are means over all steps",
        size=8.5,
        colour=MUTED,
    )
    labels_in, plot_in = 1.95, height - 1.2
    axes = page.axes(left + 0.55, top + 0.52, width - 0.55 - labels_in, plot_in)
    steps = max(len(line.values) for line in chart.lines)
    numbers = list(range(1, steps + 1))
    ceiling = 1.08 * max(_known([chart.limit, *chart.high, *(v for line in chart.lines for v in line.values)]))
    if len(chart.low) == len(chart.high) == steps:
        low, high = (_holes(values) for values in (chart.low, chart.high))
        axes.fill_between(numbers, low, high, color=MODEL, alpha=0.16, linewidth=0, label="95 % interval")
    for line in chart.lines:  # the model first: the thinner line of a copied frame stays visible on it
        colour, dashes, thick = STYLES[line.key]
        axes.plot(
            numbers,
            _holes(line.values),
            linestyle=dashes,
            color=colour,
            linewidth=thick,
            marker="o" if steps < 4 else "",
            markersize=4,
        )
    axes.axhline(chart.limit, color=LIMIT, linewidth=1.4)
    axes.set_ylim(0, ceiling)
    axes.set_xlim((1, steps) if steps > 1 else (0.5, 1.5))
    axes.set_xticks(numbers if steps <= 16 else numbers[:: -(-steps // 12)])
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_xlabel("generated step (band: 95 % interval of this model's error)", fontsize=8.5, color=MUTED)
    _label(page, chart, left + width - labels_in, top + 0.52, plot_in, ceiling)
    if chart.note:
        page.text(left, top + height - 0.2, chart.note, size=8, colour=MUTED)


def _label(page: Page, chart: Chart, left: float, top: float, height: float, ceiling: float) -> None:
    """Names at the right ends of the lines, pushed apart, with a hair from each to its line."""
    from matplotlib.lines import Line2D

    ends = [(_end(line), f"{line.label}  {mse_text(line.mean)}", STYLES[line.key][0]) for line in chart.lines]
    ends.append((chart.limit, f"limit  {chart.limit:g}", LIMIT))
    ends.sort(key=lambda end: end[0], reverse=True)
    wanted = [top + height * (1 - value / ceiling) for value, _, _ in ends]
    placed = spread(wanted, LABEL_IN, top - 0.05, top + height + 0.05)
    for (_, name, colour), at, y in zip(ends, wanted, placed, strict=True):
        xs, ys = (left + 0.02, left + 0.14), (at, y)
        hair = Line2D(
            [x / page.width_in for x in xs],
            [1 - one / page.height_in for one in ys],
            color=colour,
            linewidth=0.8,
            transform=page.figure.transFigure,
        )
        page.figure.add_artist(hair)
        weight = "bold" if colour in (MODEL, LIMIT) else "normal"
        page.text(left + 0.18, y, name, size=8.8, colour=colour, weight=weight)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places in the order of ``wanted`` (ascending), at least ``gap`` apart and as near to it as that allows.

    They stay within ``low`` and ``high`` where there is room for all.
    """
    placed: list[float] = []
    for value in wanted:
        placed.append(max(value, low, placed[-1] + gap if placed else low))
    ceiling = max(high, low + gap * (len(placed) - 1))
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed


def draw_control(page: Page, control: Control, left: float, top: float, width: float, height: float) -> None:
    """The error with inferred and with random actions as bars, and below them the share of each action code."""
    page.text(left, top + 0.12, control.heading, size=11.5, weight="bold")
    for number, line in enumerate(control.notes):
        page.text(left, top + 0.34 + 0.17 * number, line, size=8.5, colour=MUTED)
    top += 0.15
    axes = page.axes(left + 1.15, top + 0.5, width - 1.75, 0.75)
    values = [value if value is not None else 0.0 for _, value in control.bars]
    axes.barh([1, 0], values, height=0.62, color=[MODEL, "#9db4c8"])
    most = max([*values, 1e-12])
    axes.set_xlim(0, most)
    axes.set_axis_off()
    for (name, value), y in zip(control.bars, (0.69, 1.06), strict=True):
        page.text(left + 1.08, top + y, name, size=8.8, at="right")
        end = left + 1.15 + (width - 1.75) * (value or 0.0) / most
        page.text(end + 0.06, top + y, mse_text(value), size=8.8)
    if not control.codes_heading:
        return
    page.text(left, top + 1.52, control.codes_heading, size=10, weight="bold")
    page.text(left, top + 1.72, control.codes_note, size=8.5, colour=MUTED)
    codes = page.axes(left + 0.42, top + 1.9, width - 0.5, height - 2.73)
    names = list(range(len(control.shares)))
    used = [share >= used_share(len(control.shares)) for share in control.shares]
    codes.bar(names, control.shares, color=[MODEL if one else "#c4ced8" for one in used], width=0.7)
    codes.set_xticks(names if len(names) <= 16 else names[:: len(names) // 8])
    codes.set_ylim(0, max([*control.shares, 0.1]) * 1.05)
    codes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    codes.locator_params(axis="y", nbins=3)
    codes.grid(True, axis="y", color=GRID, linewidth=0.8)
    codes.tick_params(labelsize=8)
    codes.set_xlabel("action code", fontsize=8.5, color=MUTED)


def _end(line: Line) -> float:
    known = _known(line.values)
    return known[-1] if known else 0.0


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _holes(values: Sequence[float | None]) -> list[float]:
    """Numbers for matplotlib, which leaves NaN out."""
    return [float("nan") if value is None else value for value in values]
