"""The result of `tinyworlds-gate score` for a terminal: errors by step, what they compare with, the verdict."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from tinyworlds_gate.gate.custom_records import record_text
from tinyworlds_gate.gate.object_names import kind_name, percent, rare_name
from tinyworlds_gate.gate.object_rule import rates_text
from tinyworlds_gate.gate.past_rule import past_text
from tinyworlds_gate.names import NOT_RUN
from tinyworlds_gate.reference.rollout.mode import mode_text
from tinyworlds_gate.run.formats import number_text

FEW_CLIPS = 8
"""Up to here every clip has a row of its own."""

WIDTH = 120

ABOUT_MODELS = ("teacher-forced", "random actions", "information", "memory", "codes")
"""How facts begin that need the model's weights."""

STEP_COLUMNS = (
    ("MSE", "mse_by_step"),
    ("95 % from", "mse_low_by_step"),
    ("to", "mse_high_by_step"),
    ("copy-last", "copy_last_mse_by_step"),
    ("mean frame", "mean_frame_mse_by_step"),
    ("no model", "strongest_baseline_mse_by_step"),
    ("random actions", "random_action_mse_by_step"),
    ("teacher forced", "teacher_forced_mse_by_step"),
    ("memory sharp", "memory_sharp_mse_by_step"),
    ("hedged", "memory_hedged_mse_by_step"),
    ("SSIM", "ssim_by_step"),
)


def score_text(result: dict[str, Any]) -> str:
    """Tables, facts, notes and, last, the verdict with its sentence."""
    summary, settings = result["summary"], result["settings"]
    console = Console(file=StringIO(), width=WIDTH)
    console.print(
        f"{summary['clips']} clips of {summary['episodes']} episodes from {settings['data_path']}: "
        f"{summary['context']} frames given, {summary['generation_steps']} generated, "
        f"{mode_text(summary)}, rollout in {settings['rollout']}, {settings['decode_steps']} decode steps, on "
        f"{settings['device']}, {summary['seconds']:.1f} s",
        soft_wrap=True,
    )
    for stage, one in result["checkpoints"].items():
        console.print(f"  {stage}: {one['path']} (SHA-256 {one['sha256'][:12]}…)", soft_wrap=True)
        console.print(f"    trained on {one['trained_on']}", soft_wrap=True, markup=False)
    if len(result["clips"]) <= FEW_CLIPS:
        console.print(_clip_table(result["clips"]))
    console.print(_step_table(summary))
    for line in _facts(summary):
        console.print(f"  {line}", soft_wrap=True)
    for record in result["verdict"].get("custom_metrics") or []:
        console.print(f"  {record_text(record)}", soft_wrap=True, markup=False)
    for note in result["notes"]:
        console.print(f"  note: {note}", soft_wrap=True)
    console.print(result["verdict"]["sentence"], soft_wrap=True, markup=False)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().rstrip()


def frames_text(result: dict[str, Any]) -> str:
    """The result of `score --frames`: errors by step, facts, notes and, last, the verdict."""
    summary, frames = result["summary"], result["frames"]
    console = Console(file=StringIO(), width=WIDTH)
    where = frames["path"] if frames["group"] == "/" else f"{frames['path']}::{frames['group']}"
    console.print(
        f"{summary['clips']} clips of {summary['episodes']} episodes from {where}: {summary['context']} frames given, "
        f"{summary['generation_steps']} generated; measured in {summary['seconds']:.1f} s",
        soft_wrap=True,
    )
    console.print(_step_table(summary))
    lines = [line for line in _facts(summary) if not line.startswith(ABOUT_MODELS)]
    for line in [*lines, *(f"note: {note}" for note in result["notes"])]:
        console.print(f"  {line}", soft_wrap=True, markup=False)
    for record in result["verdict"].get("custom_metrics") or []:
        console.print(f"  {record_text(record)}", soft_wrap=True, markup=False)
    for one in result["verdict"]["conditions"]:
        if one["verdict"] == NOT_RUN:
            console.print(f"  {one['id']} NOT-RUN: {one['reason']}", soft_wrap=True, markup=False)
    console.print(result["verdict"]["sentence"], soft_wrap=True, markup=False)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().rstrip()


