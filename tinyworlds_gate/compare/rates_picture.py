"""Curves of measured error rates: the share of comparisons that say WORSE, by the size of a planted regression."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.compare.effects import LEVEL, MODELS, RECIPES
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.drawing import load_matplotlib, plain_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {64: "#b45309", 256: "#2563eb", 1024: "#15803d"}
PANELS = (
    (MODELS, 1, "these models: is this checkpoint worse?"),
    (RECIPES, 1, "these recipes, one seed a side"),
    (RECIPES, 3, "these recipes, three seeds a side"),
)


def draw_rates(found: Mapping[str, Any], path: Path) -> None:
    """Write the curves as a PNG.

    Raises:
        OSError: the folder cannot be written.
    """
    load_matplotlib()
    from matplotlib.figure import Figure

    with plain_style():
        figure = Figure(figsize=(11, 3.6), dpi=110, layout="constrained")
        for axes, (question, seeds, title) in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True):
            _draw(axes, found, question, seeds, title)
        figure.axes[0].set_ylabel("share of comparisons that say WORSE")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png")


def _draw(axes: Axes, found: Mapping[str, Any], question: str, seeds: int, title: str) -> None:
    rows = [one for one in found["planted_error"] if (one["question"], one["seeds_a_side"]) == (question, seeds)]
    for clips, colour in COLOURS.items():
        of_size = [one for one in rows if one["clips"] == clips]
        planted = [100 * (one["factor"] - 1) for one in of_size]
        axes.plot(
            planted, [one["worse"] / one["trials"] for one in of_size], "o-", color=colour, label=f"{clips:,} clips"
        )
    axes.axhline(LEVEL, color="#8b949e", linewidth=1, linestyle="--")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("planted rise of the error, %")
    axes.set_ylim(-0.03, 1.03)
    axes.grid(color="#e4e7eb")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8)
