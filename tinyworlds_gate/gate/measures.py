"""From the raw errors of every clip to the numbers of the gate (definitions: shared/spec/closed-loop.md)."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.bootstrap import interval, resampled_means

USED_SHARE = 0.02
"""An action code counts as used when at least this share of the transitions carries it."""

PER_STEP_KEYS = ("rollout_mse", "random_action_mse", "copy_last_mse", "mean_frame_mse")


RUN_KEYS = ("generation_steps", "context", "clip_digest", "n_actions", "teacher_forced", "seed")
CLIP_KEYS = ("episode", "tokenizer_recon_mse", "latent_actions")


class MeasuresError(GateError):
    """The measures file of an inference run is missing or contradicts itself."""


@dataclass(frozen=True)
class GateMeasures:
    """What the gate judges and shows: errors on frames in [0, 1], generated frames of held-out clips only."""

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

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return asdict(self)


def psnr_db(mse: float) -> float:
    """Peak signal-to-noise ratio of frames in [0, 1]; infinite for a perfect prediction."""
    return math.inf if mse <= 0 else -10.0 * math.log10(mse)


def read_raw(path: Path) -> dict[str, Any]:
    """Read the raw measures of an inference run and check that they are whole.

    Raises:
        MeasuresError: the file is missing, is not JSON, or a clip lacks a value.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MeasuresError(f"{path}: the inference run left no measures; read its log for the reason") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MeasuresError(f"{path}: the measures are not readable JSON ({error}); run inference again") from error
    _require_whole(path, raw)
    return raw


def _require_whole(path: Path, raw: Any) -> None:
    if not isinstance(raw, dict):
        raise MeasuresError(f"{path}: the measures are a {type(raw).__name__}, not a mapping; run inference again")
    if not raw.get("clips"):
        raise MeasuresError(f"{path}: the measures hold no clip; nothing was evaluated, and that is not a pass")
    for key in RUN_KEYS:
        if raw.get(key) is None:
            raise MeasuresError(f"{path}: the measures have no {key}; run inference again")
    for number, clip in enumerate(raw["clips"], start=1):
        if not isinstance(clip, dict):
            raise MeasuresError(f"{path}: clip number {number} is no mapping; run inference again")
        _require_whole_clip(f"{path}: clip at {clip.get('start')}", clip, raw["generation_steps"])


def _require_whole_clip(where: str, clip: dict[str, Any], steps: int) -> None:
    for key in PER_STEP_KEYS:
        values = clip.get(key) or []
        if len(values) != steps:
            raise MeasuresError(f"{where} has {len(values)} values of {key}, expected {steps}")
        strange = [value for value in values if not isinstance(value, int | float)]
        if strange:
            raise MeasuresError(f"{where} has the value {strange[0]!r} in {key}; only numbers are errors")
    for key in CLIP_KEYS:
        if clip.get(key) is None:
            raise MeasuresError(f"{where} has no {key}; run inference again")


def summarise(raw: dict[str, Any]) -> GateMeasures:
    """Means, intervals over episodes, skill and action use of one inference run (float64 throughout)."""
    clips = raw["clips"]
    by_step = {key: np.array([clip[key] for clip in clips], dtype=np.float64) for key in PER_STEP_KEYS}
    per_clip = {key: table.mean(axis=1) for key, table in by_step.items()}
    episodes = np.array([clip["episode"] for clip in clips])
    means = {key: float(values.mean()) for key, values in per_clip.items()}
    samples = resampled_means(per_clip, episodes, seed=int(raw["seed"]))
    mse_low, mse_high = interval(samples["rollout_mse"])
    with np.errstate(divide="ignore", invalid="ignore"):
        skill_samples = 1.0 - samples["rollout_mse"] / samples["copy_last_mse"]
    skill_low, skill_high = interval(skill_samples)
    copy_last = means["copy_last_mse"]
    used, entropy = _action_use(clips, int(raw["n_actions"]), int(raw["generation_steps"]))
    return GateMeasures(
        clips=len(clips),
        episodes=len(np.unique(episodes)),
        clip_digest=raw["clip_digest"],
        context=raw["context"],
        generation_steps=raw["generation_steps"],
        mse=means["rollout_mse"],
        mse_low=mse_low,
        mse_high=mse_high,
        mse_by_step=by_step["rollout_mse"].mean(axis=0).tolist(),
        copy_last_mse=copy_last,
        copy_last_mse_by_step=by_step["copy_last_mse"].mean(axis=0).tolist(),
        mean_frame_mse=means["mean_frame_mse"],
        skill=1.0 - means["rollout_mse"] / copy_last if copy_last > 0 else math.nan,
        skill_low=skill_low,
        skill_high=skill_high,
        tokenizer_recon_mse=float(np.mean([clip["tokenizer_recon_mse"] for clip in clips])),
        action_codes_used=used,
        action_entropy_nats=entropy,
        random_action_mse=means["random_action_mse"],
        delta_psnr_db=psnr_db(means["rollout_mse"]) - psnr_db(means["random_action_mse"]),
        psnr_db=psnr_db(means["rollout_mse"]),
        teacher_forced=bool(raw["teacher_forced"]),
        seed=int(raw["seed"]),
        seconds=float(raw.get("seconds", math.nan)),
    )


def _action_use(clips: list[dict[str, Any]], n_actions: int, new_frames: int) -> tuple[int, float]:
    # The last codes of a step, one a generated frame, lead into its frames; the earlier ones repeat the context's.
    codes = np.array(
        [
            code
            for clip in clips
            for row in clip["latent_actions"]
            for code in row[-(new_frames // len(clip["latent_actions"])) :]
        ],
        dtype=int,
    )
    if codes.size == 0:
        return 0, 0.0
    shares = np.bincount(codes, minlength=n_actions) / codes.size
    positive = shares[shares > 0]
    return int((shares >= USED_SHARE).sum()), float(-(positive * np.log(positive)).sum()) + 0.0
