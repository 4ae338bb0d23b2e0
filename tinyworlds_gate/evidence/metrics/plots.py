"""Draws the plots of the stage analysis (A4): one PNG a plot, with title and units, readable at page width."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tinyworlds_gate.evidence.metrics.history import (
    CODEBOOK,
    ENTROPY,
    HELD_OUT_LOSS,
    LEARNING_RATE,
    LOSS,
    UNIQUE,
    History,
    centred_mean,
    first_and_last_tenth,
)
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.drawing import plain_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {"video_tokenizer": "Video tokenizer", "latent_actions": "Latent actions", "dynamics": "Dynamics"}
LOSS_NAMES = {
    "video_tokenizer": "smooth-L1 loss",
    "latent_actions": "smooth-L1 loss",
    "dynamics": "cross-entropy (nats)",
}
LOSS_NOTES = {
    "video_tokenizer": "frames in [−1, 1]",
    "latent_actions": "with the variance term",
    "dynamics": "mean over masked tokens",
}
RAW, MEAN, ACCENT = "#9bbbd9", "#1f4e79", "#b4561e"
WIDTH_IN, HEIGHT_IN, DPI = 7.2, 3.6, 140
LOG_FROM_RATIO = 8.0
"""A loss that spans more than this between its smallest and its largest value gets a logarithmic axis."""
LONGEST_REACH = 500
"""Updates to either side of the rolling mean, so that a long run's beginning is not smoothed away."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@plain_style()
def draw_stage(history: History, folder: Path) -> list[Path]:
    """Draw what this stage's history holds; a column without values gives no plot. Returns the files written.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stage = history.stage
    written = [_draw_loss(history, folder)]
    if history.points(LEARNING_RATE)[1]:
        written.append(_draw_rate(history, folder))
    codebook = CODEBOOK.get(stage, "")
    if history.points(codebook)[1]:
        label = "part of all codes in use"
        written.append(_draw_metric(history, folder, codebook, "codebook_usage", "codebook use", label))
    if history.points(ENTROPY)[1]:
        label = "entropy (nats)"
        written.append(_draw_metric(history, folder, ENTROPY, "action_entropy", "entropy of the action codes", label))
    if history.points(UNIQUE)[1]:
        label = "codes (count)"
        written.append(
            _draw_metric(history, folder, UNIQUE, "unique_actions", "unique action codes of an update", label)
        )
    if stage == "dynamics" and len(history.points(LOSS)[1]) >= 2:
        written.append(_draw_first_against_last(history, folder))
    return written


def _axes(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=14, loc="left")
    axes.set_xlabel(x_label, fontsize=13)
    axes.set_ylabel(y_label, fontsize=13)
    axes.tick_params(labelsize=12)
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _over_updates(title: str, y_label: str) -> tuple[Figure, Axes]:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    figure, axes = _axes(title, "update", y_label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure, axes


def _save(figure: Figure, path: Path) -> Path:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def _draw_values(axes: Axes, steps: list[int], values: list[float]) -> None:
    """Each update in pale, the mean of the updates around it in dark; the legend where it hides least."""
    reach = min(len(values) // 50, LONGEST_REACH)
    axes.plot(
        steps,
        values,
        color=RAW if reach else MEAN,
        linewidth=1.0,
        marker="o" if len(values) < 3 else "",
        label="each update",
    )
    if reach > 0:
        label = f"mean of {2 * reach + 1:,} neighbouring updates"
        axes.plot(steps, centred_mean(values, reach), color=MEAN, linewidth=2.2, label=label)
        axes.legend(fontsize=12, frameon=True, framealpha=0.85, edgecolor="none", loc="best")


def _use_log(axes: Axes, which: Literal["x", "y"], values: list[float]) -> bool:
    """A logarithmic axis with plain numbers, where the values span that much."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = min(values), max(values)
    if low <= 0 or high <= LOG_FROM_RATIO * low:
        return False
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 200 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    return True


def _draw_loss(history: History, folder: Path) -> Path:
    steps, losses = history.points(LOSS)
    held_out_steps, held_out = history.points(HELD_OUT_LOSS)
    what = "training and held-out loss" if held_out else "training loss"
    title = f"{TITLES[history.stage]}: {what} ({LOSS_NOTES[history.stage]})"
    figure, axes = _over_updates(title, LOSS_NAMES[history.stage])
    _draw_values(axes, steps, losses)
    if held_out:
        size = 4.5 if len(held_out) < 40 else 0
        axes.plot(
            held_out_steps, held_out, color=ACCENT, linewidth=1.6, marker="o", markersize=size, label="held-out clips"
        )
        axes.legend(fontsize=12, frameon=True, framealpha=0.85, edgecolor="none", loc="best")
    if _use_log(axes, "y", losses + held_out):
        axes.set_ylabel(f"{LOSS_NAMES[history.stage]}, log", fontsize=13)
    return _save(figure, folder / f"{history.stage}_loss.png")


def _draw_rate(history: History, folder: Path) -> Path:
    """The exponent is part of the label, so that the ticks are short numbers."""
    steps, rates = history.points(LEARNING_RATE)
    exponent = math.floor(math.log10(max(rates))) if max(rates) > 0 else 0
    unit = f" (10{str(exponent).translate(SUPERSCRIPTS)})" if exponent else ""
    figure, axes = _over_updates(f"{TITLES[history.stage]}: learning rate", f"learning rate{unit}")
    scaled = [rate / 10.0**exponent for rate in rates]
    axes.plot(steps, scaled, color=MEAN, linewidth=1.8, marker="o" if len(rates) < 3 else "")
    axes.set_ylim(bottom=0)
    return _save(figure, folder / f"{history.stage}_learning_rate.png")


def _draw_metric(history: History, folder: Path, column: str, file: str, what: str, y_label: str) -> Path:
    from matplotlib.ticker import MaxNLocator

    steps, values = history.points(column)
    figure, axes = _over_updates(f"{TITLES[history.stage]}: {what}", y_label)
    _draw_values(axes, steps, values)
    if min(values) >= 0:
        axes.set_ylim(bottom=0, top=max(values) * 1.08 or 1.0)
    if column == UNIQUE:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return _save(figure, folder / f"{history.stage}_{file}.png")


def _draw_first_against_last(history: History, folder: Path) -> Path:
    first, last = first_and_last_tenth(history.points(LOSS)[1])
    title = f"{TITLES[history.stage]}: first against last tenth ({len(first):,} update{'s' * (len(first) > 1)} each)"
    figure, axes = _axes(title, LOSS_NAMES[history.stage], "")
    parts = axes.boxplot(
        [last, first],
        orientation="horizontal",
        widths=0.5,
        whis=(0, 100),
        showmeans=True,
        patch_artist=True,
        medianprops={"color": "black", "linewidth": 1.8},
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 7},
    )
    for box, color in zip(parts["boxes"], (ACCENT, RAW), strict=True):
        box.set_facecolor(color)
        box.set_alpha(0.7)
    means = [sum(part) / len(part) for part in (last, first)]
    axes.set_yticks([1, 2], [f"last tenth\nmean {means[0]:.3g}", f"first tenth\nmean {means[1]:.3g}"], fontsize=13)
    how = ", log" if _use_log(axes, "x", first + last) else ""
    legend = "line: all updates, box: middle half, bar: median, diamond: mean"
    axes.set_xlabel(f"{LOSS_NAMES[history.stage]}{how}\n{legend}", fontsize=12)
    return _save(figure, folder / f"{history.stage}_first_vs_last_tenth.png")
