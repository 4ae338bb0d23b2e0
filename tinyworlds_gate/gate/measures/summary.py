"""From the raw errors of every clip to the numbers of the gate (definitions: shared/spec/closed-loop.md)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.bootstrap import interval, resampled_means
from tinyworlds_gate.gate.measures.clip_facts import ClipFacts
from tinyworlds_gate.gate.measures.information import (
    codes_used,
    entropy_nats,
    normalised_information,
    psnr_db,
    shares,
    shares_of_counts,
)
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
    episodes, seed = np.array([clip["episode"] for clip in clips]), int(raw["seed"])
    samples = resampled_means(per_clip, episodes, seed=seed)
    mse_low, mse_high = interval(samples["rollout_mse"])
    step_intervals = _step_intervals(by_step["rollout_mse"], episodes, seed)
    skill = _skill("copy_last_mse", means, samples)
    skill_mean = _skill("mean_frame_mse", means, samples)
    with np.errstate(invalid="ignore"):  # an error that is no number
        delta_low, delta_high = interval(_psnr_db(samples["rollout_mse"]) - _psnr_db(samples["random_action_mse"]))
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
        seed=seed,
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
        rollout=raw.get("rollout"),
        memory_window=raw.get("memory_window"),
        token_choice=raw.get("token_choice"),
        action_shares=action_shares.tolist(),
        **_token_use(raw),
        **_known_without_a_model(facts, codes_BS),
    )


def _skill(baseline: str, means: dict[str, float], samples: dict[str, np.ndarray]) -> tuple[float, float, float]:
    """1 - Σmse / Σbaseline over clips, and its interval: both sums are resampled together."""
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled = 1.0 - samples["rollout_mse"] / samples[baseline]
    value = 1.0 - means["rollout_mse"] / means[baseline] if means[baseline] > 0 else math.nan
    return value, *interval(resampled)


def _step_intervals(table_BS: np.ndarray, episodes: np.ndarray, seed: int) -> list[tuple[float, float]]:
    named = {str(step): table_BS[:, step] for step in range(table_BS.shape[1])}
    samples = resampled_means(named, episodes, seed=seed)
    return [interval(samples[str(step)]) for step in range(table_BS.shape[1])]


def _psnr_db(mse: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return -10.0 * np.log10(mse)


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
