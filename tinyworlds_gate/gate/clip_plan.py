"""The clips that a run measures: the held-out episodes of its frames file, and the clips drawn from them (G5).

The plan is made once, before anything is trained. Every attempt measures draw 1. The final verdict of a run that
retrained dynamics measures draw 2, which lies in other episodes. Draw 3 is the fixed evaluation set of a run with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.gate.measures.baselines import TrainingFrames
from tinyworlds_gate.names import ATTEMPTS, FINAL
from tinyworlds_gate.reference.data.clip_reader import read_episodes
from tinyworlds_gate.reference.data.datasets import dataset_stride
from tinyworlds_gate.reference.data.frames_file import FramesData
from tinyworlds_gate.reference.data.split import EpisodeSplit, held_out_clips, split_episodes

NO_EPISODES = EpisodeSplit(train=(), held_out=())


@dataclass(frozen=True)
class DrawnClips:
    """The clips of one draw."""

    path: Path
    """The frames file that they lie in."""
    starts: tuple[int, ...]
    """The first frame of each clip, ascending."""
    episodes: int
    """How many episodes they lie in."""


@dataclass(frozen=True)
class ClipPlan:
    """The frames file of a run, its split, and the clips of every verdict; empty before the preparation."""

    path: Path | None = None
    """The frames file that held-out clips are drawn from; the embedded reference trains on its other episodes."""
    sha256: str | None = None
    split: EpisodeSplit = NO_EPISODES
    draws: Mapping[int, DrawnClips] = field(default_factory=dict)
    left_out: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """Draw → the first frames of its clips that are not measured, because models were trained on them."""

    def frames_of(self, draw: int) -> Path | None:
        """The frames file that the clips of a draw lie in; None before the preparation."""
        return self.draws[draw].path if draw in self.draws else self.path

    def starts_of(self, draw: int) -> tuple[int, ...] | None:
        """The first frames of a draw's clips; None for a draw that was not made."""
        return self.draws[draw].starts if draw in self.draws else None

    def as_event(self) -> list[dict[str, Any]]:
        """The journal's ``draws`` of ``dataset_ready``."""
        return [
            {"draw": draw, "clips": len(drawn.starts), "episodes": drawn.episodes} for draw, drawn in self.draws.items()
        ]


def plan_clips(settings: Settings, data: FramesData, split: EpisodeSplit) -> ClipPlan:
    """Draw the held-out clips of every verdict that the run may need.

    Raises:
        TooFewClipsError: the held-out episodes of a draw hold too few clips.
    """
    second_draw = may_retry(settings) and settings.inference.evaluation_file is None
    draws = (ATTEMPTS, FINAL) if second_draw else (ATTEMPTS,)
    drawn = {draw: clips_of_draw(settings, data.path, data.episode, split.held_out, draw) for draw in draws}
    return ClipPlan(data.path, sha256_of(data.path), split, drawn)


def too_few_episodes(settings: Settings, data: FramesData, plan: ClipPlan) -> str | None:
    """Why no model could pass on these clips: they lie in fewer episodes than the gate requires; None if they do not.

    A run that trains nothing is not doomed to train in vain, and gets its verdict.
    """
    least, found = settings.profile.thresholds.min_episodes, min(drawn.episodes for drawn in plan.draws.values())
    if not settings.trained_stages or least is None or found >= least:
        return None
    fix = "Hold out more episodes (held_out_fraction in profile.yaml), measure more clips (clips in inference.yaml), "
    which = "episodes"
    if not data.has_true_episodes:
        which = "pseudo-episodes (blocks of frames, because the file has no `episode`)"
        fix += (
            f"add a dataset `episode` that numbers shorter blocks of at least {sum(rollout_span(settings))} frames as "
            "pseudo-episodes, "
        )
    return (
        f"{data.path}: the clips of a verdict lie in {found} {which}, but the gate requires at least {least} "
        f"(min_episodes), so that no model could pass. {fix}or lower min_episodes in profile.yaml"
    )


def training_frames(settings: Settings, path: Path | None, *, trained: bool) -> TrainingFrames | None:
    """The frames that baselines learn from; None before the preparation.

    Args:
        path: the frames file that held-out clips are drawn from.
        trained: whether the stages train on its other episodes; False for a checkout.

    Raises:
        DataError: the file is missing or damaged.
    """
    if path is None:
        return None
    stride = dataset_stride(path, settings.training.dataset, settings.training.fps)
    split = split_frames(settings, read_episodes(path, stride=stride))
    return TrainingFrames(path, split.train or split.held_out, stride, trained and bool(split.train))


def split_frames(settings: Settings, episode: np.ndarray) -> EpisodeSplit:
    """The training and the held-out episodes of a frames file; ``episode`` [N] is that of each frame.

    Raises:
        DataError: there is only one episode.
    """
    return split_episodes(episode, settings.training.held_out_fraction, settings.training.split_seed)


def clips_of_draw(
    settings: Settings, path: Path, episode: np.ndarray, held_out: Iterable[int], draw: int
) -> DrawnClips:
    """The clips that an inference run of this draw measures.

    Args:
        settings: of the run.
        path: the frames file.
        episode: ``[N]``, the episode of each frame.
        held_out: the held-out episodes.
        draw: ``ATTEMPTS`` or ``FINAL``.

    Raises:
        TooFewClipsError: the held-out episodes of this draw hold fewer clips.
    """
    inference = settings.inference
    starts = held_out_clips(
        path,
        episode,
        held_out,
        length=sum(rollout_span(settings)),
        count=inference.clips,
        seed=inference.clip_seed,
        draw=draw,
    )
    return DrawnClips(path, tuple(starts.tolist()), len(np.unique(episode[starts])))


def rollout_span(settings: Settings) -> tuple[int, int]:
    """Context frames and generated frames of the inference run.

    Raises:
        ConfigError: a step of the rollout is longer than the clips that the models are trained on.
    """
    inference, trained_on = settings.inference, settings.training.context_length
    window = inference.context_window or trained_on - inference.prediction_horizon
    seen = max(window, inference.memory_window or window)
    if window < 1 or seen + inference.prediction_horizon > trained_on:
        raise ConfigError(
            f"{inference.step_text(inference.context_window)} do not fit into context_length={trained_on}, the frames "
            "that the models are trained on; lower one of them"
        )
    return window, inference.generation_steps * inference.prediction_horizon


def may_retry(settings: Settings) -> bool:
    """Whether a failed gate may lead to retraining dynamics, so that a second draw of clips may be needed."""
    return settings.profile.retry.max > 0 and "dynamics" in settings.trained_stages
