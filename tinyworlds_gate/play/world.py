"""What play needs of checkpoints and a frames file: models, contexts to start from, meanings of the codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.errors import ConfigError, DataError
from tinyworlds_gate.play.meanings import MOTIONS, Meaning, meanings
from tinyworlds_gate.play.observed import observe
from tinyworlds_gate.play.session import PlaySession, choose_threads
from tinyworlds_gate.play.true_game import action_names
from tinyworlds_gate.reference.data.clips import clip_starts
from tinyworlds_gate.reference.data.frames_file import FramesData, load_frames, run_starts
from tinyworlds_gate.reference.data.split import draw_clips, split_episodes
from tinyworlds_gate.reference.rollout.clip_set import recorded_splits
from tinyworlds_gate.reference.rollout.measure import MeasureSettings
from tinyworlds_gate.reference.rollout.world_models import TrainedModels, load_trained
from tinyworlds_gate.reference.training.distributed import choose_device

MOST_CLIPS = 64
"""Contexts to choose from, spread over the episodes."""


@dataclass(frozen=True)
class Wanted:
    """What the command line or a run's journal says: checkpoints by stage, frames, and settings of the rollout."""

    title: str
    checkpoints: Mapping[str, Path]
    frames: Path
    frames_sha256: str | None = None
    """That of the run's frames file; another file is refused."""
    split: tuple[float, int] | None = None
    """Held-out share and split seed of the run; None: as the checkpoints recorded them."""
    stride: int = 1
    context: int | None = None
    """Default: one less than the models were trained on."""
    device: str = "auto"
    tf32: bool = False
    rollout: Mapping[str, Any] | None = None
    """Fields of `MeasureSettings`."""


@dataclass(frozen=True)
class PlayWorld:
    """Loaded models, with the clips of ``context`` frames that begin at ``starts`` [K]."""

    title: str
    trained: TrainedModels
    settings: MeasureSettings
    device: torch.device
    data: FramesData
    starts: np.ndarray
    context: int
    held_out: bool
    """Whether the clips are of held-out episodes of the training file, or else of a file that no stage trained on."""
    meanings: tuple[Meaning, ...]
    meanings_from: str
    train: tuple[int, ...] = ()
    """Episodes that the models were trained on; all of them where the split is not known."""
    held_out_episodes: tuple[int, ...] = ()
    """Episodes that the clips are from."""

    @property
    def frame_size(self) -> int:
        """Pixels along a side."""
        return self.data.frame_size[0]

    def context_frames(self, clip: int) -> np.ndarray:
        """Return the context of a clip, uint8 [context, H, W, 3]."""
        start = int(self.starts[clip])
        return self.data.frames[start : start + self.context]

    def past_actions(self, clip: int) -> np.ndarray:
        """Return the true actions from the start of the clip's episode to its last context frame."""
        start, firsts = int(self.starts[clip]), run_starts(self.data.episode)
        first = int(firsts[np.searchsorted(firsts, start, side="right") - 1])
        assert self.data.actions is not None
        return self.data.actions[first : start + self.context - 1]

    def clip_text(self, clip: int) -> str:
        """Return which clip it is, for the page."""
        start = int(self.starts[clip])
        kind = "held-out episode" if self.held_out else "episode"
        return f"clip {clip + 1} of {len(self.starts)}: {kind} {self.data.episode[start]}, from frame {start}"


def open_world(wanted: Wanted, *, learn_meanings: bool = True) -> PlayWorld:
    """Verify and load checkpoints and frames; learn what the codes mean.

    Raises:
        CheckpointError: a checkpoint is missing or damaged.
        DataError: the frames are missing, damaged or not those of the run, or have no clip of this length.
        ConfigError: the context does not fit the models.
    """
    trained = load_trained(wanted.checkpoints)
    device = choose_device(wanted.device, 0)
    torch.set_float32_matmul_precision("high" if wanted.tf32 else "highest")
    trained.models.to(device).eval()
    settings = MeasureSettings(generation_steps=1, **(wanted.rollout or {}))
    context = _context(wanted, trained, settings)
    sha256 = sha256_of(wanted.frames) if wanted.frames.is_file() else ""
    data = load_frames(wanted.frames, frame_size=trained.sizes["dynamics"].frame_size, stride=wanted.stride)
    if wanted.frames_sha256 is not None and sha256 != wanted.frames_sha256:
        raise DataError(
            f"{wanted.frames} is not the file that the run used (SHA-256 {sha256[:12]}… instead of "
            f"{wanted.frames_sha256[:12]}…), so its held-out clips are not known; put that file back, or name another "
            "with --frames"
        )
    everything = tuple(int(one) for one in np.unique(data.episode))
    train, held_out, split = everything, everything, False
    if (chosen_split := wanted.split or _recorded_split(trained, sha256)) is not None:
        found = split_episodes(data.episode, *chosen_split)
        train, held_out, split = found.train or everything, found.held_out, True
    starts = data.clip_starts if data.clip_starts is not None else clip_starts(data, context, held_out)
    chosen = draw_clips(starts, data.episode[starts], min(MOST_CLIPS, len(starts)), seed=0)
    choose_threads(PlaySession(trained.models, settings, device), data.frames[chosen[0] : chosen[0] + context])
    found_meanings: tuple[Meaning, ...] = ()
    if learn_meanings:
        model = trained.models.latent_actions
        names = MOTIONS if data.actions is None else action_names(data)
        codes, actions = observe(model, data, train, device)
        found_meanings = tuple(meanings(codes, actions, names, model.sizes.n_actions))
    source = "the motion of the picture" if data.actions is None else "the true actions"
    return PlayWorld(
        wanted.title, trained, settings, device, data, chosen, context, split, found_meanings, source, train, held_out
    )


def _recorded_split(trained: TrainedModels, sha256: str) -> tuple[float, int] | None:
    """Held-out share and split seed that a checkpoint recorded for this frames file; None: no one did."""
    for recorded in recorded_splits(trained, sha256).values():
        if "held_out_fraction" in recorded and "split_seed" in recorded:
            return float(recorded["held_out_fraction"]), int(recorded["split_seed"])
    return None


def _context(wanted: Wanted, trained: TrainedModels, settings: MeasureSettings) -> int:
    length, horizon = trained.sizes["dynamics"].context_length, settings.prediction_horizon
    context = wanted.context or length - horizon
    memory = settings.memory or context
    if not 1 <= context <= memory <= length - horizon:
        raise ConfigError(
            f"--context {context} and --memory-window {memory}: the models were trained on {length} frames, of which "
            f"a step generates {horizon}; 1 <= context <= memory window <= {length - horizon} is needed"
        )
    return context
