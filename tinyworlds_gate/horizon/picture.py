"""The picture of long rollouts: error, objects and drift by step, the walk, and a film strip of the median clip.

Axes: B clips, S steps, H, W pixels.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyworlds_gate.horizon.measure import LongRollouts, errors_by_step
from tinyworlds_gate.reports.verdict_picture.film_strips import framed
from tinyworlds_gate.reports.verdict_picture.page import GRID, INK, MUTED, Page, resized
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.drawing import plain_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN, MARGIN_IN, PLOT_HIGH_IN, GAP_IN, DPI = 13.0, 0.45, 2.6, 0.9, 100
LINE_IN, SIDE_IN, COLUMNS = 0.24, 1.4, 3
MODEL, BEST, LAST = "#1f4e79", "#b4561e", "#8a94a0"
MOST_FRAMES = 9
STRIP_GAP_IN = 0.06


def draw_picture(found: LongRollouts, path: Path) -> None:
    """Write a PNG.

    Raises:
        OSError: the folder cannot be written.
    """
    record = found.record
    lines = [part for one in record["sentences"] for part in textwrap.wrap(one, 165)]
    walked = found.walk is not None
    cell = (WIDTH_IN - 2 * MARGIN_IN - SIDE_IN) / MOST_FRAMES - STRIP_GAP_IN
    strips = 2 + 2 * walked
    head = MARGIN_IN + 0.45 + LINE_IN * len(lines) + 0.3
    rows = 2
    strip_top = head + rows * (PLOT_HIGH_IN + GAP_IN)
    height = strip_top + strips * (cell + STRIP_GAP_IN) + (1 + walked) * 0.35 + MARGIN_IN
    with plain_style():
        page = Page(WIDTH_IN, height, DPI)
        page.text(MARGIN_IN, MARGIN_IN, f"Long rollouts of {record['model']}", size=13, weight="bold")
        for number, line in enumerate(lines):
            page.text(MARGIN_IN, MARGIN_IN + 0.4 + number * LINE_IN, line, size=9.5)
        panels = (_error, _recall, _place, _ratios, _colours, _walk)
        wide = (WIDTH_IN - 2 * MARGIN_IN) / COLUMNS
        for number, draw in enumerate(panels):
            left = MARGIN_IN + 0.35 + (number % COLUMNS) * wide
            top = head + (number // COLUMNS) * (PLOT_HIGH_IN + GAP_IN) + 0.25
            draw(page.axes(left, top, wide - 0.75, PLOT_HIGH_IN), record)
        _draw_rollout(page, found, strip_top, cell)
        if walked:
            _draw_walk(page, found, strip_top + 2 * (cell + STRIP_GAP_IN) + 0.35, cell)
        with atomic_path(path) as temporary:
            page.figure.savefig(temporary, format="png", dpi=DPI)


def _error(axes: Axes, record: Mapping[str, Any]) -> None:
    error = record["error"]
    steps = _steps(error["by_step"])
    _band(axes, error)
    axes.plot(steps, error["copy_last_by_step"], color=LAST, linewidth=1, label="last frame")
    axes.plot(steps, error["strongest_by_step"], color=BEST, linewidth=1.5, label="strongest without a model")
    axes.plot(steps, error["by_step"], color=MODEL, linewidth=2, label="model")
    _mark_horizon(axes, record["horizon"])
    _finish(axes, "mean squared error by step", zero=True)


def _recall(axes: Axes, record: Mapping[str, Any]) -> None:
    objects = record["objects"]
    if objects["no_occasion"]:
        _empty(axes, "objects found, by step", f"not judged: {objects['no_occasion']}")
        return
    recall, precision = objects["recall"], objects["precision"]
    steps = _steps(recall["by_step"])
    axes.plot(steps, _floats(recall["reference_by_step"]), color=BEST, linewidth=1.5, label="best without a model")
    axes.plot(steps, _floats(recall["by_step"]), color=MODEL, linewidth=2, label="found by the model (recall)")
    axes.plot(steps, _floats(precision["by_step"]), color=MODEL, linestyle=":", linewidth=1.5, label="its precision")
    _mark_horizon(axes, objects["horizon"])
    axes.set_ylim(0, 1.03)
    axes.set_xlim(0, len(steps) + 1)
    _finish(axes, "objects found, by step")


def _place(axes: Axes, record: Mapping[str, Any]) -> None:
    place = record["objects"]["place_error"]
    if record["objects"]["no_occasion"]:
        _empty(axes, "place error of objects, by step", "not judged")
        return
    steps = _steps(place["by_step"])
    for key, colour, label in (("reference_by_step", BEST, "best without a model"), ("by_step", MODEL, "model")):
        values = 100 * np.array(_floats(place[key]))
        axes.plot(steps, values, color=colour, linewidth=1.5, label=label)
    axes.set_xlim(0, len(steps) + 1)
    _finish(axes, "place error of objects, % of the frame's side", zero=True)


def _ratios(axes: Axes, record: Mapping[str, Any]) -> None:
    drift = record["drift"]
    axes.axhline(1, color=BEST, linewidth=1.2)
    for key, style in (("sharpness", "-"), ("motion", "--")):
        steps = _steps(drift[key]["by_step"])
        axes.plot(steps, _floats(drift[key]["by_step"]), color=MODEL, linestyle=style, linewidth=1.8, label=key)
    _finish(axes, "sharpness and motion over those of the true frames", zero=True)


def _colours(axes: Axes, record: Mapping[str, Any]) -> None:
    colour = record["drift"]["colour_distance"]
    steps = _steps(colour["by_step"])
    _band(axes, colour)
    axes.plot(steps, colour["copy_last_by_step"], color=LAST, linewidth=1, label="last frame")
    axes.plot(steps, colour["by_step"], color=MODEL, linewidth=2, label="model")
    _finish(axes, "colour distance to the true frames, levels", zero=True)


def _walk(axes: Axes, record: Mapping[str, Any]) -> None:
    walk = record["walk"]
    if walk["not_run"]:
        _empty(axes, "a walk with its inverse", f"not run: {walk['not_run']}")
        return
    steps = _steps(walk["difference_by_step"])
    axes.plot(steps, walk["true_difference_by_step"], color=BEST, linewidth=1.5, label="true game")
    axes.plot(steps, walk["difference_by_step"], color=MODEL, linewidth=2, label="model")
    axes.axvline(walk["steps"], color=MUTED, linestyle=":", linewidth=1)
    _finish(axes, f"{walk['there']}, then {walk['back']}: squared difference to the start", zero=True)


def _band(axes: Axes, table: Mapping[str, Any]) -> None:
    low, high = _floats(table["low_by_step"]), _floats(table["high_by_step"])
    axes.fill_between(_steps(low), low, high, color=MODEL, alpha=0.15, linewidth=0)


def _mark_horizon(axes: Axes, horizon: Mapping[str, Any]) -> None:
    steps = horizon["steps"]
    if horizon["interval"] is not None:
        low, high = (steps + 0.5 if one is None else one for one in horizon["interval"])
        axes.axvspan(low - 0.3, high + 0.3, color=BEST, alpha=0.1, linewidth=0)
    if horizon["step"] is not None:
        axes.axvline(horizon["step"], color=BEST, linestyle="--", linewidth=1.2, label=f"horizon {horizon['step']}")


def _finish(axes: Axes, title: str, *, zero: bool = False) -> None:
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.grid(color=GRID)
    if zero:
        axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8, frameon=False)


def _empty(axes: Axes, title: str, why: str) -> None:
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_axis_off()
    axes.text(0, 0.6, textwrap.fill(why, 52), fontsize=9, color=MUTED, transform=axes.transAxes, parse_math=False)


def _draw_rollout(page: Page, found: LongRollouts, top: float, cell: float) -> None:
    errors = errors_by_step(found.true, found.generated).mean(axis=1)
    clip = int(np.argsort(errors, kind="stable")[len(errors) // 2])
    steps = _chosen(found.true.shape[1])
    page.text(
        MARGIN_IN, top + 0.1, f"The clip of median error, steps {', '.join(str(one + 1) for one in steps)}", size=9.5
    )
    rows = (("true", found.true[clip][steps]), ("generated", found.generated[clip][steps]))
    _strips(page, rows, top + 0.28, cell)


def _draw_walk(page: Page, found: LongRollouts, top: float, cell: float) -> None:
    assert found.walk is not None
    walks, generated = found.walk
    start = walks.context[:1, -1]
    frames = (np.concatenate((start, walks.frames[0])), np.concatenate((start, generated[0])))
    steps = _chosen(len(frames[0]))
    page.text(
        MARGIN_IN, top + 0.1, f"The first walk, from its start: after {', '.join(map(str, steps))} steps", size=9.5
    )
    _strips(page, (("true game", frames[0][steps]), ("model", frames[1][steps])), top + 0.28, cell)


def _strips(page: Page, rows: Sequence[tuple[str, np.ndarray]], top: float, cell: float) -> None:
    pixels = page.pixels(cell)
    for name, frames in rows:
        page.text(MARGIN_IN, top + cell / 2, name, size=9.5, weight="bold")
        for column, frame in enumerate(resized(frames, pixels, pixels)):
            page.image(MARGIN_IN + SIDE_IN + column * (cell + STRIP_GAP_IN), top, framed(frame))
        top += cell + STRIP_GAP_IN


def _chosen(count: int) -> list[int]:
    """Return at most nine places, evenly spread."""
    return sorted(set(np.linspace(0, count - 1, min(MOST_FRAMES, count)).round().astype(int).tolist()))


def _steps(values: Sequence[Any]) -> np.ndarray:
    return np.arange(1, len(values) + 1)


def _floats(values: Sequence[float | None]) -> list[float]:
    return [np.nan if one is None else one for one in values]
