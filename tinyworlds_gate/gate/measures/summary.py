"""From the raw errors of every clip to the numbers of the gate (definitions: docs/gate.md)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.baselines import BLEND, CONTEXT_MEAN
from tinyworlds_gate.gate.measures.clip_facts import ClipFacts
from tinyworlds_gate.gate.measures.information import (
    action_record,
    codes_used,
    entropy_nats,
    normalised_information,
    psnr_db,
    shares,
    shares_of_counts,
)
from tinyworlds_gate.gate.measures.intervals import mean_interval, ratio_interval
from tinyworlds_gate.gate.measures.raw import OPTIONAL_PER_STEP_KEYS, PER_STEP_KEYS, MeasuresError

NO_BOUNDS = (
    "no bounds: beating one is no evidence of a leak; they say how much of what can be known is known, by perfect "
    "ego-motion and a memory of every tile of the context"
)


@dataclass(frozen=True)
class GateMeasures:
    """What the gate judges and shows: errors on frames in [0, 1], generated frames of held-out clips only.

    None: not measured, or not known for these data.
    """

    clips: int
    episodes: int
    clip_digest: str
    context: int
    generation_steps: int
    mse: float
    mse_low: float
    mse_high: float
    mse_by_step: list[float]
    copy_last_mse: float
    copy_last_mse_by_step: list[float]
    mean_frame_mse: float
    skill: float
    skill_low: float
    skill_high: float
    tokenizer_recon_mse: float
    action_codes_used: int
    action_entropy_nats: float
    random_action_mse: float
    delta_psnr_db: float
    psnr_db: float
    teacher_forced: bool
    seed: int
    seconds: float

    mse_low_by_step: list[float] | None = None
    mse_high_by_step: list[float] | None = None
    mean_frame_mse_by_step: list[float] | None = None
    random_action_mse_by_step: list[float] | None = None
    psnr_by_step_db: list[float] | None = None
    ssim: float | None = None
    ssim_by_step: list[float] | None = None
    skill_mean_frame: float | None = None
    skill_mean_frame_low: float | None = None
    skill_mean_frame_high: float | None = None
    strict_mse: float | None = None
    strict_mse_by_step: list[float] | None = None
    teacher_forced_mse: float | None = None
    teacher_forced_mse_by_step: list[float] | None = None
    delta_psnr_low_db: float | None = None
    delta_psnr_high_db: float | None = None
    prediction_horizon: int | None = 1
    """Frames that a step generates; None: not known (frames of another program)."""
    rollout: str | None = None
    """``tokens`` or ``pixels``: what is fed back."""
    memory_window: int | None = None
    """Frames that a step saw at most, true and generated ones."""
    token_choice: str | None = None
    """``likeliest``, ``nearest_mean`` or ``mean``: which token was taken."""
    action_shares: list[float] | None = None
    """The share of the transitions that each action code has."""
    action_information: float | None = None
    """I(code; true action) / H(true action)."""
    displacement_information: float | None = None
    """I(code; displacement) / H(displacement), five displacements of the player."""
    token_codes_used: int | None = None
    """Tokens that occur in the true frames of the clips, of ``token_vocabulary``."""
    token_vocabulary: int | None = None
    token_entropy_nats: float | None = None
    generated_token_codes_used: int | None = None
    memory_sharp_mse: float | None = None
    memory_sharp_mse_by_step: list[float] | None = None
    memory_hedged_mse: float | None = None
    memory_hedged_mse_by_step: list[float] | None = None
    memory_references: str | None = None
    """How to read the two: ``no bounds …``, or ``NOT-RUN: …`` with the reason."""
    context_mean_mse: float | None = None
    context_mean_mse_by_step: list[float] | None = None
    blend_mse: float | None = None
    blend_mse_by_step: list[float] | None = None
    blend_weights: list[dict[str, float]] | None = None
    """By step: the weight of each prediction in the blend."""
    blend_note: str | None = None
    strongest_baseline: str | None = None
    """The prediction without a model that has the smallest error on these clips."""
    strongest_baseline_meaning: str | None = None
    """What that prediction is, and how its weights are fitted."""
    baseline_mse: dict[str, float] | None = None
    """The error of each prediction without a model."""
    strongest_baseline_mse: float | None = None
    strongest_baseline_mse_by_step: list[float] | None = None
    skill_strongest: float | None = None
    skill_strongest_low: float | None = None
    skill_strongest_high: float | None = None
    objects: dict[str, Any] | None = None
    """Recall, precision, place and kind of small moving objects (`objects/`, G6); None: no generated frames to read."""
    actions: dict[str, Any] | None = None
    """Bits that the codes carry, and how far they follow the true actions (`information.py`, G5.true_actions)."""
    played: dict[str, Any] | None = None
    """Frames of freely chosen codes against the true frames (`played.py`, G5.played); None: there was no probe."""
    past: dict[str, Any] | None = None
    """The error with the context of another clip against the own one (`probe.py`, G7); None: there was no probe."""
    motion_ratio: float | None = None
    """Change from frame to frame over that of the true frames."""
    sharpness: float | None = None
    """Differences of neighbouring pixels over those of the true frames."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return asdict(self)


