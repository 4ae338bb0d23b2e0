"""The result of `score --sweep` for a terminal, and its picture."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.drawing import plain_style
from tinyworlds_gate.run.formats import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 120
DYNAMICS_COLUMNS = (
    ("MSE", "mse", 4),
    ("95 % from", "mse_low", 4),
    ("to", "mse_high", 4),
    ("skill", "skill", 3),
    ("95 % from", "skill_low", 3),
    ("to", "skill_high", 3),
    ("ΔPSNR dB", "delta_psnr_db", 2),
    ("seconds", "seconds", 1),
)
TOKENIZER_COLUMNS = (
    ("reconstruction MSE", "mse", 5),
    ("95 % from", "mse_low", 5),
    ("to", "mse_high", 5),
    ("PSNR dB", "psnr_db", 2),
    ("seconds", "seconds", 1),
)
LINE, BEST, REFERENCE = "#1f4e79", "#b4561e", "#777777"


def sweep_text(result: dict[str, Any]) -> str:
    """A table in the order of steps, the broken checkpoints, notes, the picture's path and, last, the comparison."""
    comparison, settings, clips = result["comparison"], result["settings"], result["clips"]
    console = Console(file=StringIO(), width=WIDTH)
    console.print(
        f"{result['stage']} of run {result['run']}: {len(result['checkpoints'])} checkpoints on {clips['count']} clips "
        f"of {clips['episodes']} episodes from {settings['data_path']}, on {settings['device']}",
        soft_wrap=True,
    )
    columns = DYNAMICS_COLUMNS if result["stage"] == "dynamics" else TOKENIZER_COLUMNS
    table = Table()
    for heading in ("step", *(heading for heading, _, _ in columns), ""):
        table.add_column(heading, justify="right")
    broken = {one["step"]: one for one in result["broken"]}
    for row in sorted([*result["checkpoints"], *broken.values()], key=lambda one: one["step"]):
        if row["step"] in broken:
            table.add_row(str(row["step"]), *["–"] * len(columns), "broken")
            continue
        marks = [name for name in ("best", "last") if comparison[name] == row["step"]]
        numbers = (number_text(row[key], f".{digits}f", "–") for _, key, digits in columns)
        table.add_row(str(row["step"]), *numbers, ", ".join(marks))
    console.print(table)
    for one in result["broken"]:
        console.print(f"  broken: {one['reason']}", soft_wrap=True, markup=False)
    for note in result["notes"]:
        console.print(f"  note: {note}", soft_wrap=True, markup=False)
    console.print(f"  picture: {result['picture']}", soft_wrap=True, markup=False)
    console.print(comparison["sentence"], soft_wrap=True, markup=False)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().rstrip()


@plain_style()
def draw_sweep(result: dict[str, Any], path: Path) -> None:
    """Write the picture: error by step and, for dynamics, skill above it, each with its 95 % interval.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    rows, stage = result["checkpoints"], result["stage"]
    panels = [("mse", "MSE, frames in [0, 1]")]
    if stage == "dynamics":
        panels.insert(0, ("skill", "skill against copy-last"))
    figure = Figure(figsize=(8.0, 3.2 * len(panels) + 0.6), dpi=140, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (key, label) in zip(axes, panels, strict=True):
        _draw_values(axis, result, key)
        axis.set_ylabel(label, fontsize=12)
        axis.tick_params(labelsize=11)
        axis.grid(alpha=0.3)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    if stage == "dynamics" and rows:
        for key, name, style in (("copy_last_mse", "copy-last", "--"), ("mean_frame_mse", "mean frame", ":")):
            axes[1].axhline(rows[0][key], color=REFERENCE, linestyle=style, linewidth=1.3, label=name)
        axes[0].axhline(0.0, color=REFERENCE, linestyle="--", linewidth=1.3)
    for one in result["broken"]:
        axes[-1].axvline(one["step"], color=REFERENCE, linewidth=0.8, alpha=0.6)
        axes[-1].annotate(
            "broken", (one["step"], 0.02), xycoords=("data", "axes fraction"), rotation=90, fontsize=9, color=REFERENCE
        )
    axes[-1].set_xlabel("step of the checkpoint", fontsize=12)
    axes[-1].xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[-1].legend(fontsize=11, frameon=True, framealpha=0.85, edgecolor="none", loc="best")
    what = "rollout" if stage == "dynamics" else "reconstruction"
    clips = result["clips"]
    figure.suptitle(
        f"{stage} of {result['run']}\n{what} on {clips['count']} clips of {clips['episodes']} episodes", fontsize=12
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_values(axis: Axes, result: dict[str, Any], key: str) -> None:
    rows = [row for row in result["checkpoints"] if row[key] == row[key] and row[key] is not None]
    if not rows:
        return
    steps, values = [row["step"] for row in rows], [row[key] for row in rows]
    below = [max(0.0, row[key] - row[f"{key}_low"]) for row in rows]
    above = [max(0.0, row[f"{key}_high"] - row[key]) for row in rows]
    axis.errorbar(
        steps, values, yerr=[below, above], color=LINE, marker="o", markersize=5, capsize=4, label="95 % interval"
    )
    for row in rows:
        if row["step"] == result["comparison"]["best"]:
            axis.plot(
                row["step"], row[key], marker="*", markersize=17, color=BEST, linestyle="", zorder=5, label="best"
            )
