"""Rows about the inference gate's measurements, each with a note on how to read it (pure functions)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.config.thresholds import recorded_thresholds
from tinyworlds_gate.gate.custom_records import interval_text, record_limit, value_text
from tinyworlds_gate.gate.object_names import kind_name, rare_name
from tinyworlds_gate.reference.rollout.mode import mode_text
from tinyworlds_gate.reports.markdown import MISSING, number
from tinyworlds_gate.reports.model import RunRecord
from tinyworlds_gate.reports.views import Fact, Row

STEP_COLUMNS = (
    ("MSE", "mse_by_step"),
    ("95 % from", "mse_low_by_step"),
    ("95 % to", "mse_high_by_step"),
    ("copy-last MSE", "copy_last_mse_by_step"),
    ("mean-frame MSE", "mean_frame_mse_by_step"),
    ("context-mean MSE", "context_mean_mse_by_step"),
    ("blend MSE", "blend_mse_by_step"),
    ("strongest without a model", "strongest_baseline_mse_by_step"),
    ("random actions", "random_action_mse_by_step"),
    ("teacher-forced", "teacher_forced_mse_by_step"),
    ("memory, sharp", "memory_sharp_mse_by_step"),
    ("memory, hedged", "memory_hedged_mse_by_step"),
    ("PSNR (dB)", "psnr_by_step_db"),
    ("SSIM", "ssim_by_step"),
)


@dataclass(frozen=True)
class StepTable:
    """Errors by generated step; the first column is the step."""

    headings: list[str]
    rows: list[list[Any]]


BINDING_LABELS = (
    ("clip_digest", "digest of the clips"),
    ("dataset_sha256", "SHA-256 of the frames file"),
    ("evaluation_sha256", "SHA-256 of the evaluation set"),
    ("config_sha256", "SHA-256 of the settings that the gate depends on"),
    ("commit", "commit of the project"),
    ("dirty", "tracked files differ from the commit"),
    ("harness_sha256", "SHA-256 of the harness's files"),
)
NOT_ALWAYS = ("evaluation_sha256", "harness_sha256")


def required(record: RunRecord) -> str | None:
    """The thresholds of the last verdict as text; None where it recorded none."""
    thresholds = recorded_thresholds(record.last_attempt.verdict if record.last_attempt else None)
    return None if thresholds is None else thresholds.describe()


@dataclass(frozen=True)
class CustomRow:
    """A condition or metric that the project's conftest.py added, as text."""

    name: str
    value: str
    interval: str
    limit: str
    verdict: str
    note: str


def custom_rows(record: RunRecord) -> list[CustomRow]:
    """Return the project's own conditions and metrics of the last verdict; empty when it has none."""
    verdict = record.last_attempt.verdict if record.last_attempt else None
    return [
        CustomRow(
            one["name"],
            value_text(one),
            interval_text(one) or MISSING,
            record_limit(one) or "none",
            one["verdict"] or "only shown",
            one["problem"] or one["sentence"] or MISSING,
        )
        for one in (verdict or {}).get("custom_metrics") or []
    ]


def binding_rows(record: RunRecord) -> list[tuple[str, Any]]:
    """Return (label, value) of every input that the last verdict is bound to; empty when none is recorded."""
    verdict = record.last_attempt.verdict if record.last_attempt else None
    bound = (verdict or {}).get("binding") or {}
    if not bound:
        return []
    rows = [(f"SHA-256 of the {stage} weights", digest) for stage, digest in bound.get("checkpoints", {}).items()]
    labels = [one for one in BINDING_LABELS if one[0] not in NOT_ALWAYS or bound.get(one[0]) is not None]
    rows += [(what, bound.get(key)) for key, what in labels]
    for group in ("checkpoint_files", "evidence"):
        rows += [(f"SHA-256 of {path}", digest) for path, digest in (bound.get(group) or {}).items()]
    versions = ", ".join(f"{name} {version}" for name, version in bound.get("versions", {}).items())
    return [*rows, ("versions", versions or None)]