def summarise(raw: dict[str, Any], facts: ClipFacts | None = None) -> GateMeasures:
    """Means, intervals over episodes, skill and use of codes of one inference run (float64 throughout).

    ``facts`` are what the harness knows of the same clips without any model; without them what needs them is None.

    Raises:
        MeasuresError: the latent actions of a clip are not one code per generated frame.
    """
    clips = raw["clips"]
    keys = [*PER_STEP_KEYS, *(key for key in OPTIONAL_PER_STEP_KEYS if clips[0].get(key) is not None)]
    by_step = {key: np.array([clip[key] for clip in clips], dtype=np.float64) for key in keys}
    steps = {key: table.mean(axis=0).tolist() for key, table in by_step.items()}
    per_clip = {key: table.mean(axis=1) for key, table in by_step.items()}
    means = {key: float(values.mean()) for key, values in per_clip.items()}
    episodes = np.array([clip["episode"] for clip in clips]) if facts is None else facts.episodes
    mse_low, mse_high = _error_interval(per_clip["rollout_mse"], episodes)
    step_intervals = [_error_interval(values, episodes) for values in by_step["rollout_mse"].T]
    skill = _skill(per_clip["rollout_mse"], per_clip["copy_last_mse"], episodes)
    skill_mean = _skill(per_clip["rollout_mse"], per_clip["mean_frame_mse"], episodes)
    delta_low, delta_high = _decibels(ratio_interval(per_clip["random_action_mse"], per_clip["rollout_mse"], episodes))
    codes_BS = _generated_codes(clips, int(raw["generation_steps"]), int(raw["n_actions"]))
    action_shares = shares(codes_BS, int(raw["n_actions"]))
    return GateMeasures(
        clips=len(clips),
        episodes=len(np.unique(episodes)),
        clip_digest=raw["clip_digest"],
        context=raw["context"],
        generation_steps=raw["generation_steps"],
        mse=means["rollout_mse"],
        mse_low=mse_low,
        mse_high=mse_high,
        mse_by_step=steps["rollout_mse"],
        copy_last_mse=means["copy_last_mse"],
        copy_last_mse_by_step=steps["copy_last_mse"],
        mean_frame_mse=means["mean_frame_mse"],
        skill=skill[0],
        skill_low=skill[1],
        skill_high=skill[2],
        tokenizer_recon_mse=float(np.mean([clip["tokenizer_recon_mse"] for clip in clips])),
        action_codes_used=codes_used(action_shares),
        action_entropy_nats=entropy_nats(action_shares),
        random_action_mse=means["random_action_mse"],
        delta_psnr_db=psnr_db(means["rollout_mse"]) - psnr_db(means["random_action_mse"]),
        psnr_db=psnr_db(means["rollout_mse"]),
        teacher_forced=bool(raw["teacher_forced"]),
        seed=int(raw["seed"]),
        seconds=float(raw.get("seconds", math.nan)),
        mse_low_by_step=[low for low, _ in step_intervals],
        mse_high_by_step=[high for _, high in step_intervals],
        mean_frame_mse_by_step=steps["mean_frame_mse"],
        random_action_mse_by_step=steps["random_action_mse"],
        psnr_by_step_db=[psnr_db(mse) for mse in steps["rollout_mse"]],
        ssim=means.get("rollout_ssim"),
        ssim_by_step=steps.get("rollout_ssim"),
        skill_mean_frame=skill_mean[0],
        skill_mean_frame_low=skill_mean[1],
        skill_mean_frame_high=skill_mean[2],
        strict_mse=means.get("strict_mse"),
        strict_mse_by_step=steps.get("strict_mse"),
        teacher_forced_mse=means.get("teacher_forced_mse"),
        teacher_forced_mse_by_step=steps.get("teacher_forced_mse"),
        delta_psnr_low_db=delta_low,
        delta_psnr_high_db=delta_high,
        prediction_horizon=int(raw.get("prediction_horizon") or 1),
        rollout=raw.get("rollout"),
        memory_window=raw.get("memory_window"),
        token_choice=raw.get("token_choice"),
        action_shares=action_shares.tolist(),
        actions=action_record(codes_BS, int(raw["n_actions"]), None if facts is None else facts.true_actions, episodes),
        **_token_use(raw),
        **_known_without_a_model(facts, codes_BS),
        **_against_the_strongest(facts, per_clip["rollout_mse"]),
    )


