"""The result of `bench quality` as sentences, as text for a terminal, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tinyworlds_gate.bench.quality_time import WHOLE
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.drawing import plain_style
from tinyworlds_gate.run.formats import number_text

WIDTH = 130
COLUMNS = (
    ("updates", "updates", ",.0f"),
    ("training, s", "training_s", ".1f"),
    ("since launch, s", "wall_s", ".1f"),
    ("MSE", "mse", ".4f"),
    ("skill", "skill", ".3f"),
    ("from", "skill_low", ".3f"),
    ("to", "skill_high", ".3f"),
    ("skill, strongest", "skill_strongest", ".3f"),
    ("recall", "recall", ".3f"),
    ("precision", "precision", ".3f"),
    ("sharpness", "sharpness", ".3f"),
)
CURVES = (
    ("skill", (("skill", "over the last frame", "#1f4e79"), ("skill_strongest", "over the strongest", "#b4561e"))),
    (
        "share",
        (("recall", "recall", "#1f4e79"), ("precision", "precision", "#b4561e"), ("sharpness",) * 2 + ("#3b7d3b",)),
    ),
)
COMPLETE = ("passed", "failed", "degraded")
"""Statuses of runs that went through the whole loop."""


def quality_text(record: Mapping[str, Any]) -> str:
    """Return a heading, the table by checkpoint, and the sentences."""
    console = Console(file=StringIO(), width=WIDTH)
    clips, step = record["clips"], record["object_step"]
    console.print(
        f"Run {record['run']}: checkpoints of dynamics on {clips['count']} held-out clips of {clips['episodes']} "
        f"episodes, {clips['steps']} generated frames; recall and precision of objects at step {step}",
        soft_wrap=True,
    )
    table = Table()
    for heading, _, _ in COLUMNS:
        table.add_column(heading, justify="right")
    for row in record["checkpoints"]:
        table.add_row(*(number_text(row.get(key), form, "–") for _, key, form in COLUMNS))
    console.print(table)
    for sentence in record["sentences"]:
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().rstrip()


def sentences(record: Mapping[str, Any]) -> list[str]:
    """Return the levels, the end, where the time went, on which machine, and what the numbers cannot say."""
    found = [level_sentence(one) for one in record["levels"]]
    end, parts, rates = record["checkpoints"][-1], record["parts_s"], record["plain_updates_per_s"] or {}
    if "mse" in end:
        copied = number_text(record["copy_last"].get("recall"), ".3f", "not known")
        values = {key: number_text(end.get(key), ".3f", "not known") for _, key, _ in COLUMNS[4:]}
        found.append(
            f"End ({end['updates']:,}): skill {values['skill']}, recall {values['recall']} (last frame {copied}) "
            f"and precision {values['precision']} of objects, sharpness {values['sharpness']} of the true frames."
        )
    listed = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts.items() if name != WHOLE)
    found.append(f"The whole loop took {parts[WHOLE]:.1f} s: {listed}.")
    share = f", {100 * record['saving_s'] / record['training_s']:.1f} % of training" if record["training_s"] else ""
    found.append(
        f"A checkpoint every {record['interval']} updates, nothing is interpolated; saving {record['savings']} of them "
        f"took {record['saving_s']:.1f} s{share}."
    )
    speeds = [
        f"{stage} {own:.1f}" + (f" (plain: {rates[stage]:.1f})" if stage in rates else "")
        for stage, own in record["updates_per_s"].items()
        if own
    ]
    found.append(f"Updates/s: {', '.join(speeds)}. Machine: {_machine_text(record)}.")
    scored = sum("mse" in row for row in record["checkpoints"])
    if scored < len(record["checkpoints"]):
        again = f"tinyworlds-gate bench quality --run results/{record['run']}"
        found.append(f"{scored} of {len(record['checkpoints'])} checkpoints are scored so far; `{again}` scores all.")
    if record["status"] not in COMPLETE:
        found.append(f"The run's status is {record['status']}: what comes after its last checkpoint is not measured.")
    if not record["start_known"]:
        found.append("Time since the launch begins with the journal: when the process was started is not known.")
    return found


def level_sentence(level: Mapping[str, Any]) -> str:
    """Return when a level was reached first, or by how much it was missed."""
    name = " and ".join(f"{key} {value:g}" for key, value in level["least"].items()).capitalize()
    row, nearest = level["reached"], level["nearest"]
    if row is None:
        values = {key: number_text(value, ".4g", "not known") for key, value in (nearest or {}).items()}
        best = ", ".join(f"{key} {value}" for key, value in values.items()) or "nothing is scored yet"
        return f"{name}: not reached (nearest: {best})."
    since = "the first that is scored" if level["not_at"] is None else f"not at {level['not_at']:,}"
    times = f"after {row['training_s']:.1f} s of training and {row['wall_s']:.1f} s since the launch"
    return f"{name}: reached at {row['updates']:,} updates of dynamics ({since}), {times}."


def _machine_text(record: Mapping[str, Any]) -> str:
    machine, versions = record["machine"] or {}, record["versions"] or {}
    names = [str(one.get("name")) for one in machine.get("gpus") or []]
    gpus = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names)) or "no GPU"
    shown = ", ".join(f"{name} {versions[name]}" for name in ("torch", "python", "numpy") if name in versions)
    return f"{gpus}, {machine.get('cpus')} CPUs; {shown}"


@plain_style()
def draw_quality(record: Mapping[str, Any], path: Path) -> None:
    """Write the picture: skill and, below it, objects and sharpness by the seconds of training.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    rows = [row for row in record["checkpoints"] if "mse" in row]
    figure = Figure(figsize=(7.5, 6.0), dpi=130, layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    for axis, (label, curves) in zip(axes, CURVES, strict=True):
        for key, name, colour in curves:
            known = [row for row in rows if row.get(key) is not None]
            axis.plot([row["training_s"] for row in known], [row[key] for row in known], "o-", color=colour, label=name)
        shown = {key for key, _, _ in curves}
        for level in {value for one in record["levels"] for key, value in one["least"].items() if key in shown}:
            axis.axhline(level, color="#777777", linestyle="--", linewidth=1.0)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=9, loc="best")
    axes[0].set_ylim(bottom=max(-1.0, min((row["skill"] for row in rows), default=0.0) - 0.05))
    axes[1].set_xlabel("seconds of training, all stages")
    figure.suptitle(f"Time to quality: {record['profile']}, seed {record['seed']}", fontsize=12)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