FACTS = (
    ("MSE of the generated frames", "mse", "G5; frames in [0, 1]; the limit is {limit}"),
    ("95 % interval, lower end", "mse_low", "over episodes"),
    ("95 % interval, upper end", "mse_high", "over episodes"),
    ("MSE of copying the last frame", "copy_last_mse", "a model that does nothing"),
    ("MSE of the mean frame", "mean_frame_mse", "a model that knows only the average"),
    ("Skill against copying", "skill", "above 0: better than doing nothing"),
    ("Skill, lower end", "skill_low", "95 %, over episodes"),
    ("Skill, upper end", "skill_high", "95 %, over episodes"),
    ("Tokenizer reconstruction MSE", "tokenizer_recon_mse", "the floor: dynamics cannot be better than this"),
    ("PSNR (dB)", "psnr_db", "higher is better"),
    ("MSE with random actions", "random_action_mse", "should be higher than with the inferred actions"),
    ("ΔPSNR, inferred against random actions (dB)", "delta_psnr_db", "above 0: the actions steer the model"),
    ("Action codes in use", "action_codes_used", "codes in at least 2 % of the transitions"),
    ("Entropy of the actions (nats)", "action_entropy_nats", "0: always the same action"),
    ("Teacher-forced", "teacher_forced", "each step starts from {source}"),
    ("Clips", "clips", "held out: no stage trained on them"),
    ("Episodes", "episodes", "the clips come from these"),
    ("Context frames", "context", "true frames, not counted in the MSE"),
    ("Generated frames", "generation_steps", "for each clip; {mode}"),
    ("Seed", "seed", "same seed, same clips"),
    ("Digest of the clips", "clip_digest", "identifies the exact clips"),
    ("Time (s)", "seconds", "of the evaluation"),
)
"""Label, measurement and note on how to read it."""
NEWER_FACTS = (
    ("Skill against the mean frame", "skill_mean_frame", "above 0: better than knowing only the average"),
    ("MSE of the context's mean", "context_mean_mse", "a prediction without a model"),
    ("MSE of the blend", "blend_mse", "of last frame, context mean and mean frame; weights fitted on training clips"),
    ("Strongest prediction without a model", "strongest_baseline", "{strongest}"),
    ("Skill against it", "skill_strongest", "G8; above 0: the model knows more than it"),
    ("Skill against it, lower end", "skill_strongest_low", "95 %, over episodes"),
    ("Skill against it, upper end", "skill_strongest_high", "95 %, over episodes"),
    ("Motion against the true frames", "motion_ratio", "1: as much changes from frame to frame; below: it averages"),
    ("Sharpness against the true frames", "sharpness", "1: edges as sharp; below: blurred"),
    ("MSE, strict", "strict_mse", "each step starts from the model's own output"),
    ("MSE, teacher-forced", "teacher_forced_mse", "steps start from true frames; not used for the verdict"),
    ("SSIM", "ssim", "structural similarity; 1 is equal"),
    ("ΔPSNR, lower end (dB)", "delta_psnr_low_db", "95 %, over episodes"),
    ("ΔPSNR, upper end (dB)", "delta_psnr_high_db", "95 %, over episodes"),
    (
        "Information of the codes about the true actions",
        "action_information",
        "mutual information over entropy, 0 to 1",
    ),
    ("Information of the codes about displacements", "displacement_information", "the same, five displacements"),
    ("Tokens in use", "token_codes_used", "of {vocabulary}; tokens that occur in the true frames"),
    ("Tokens in use, generated frames", "generated_token_codes_used", "far fewer than above: less variety"),
    ("Fed back to the model", "rollout", "tokens as they are, or pixels that are tokenised again"),
    ("Memory (frames)", "memory_window", "the most that one step sees, true and generated"),
    ("Token choice", "token_choice", "the likeliest, the one nearest to the predicted mean, or that mean itself"),
)
"""The same of newer measurements; a record without one has no row for it."""


