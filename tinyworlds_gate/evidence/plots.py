"""Draws the plots of the stage analysis (A4): one PNG a plot, with title and units, readable at page width."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tinyworlds_gate.evidence.history import (
    CODEBOOK,
    ENTROPY,
    LEARNING_RATE,
    LOSS,
    UNIQUE,
    History,
    first_and_last_tenth,
    rolling_mean,
)

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


def draw_stage(history: History, folder: Path) -> list[Path]:
    """Draw what this stage's history holds; a column without values gives no plot. Returns the files written.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stage = history.stage
    written = [_draw_loss(history, folder)]
    if history.points(LEARNING_RATE)[1]:
        written.append(_draw_line(history, folder, LEARNING_RATE, "learning_rate", "learning rate", "learning rate"))
    codebook = CODEBOOK.get(stage, "")
    if history.points(codebook)[1]:
        label = "codes used (fraction)"
        written.append(_draw_line(history, folder, codebook, "codebook_usage", "codebook use", label))
    if history.points(ENTROPY)[1]:
        label = "action entropy (nats)"
        written.append(_draw_line(history, folder, ENTROPY, "action_entropy", "action entropy", label))
    if history.points(UNIQUE)[1]:
        label = "unique action codes (count)"
        written.append(_draw_line(history, folder, UNIQUE, "unique_actions", "unique actions", label))
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


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, format="png")
    return path


def _draw_loss(history: History, folder: Path) -> Path:
    steps, losses = history.points(LOSS)
    window = max(1, len(losses) // 25)
    title = f"{TITLES[history.stage]}: training loss ({LOSS_NOTES[history.stage]})"
    figure, axes = _axes(title, "update", LOSS_NAMES[history.stage])
    marker = "o" if len(losses) < 3 else ""
    axes.plot(steps, losses, color=RAW, linewidth=1.0, marker=marker, label="each update")
    axes.plot(steps, rolling_mean(losses, window), color=MEAN, linewidth=2.2, label=f"mean of {window} updates")
    if min(losses) > 0 and max(losses) > 20 * min(losses):
        axes.set_yscale("log")
        axes.set_ylabel(f"{LOSS_NAMES[history.stage]}, log scale", fontsize=13)
    axes.legend(fontsize=12, frameon=False)
    return _save(figure, folder / f"{history.stage}_loss.png")


def _draw_line(history: History, folder: Path, column: str, file: str, what: str, y_label: str) -> Path:
    steps, values = history.points(column)
    figure, axes = _axes(f"{TITLES[history.stage]}: {what}", "update", y_label)
    axes.plot(steps, values, color=MEAN, linewidth=1.6, marker="o" if len(values) < 3 else "")
    if min(values) >= 0:
        axes.set_ylim(bottom=0)
    if column == LEARNING_RATE:
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))
    return _save(figure, folder / f"{history.stage}_{file}.png")


def _draw_first_against_last(history: History, folder: Path) -> Path:
    first, last = first_and_last_tenth(history.points(LOSS)[1])
    figure, axes = _axes(f"{TITLES[history.stage]}: first against last tenth", LOSS_NAMES[history.stage], "")
    parts = axes.boxplot([last, first], orientation="horizontal", widths=0.5, showmeans=True, patch_artist=True)
    for box, color in zip(parts["boxes"], (ACCENT, RAW), strict=True):
        box.set_facecolor(color)
        box.set_alpha(0.6)
    means = [sum(part) / len(part) for part in (last, first)]
    axes.set_yticks([1, 2], [f"last tenth\nmean {means[0]:.3g}", f"first tenth\nmean {means[1]:.3g}"], fontsize=13)
    axes.text(
        0.99, 0.03, f"{len(first)} updates each; triangle: mean", transform=axes.transAxes, ha="right", fontsize=11
    )
    return _save(figure, folder / f"{history.stage}_first_vs_last_tenth.png")
