"""Raw measures and inference evidence for the tests of the gate: good by default."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.measures.summary import GateMeasures, summarise
from tinyworlds_gate.gate.verdict import InferenceEvidence
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.log_lines import InferenceLines

STRICT = GateThresholds(
    max_mse=0.03,
    require_mse_upper=True,
    require_skill=True,
    require_skill_strongest=True,
    min_object_share=0.9,
    min_past_ratio=1.05,
    require_upper_below_mean_frame=True,
    min_delta_psnr_db=1.0,
    min_action_codes=3,
    min_episodes=4,
)
ERROR_ONLY = GateThresholds(min_episodes=None)

CHECKPOINTS = {stage: f"results/r/{stage}/checkpoints/{stage}_step_9" for stage in STAGES}


def clip(
    rollout: Sequence[float],
    *,
    episode: int = 0,
    copy_last: float = 0.02,
    mean_frame: float = 0.05,
    random_actions: float = 0.04,
    recon: float = 0.001,
    codes: Sequence[int] | None = None,
    start: int = 0,
) -> dict[str, Any]:
    """Return one clip of an inference run with two action codes a step; the first repeats the context's."""
    steps = len(rollout)
    return {
        "start": start,
        "episode": episode,
        "rollout_mse": list(rollout),
        "random_action_mse": [random_actions] * steps,
        "copy_last_mse": [copy_last] * steps,
        "mean_frame_mse": [mean_frame] * steps,
        "tokenizer_recon_mse": recon,
        "latent_actions": [[0, code] for code in (codes if codes is not None else range(steps))],
    }


def raw(clips: Sequence[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """Return the content of an inference run's measures file."""
    return {
        "schema": 1,
        "clips": list(clips),
        "clip_digest": "d" * 64,
        "context": 2,
        "generation_steps": len(clips[0]["rollout_mse"]) if clips else 2,
        "n_actions": 4,
        "teacher_forced": False,
        "seed": 3,
        "seconds": 1.5,
        **changes,
    }


def write_raw(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def objects(*, recall: float = 0.97, precision: float = 0.98) -> dict[str, Any]:
    """Return the objects of G6 as the measures hold them: 200 sightings in three thirds, all of one kind."""
    missing = round(200 * (1 - recall))
    fates = {"missing": missing, "displaced": 0, "replaced": 0}
    kind = {"colour": "#eb3c32", "height_px": 6, "width_px": 6, "sightings": 200, "recall": recall, **fates}
    rates = {"recall": recall, "moved_recall": recall, "precision": precision, "kind": 1.0}
    return {
        **{f"{key}{end}": value for key, value in rates.items() for end in ("", "_low", "_high")},
        **{f"{key}_by_part": [value] * 3 for key, value in rates.items()},
        **{f"{key}_by_step": [value] * 4 for key, value in rates.items()},
        **{"place_error": 0.0, "place_error_by_step": [0.0] * 4, "labels": None, "kinds": [kind]},
        **{"sightings": 200, "moved_sightings": 150, "clips": 8, "episodes": 8, "no_occasion": None},
        "baselines": {"copy_last": {"recall": 0.2, "moved_recall": 0.0}},
        "mistakes": {**fates, "extra": round(200 * recall * (1 / precision - 1)), "left_behind": 0},
    }


def past(ratio: float = 2.4) -> dict[str, Any]:
    """Return the past of G7 as the measures hold it; the interval is 5 % wide on both sides."""
    return {
        "no_occasion": None,
        "clips": 8,
        "episodes": 8,
        "own_mse": 0.01,
        "foreign_mse": 0.01 * ratio,
        "ratio": ratio,
        "ratio_low": 0.95 * ratio,
        "ratio_high": 1.05 * ratio,
    }


def actions(excess: float = 0.6, *, true_actions: int = 5, chance: float = 0.02) -> dict[str, Any]:
    """Return the record of G5.true_actions; the interval is 0.02 wide on both sides."""
    return {
        "no_occasion": None,
        "bits": 1.9,
        "most_bits": 2.0,
        "true_actions": true_actions,
        "true_bits": 2.3,
        "information": excess + chance,
        "chance": chance,
        "chance_high": 2 * chance,
        "excess": excess,
        "excess_low": excess - 0.02,
        "excess_high": excess + 0.02,
    }


def played(**changes: float) -> dict[str, Any]:
    """Return the record of G5.played."""
    return {
        "no_occasion": None,
        "clips": 16,
        "episodes": 8,
        "codes": 4,
        "error": 0.5,
        "patches": 0.03,
        "patches_true": 0.01,
        "patches_predicted": 0.02,
        "sharpness": 0.95,
        "sharpness_predicted": 0.9,
        "motion": 0.8,
        "motion_predicted": 0.7,
        "motion_other": 4.0,
        **changes,
    }


def measures(
    *,
    mse: float = 0.01,
    copy_last: float = 0.02,
    mean_frame: float = 0.05,
    random_actions: float = 0.04,
    codes: int = 4,
    episodes: int = 4,
    blend: float = 0.018,
    found: float = 0.97,
    past_ratio: float = 2.4,
) -> GateMeasures:
    """Return measures of clips (default: eight in four episodes) whose errors spread by a tenth around ``mse``."""
    spread = (0.9, 1.1, 1.05, 0.95)
    clips = [
        clip(
            [mse * spread[index % 4]] * 4,
            episode=index % episodes,
            copy_last=copy_last,
            mean_frame=mean_frame,
            random_actions=random_actions,
            codes=[step % codes for step in range(4)],
            start=10 * index,
        )
        for index in range(8)
    ]
    summary = summarise(raw(clips))
    return replace(
        summary,
        objects=objects(recall=found),
        past=past(past_ratio),
        actions=actions(),
        played=played(),
        motion_ratio=0.9,
        sharpness=0.8,
        blend_mse=blend,
        blend_mse_by_step=[blend] * 4,
        strongest_baseline="blend",
        strongest_baseline_mse=blend,
        skill_strongest=1 - summary.mse / blend,
        skill_strongest_low=1 - summary.mse_high / blend,
        skill_strongest_high=1 - summary.mse_low / blend,
    )


def log(**changes: Any) -> InferenceLines:
    """Return the values of a good inference log."""
    fields: dict[str, Any] = {"checkpoints": CHECKPOINTS, "frames_inferred": 8, "has_stats": True, "mse": 0.01}
    return InferenceLines(**{**fields, **changes})


def evidence(**changes: Any) -> InferenceEvidence:
    """Return the evidence of a good inference run; by default the log has the same error as the measures."""
    found = changes.get("measures", measures())
    fields: dict[str, Any] = {
        "exit_code": 0,
        "log": log(mse=found.mse) if found is not None else log(),
        "expected_checkpoints": CHECKPOINTS,
        "picture": "inference_results_gt_vs_pred_2026_01_01_00_00_00.png",
        "picture_problem": "",
        "measures": found,
        "measures_problem": "",
    }
    return InferenceEvidence(**{**fields, **changes})


def error_and(**required: Any) -> GateThresholds:
    """Thresholds on the error, and on nothing else but ``required``."""
    return GateThresholds(**{"min_episodes": None, **required})