def _table(title: str, headings: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _clip_table(clips: list[dict[str, Any]]) -> Table:
    table = _table("each clip, mean over its steps", ["start", "episode", "MSE", "copy-last", "tokenizer floor"])
    for clip in clips:
        means = (sum(clip[key]) / len(clip[key]) for key in ("rollout_mse", "copy_last_mse"))
        floor = clip["tokenizer_recon_mse"]
        table.add_row(str(clip["start"]), str(clip["episode"]), *(_number(value) for value in (*means, floor)))
    return table


def _step_table(summary: dict[str, Any]) -> Table:
    columns = [(heading, summary[key]) for heading, key in STEP_COLUMNS if summary[key] is not None]
    table = _table("error by generated frame, frames in [0, 1]", ["step", *(heading for heading, _ in columns)])
    for step in range(summary["generation_steps"]):
        table.add_row(str(step + 1), *(_number(values[step]) for _, values in columns))
    return table


def _facts(summary: dict[str, Any]) -> list[str]:
    def interval(name: str) -> str:
        return f"95 % interval {_number(summary[f'{name}_low'])} to {_number(summary[f'{name}_high'])}"

    lines = [
        f"MSE {_number(summary['mse'])}, {interval('mse')}; PSNR {_number(summary['psnr_db'], 2)} dB"
        + (f"; SSIM {_number(summary['ssim'], 3)}" if summary["ssim"] is not None else ""),
        f"skill against copy-last {_number(summary['skill'], 3)}, {interval('skill')}",
        f"skill against the mean frame {_number(summary['skill_mean_frame'], 3)}, {interval('skill_mean_frame')}",
        f"skill against the strongest prediction without a model, the {summary['strongest_baseline']} "
        f"({_number(summary['strongest_baseline_mse'])}), {_number(summary['skill_strongest'], 3)}, "
        f"{interval('skill_strongest')}",
        f"  the {summary['strongest_baseline_meaning']}",
        f"  predictions without a model: {_errors(summary['baseline_mse'])}; blend: {summary['blend_note']}",
        *_object_lines(summary["objects"]),
        *_past_lines(summary["past"]),
        f"motion {_number(summary['motion_ratio'], 2)} and sharpness {_number(summary['sharpness'], 2)} times those of "
        "the true frames",
        f"teacher-forced MSE {_number(summary['teacher_forced_mse'])}, strict {_number(summary['strict_mse'])}; "
        f"tokenizer floor {_number(summary['tokenizer_recon_mse'])}",
        f"random actions cost {_number(summary['delta_psnr_db'], 2)} dB; {summary['action_codes_used']} action codes "
        f"and {summary['token_codes_used']} of {summary['token_vocabulary']} tokens in use",
    ]
    information = [
        f"{_number(summary[key], 2)} of {what}"
        for key, what in (("action_information", "the true actions"), ("displacement_information", "the displacements"))
        if summary[key] is not None
    ]
    if information:
        lines.append(f"the action codes contain {' and '.join(information)} (mutual information over entropy)")
    if summary["memory_sharp_mse"] is not None:
        lines.append(
            f"memory references: sharp {_number(summary['memory_sharp_mse'])}, hedged "
            f"{_number(summary['memory_hedged_mse'])}; {summary['memory_references']}"
        )
    elif summary["memory_references"] is not None:
        lines.append(f"memory references {summary['memory_references']}")
    return lines


def _errors(mse_by_name: dict[str, float] | None) -> str:
    return ", ".join(f"{name} {_number(mse)}" for name, mse in (mse_by_name or {}).items())


def _past_lines(record: dict[str, Any] | None) -> list[str]:
    if record is None:
        return []
    return [f"past not judged: {record['no_occasion']}" if record["no_occasion"] else past_text(record)]


def _object_lines(record: dict[str, Any] | None) -> list[str]:
    if record is None:
        return []
    if record["no_occasion"]:
        return [f"objects: not judged, {record['no_occasion']}"]
    others = ", ".join(
        f"{name.replace('_', ' ')} {percent(rates['recall'])}" for name, rates in record["baselines"].items()
    )
    place = "–" if record["place_error"] is None else f"{record['place_error']:.3f} of the frame"
    lines = [
        f"objects: {rates_text(record)}; right kind {percent(record['kind'])}, place error {place}",
        f"  found without a model: {others}",
    ]
    lines += [f"  {kind_name(kind)}: {percent(kind['recall'])} of {kind['sightings']}" for kind in record["kinds"]]
    lines += [
        f"  {rare_name(row)}: {row['found']} of {row['events']} found, {row['generated']} generated anywhere"
        for row in record.get("rare") or []
        if "colour" not in row
    ]
    return lines + [
        f"  {kind['kind']}: {percent(kind['recall'])} of {kind['sightings']} labelled ones"
        for kind in record["labels"] or []
    ]


def _number(value: object, digits: int = 4) -> str:
    return number_text(value, f".{digits}f", "–")
