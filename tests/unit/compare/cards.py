"""Scorecards of made-up models on made-up clips."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from tinyworlds_gate.gate.scorecard import ClipScore, Scorecard

SETTINGS: dict[str, Any] = {"context": 3, "generation_steps": 4, "teacher_forced": False, "frame_size": 64, "stride": 1}
KIND = {"colour": "#ff0000", "height_px": 4, "width_px": 4}


def clip_name(number: int) -> str:
    """The digest of a clip."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:16]


def made_card(
    seed: int = 0,
    *,
    factor: float = 1.0,
    clips: int = 64,
    episodes: int = 16,
    first: int = 0,
    recall: tuple[float, ...] = (0.9, 0.9),
    control: float = 2.0,
    noise: float = 0.1,
    **fields: Any,
) -> Scorecard:
    """A model whose error differs from that of another seed by ``noise`` (of 1, a clip), and by ``factor`` in all."""
    rng, of_clips = np.random.default_rng([seed, 7]), np.random.default_rng(99)
    hard = np.exp(of_clips.normal(0, 0.5, 4096))
    scores = []
    for number in range(first, first + clips):
        error = float(0.01 * hard[number] * factor * np.exp(rng.normal(0, noise)))
        kinds = tuple((5, round(5 * share)) for share in recall)
        found = sum(one for _, one in kinds)
        scores.append(
            ClipScore(
                digest=clip_name(number),
                episode=number % episodes,
                error=float(f"{error:.5e}"),
                strongest=float(f"{0.02 * hard[number]:.5e}"),
                copy_last=float(f"{0.03 * hard[number]:.5e}"),
                random=float(f"{error * control:.5e}"),
                true=5 * len(recall),
                found=found,
                generated=found + 1,
                kinds=kinds,
            )
        )
    weights = {"dynamics": hashlib.sha256(f"{seed} {factor} {recall} {control}".encode()).hexdigest()}
    given: dict[str, Any] = {
        "name": f"seed {seed}",
        "source": f"run {seed}",
        "settings": SETTINGS,
        "weights": weights,
        "trained": {"seed": seed, "profile": "smoke", "commit": None},
        "kinds": tuple({**KIND, "width_px": 4 * (number + 1)} for number in range(len(recall))),
        "strongest_baseline": "last frame",
    }
    return Scorecard(clips=tuple(scores), **{**given, **fields})