def _skill(rollout_B: np.ndarray, baseline_B: np.ndarray, episodes: np.ndarray) -> tuple[float, float, float]:
    """Return 1 - Σrollout / Σbaseline over clips, and its interval."""
    low, high = ratio_interval(rollout_B, baseline_B, episodes)
    total = float(baseline_B.sum())
    return 1.0 - float(rollout_B.sum()) / total if total > 0 else math.nan, 1.0 - high, 1.0 - low


def _against_the_strongest(facts: ClipFacts | None, rollout_B: np.ndarray) -> dict[str, Any]:
    """The predictions that need no model, and the skill against the one with the smallest error (G8)."""
    if facts is None:
        return {}
    found, known = dict[str, Any](), facts.baselines
    for field, name in (("context_mean", CONTEXT_MEAN), ("blend", BLEND)):
        found[f"{field}_mse"] = float(known.mse_BS[name].mean())
        found[f"{field}_mse_by_step"] = known.mse_BS[name].mean(axis=0).tolist()
    strongest_B = known.mse_BS[known.strongest].mean(axis=1)
    value, low, high = _skill(rollout_B, strongest_B, facts.episodes)
    return found | {
        "blend_weights": known.weights,
        "blend_note": known.note,
        "strongest_baseline": known.strongest,
        "strongest_baseline_meaning": known.meaning,
        "baseline_mse": {name: float(table.mean()) for name, table in known.mse_BS.items()},
        "strongest_baseline_mse": float(strongest_B.mean()),
        "strongest_baseline_mse_by_step": known.mse_BS[known.strongest].mean(axis=0).tolist(),
        "skill_strongest": value,
        "skill_strongest_low": low,
        "skill_strongest_high": high,
    }


def _error_interval(error_B: np.ndarray, episodes: np.ndarray) -> tuple[float, float]:
    """Return the interval of a mean error; no error of frames in [0, 1] is above 1."""
    low, high = mean_interval(error_B, episodes)
    return low, high if math.isnan(high) else min(high, max(1.0, float(error_B.mean())))


def _decibels(ends: tuple[float, float]) -> tuple[float, float]:
    """Return a ratio of errors in dB; NaN at both ends where one of them is none."""
    if not all(math.isfinite(end) and end > 0 for end in ends):
        return math.nan, math.nan
    return 10.0 * math.log10(ends[0]), 10.0 * math.log10(ends[1])


def _generated_codes(clips: list[dict[str, Any]], new_frames: int, n_actions: int) -> np.ndarray:
    """Codes ``[B, S]`` of the transitions into the generated frames.

    The last codes of a step, one a generated frame, lead into its frames; the earlier ones repeat the context's.
    """
    table = []
    for clip in clips:
        rows = clip["latent_actions"]
        codes = [code for row in rows for code in row[-(new_frames // len(rows)) :]]
        if len(codes) != new_frames or not all(isinstance(code, int) and 0 <= code < n_actions for code in codes):
            raise MeasuresError(
                f"clip at {clip['start']}: its latent_actions lead into {len(codes)} generated frames with the codes "
                f"{codes[:4]} …; {new_frames} codes from 0 to {n_actions - 1} are needed; run inference again"
            )
        table.append(codes)
    return np.array(table, dtype=int)


def _token_use(raw: dict[str, Any]) -> dict[str, Any]:
    counts, generated = raw.get("token_counts"), raw.get("generated_token_counts")
    if counts is None or generated is None:
        return {}
    return {
        "token_codes_used": int(np.count_nonzero(counts)),
        "token_vocabulary": len(counts),
        "token_entropy_nats": entropy_nats(shares_of_counts(np.array(counts))),
        "generated_token_codes_used": int(np.count_nonzero(generated)),
    }


def _known_without_a_model(facts: ClipFacts | None, codes_BS: np.ndarray) -> dict[str, Any]:
    """Memory references, and what the codes tell of the true actions and displacements."""
    if facts is None:
        return {}
    found: dict[str, Any] = {"memory_references": f"NOT-RUN: {facts.memory_note}"}
    if facts.memory is not None:
        found["memory_references"] = NO_BOUNDS
        for name, table_BS in (("sharp", facts.memory.sharp_BS), ("hedged", facts.memory.hedged_BS)):
            found[f"memory_{name}_mse"] = float(table_BS.mean())
            found[f"memory_{name}_mse_by_step"] = table_BS.mean(axis=0).tolist()
    for name, truth in (("action", facts.true_actions), ("displacement", facts.displacements)):
        if truth is not None and truth.shape == codes_BS.shape:
            found[f"{name}_information"] = normalised_information(codes_BS, truth)
    return found