def gate_facts(record: RunRecord) -> list[Fact]:
    """Return (label, value, note) rows of the last attempt with a verdict."""
    m = record.measures
    if not m:
        return []
    shown = {
        "limit": number(record.max_mse),
        "source": "true frames" if m.get("teacher_forced") else "its own output",
        "mode": mode_text(m) or "how they were generated is not known",
        "vocabulary": number(m.get("token_vocabulary")),
        "strongest": m.get("strongest_baseline_meaning") or "the one with the smallest MSE on these clips",
    }
    rows = [*FACTS, *(row for row in NEWER_FACTS if m.get(row[1]) is not None)]
    facts = [(label, m.get(key), note.format_map(shown)) for label, key, note in rows]
    facts += [(f"MSE of the {name}", mse, "needs no model") for name, mse in (m.get("baseline_mse") or {}).items()]
    return facts + _object_facts(m.get("objects")) + _past_facts(m.get("past")) + _memory_facts(m)


def _object_facts(objects: Row | None) -> list[Fact]:
    """Rows on the objects (G6); none for a record of an older version."""
    if objects is None:
        return []
    if objects["no_occasion"]:
        return [("Objects", "NOT-RUN", objects["no_occasion"])]
    rows: list[Fact] = [
        ("Objects: recall", objects["recall"], f"of {objects['sightings']} sightings, found in their place"),
        ("Objects: recall, lower end", objects["recall_low"], "95 %, over episodes"),
        ("Objects: precision", objects["precision"], f"{objects['mistakes']['extra']} stand where none should"),
        ("Objects: precision, lower end", objects["precision_low"], "95 %, over episodes"),
        ("Objects: right kind", objects["kind"], "of those in their place, the others are replaced by something else"),
        ("Objects: place error", objects["place_error"], "of those found nearby, as a share of the frame's side"),
    ]
    for name, rates in objects["baselines"].items():
        rows.append((f"Objects: recall of {name.replace('_', ' ')}", rates["recall"], "needs no model"))
    rows += [
        (f"Objects: recall, {kind_name(kind)}", kind["recall"], f"{kind['sightings']} sightings")
        for kind in objects["kinds"]
    ]
    rows += [
        (
            f"Objects: {rare_name(row)}",
            f"{row['found']} of {row['events']}",
            f"found; {row['generated']} generated anywhere",
        )
        for row in objects.get("rare") or []
        if "colour" not in row
    ]
    for kind in objects["labels"] or []:
        rows.append((f"Objects: recall of {kind['kind']}", kind["recall"], f"{kind['sightings']} labelled sightings"))
    return rows


def _past_facts(past: Row | None) -> list[Fact]:
    """Rows on the past (G7); none for a record of an older version."""
    if past is None:
        return []
    if past["no_occasion"]:
        return [("Context of another clip", "NOT-RUN", past["no_occasion"])]
    return [
        ("Context of another clip: MSE", past["foreign_mse"], f"own context: {number(past['own_mse'])}"),
        ("Context of another clip: factor", past["ratio"], "G7; geometric mean over clips; 1: the past is ignored"),
        ("Context of another clip: factor, lower end", past["ratio_low"], "95 %, over episodes"),
    ]


def _memory_facts(m: Row) -> list[Fact]:
    note = m.get("memory_references")
    if note is None:
        return []
    if m.get("memory_sharp_mse") is None:
        verdict, _, reason = str(note).partition(": ")
        return [("Memory references", verdict, reason)]
    return [
        ("Memory reference, sharp", m.get("memory_sharp_mse"), str(note)),
        ("Memory reference, hedged", m.get("memory_hedged_mse"), "the same, hedged guesses for unseen tiles; no bound"),
    ]


def step_table(measures: Row) -> StepTable | None:
    """Return the errors by generated step; None when none were recorded."""
    steps = len(measures.get("mse_by_step") or [])
    if not steps:
        return None
    columns = [(heading, values) for heading, key in STEP_COLUMNS if (values := measures.get(key))]
    rows = [[step + 1, *(one[step] if step < len(one) else None for _, one in columns)] for step in range(steps)]
    return StepTable(["step", *(heading for heading, _ in columns)], rows)
