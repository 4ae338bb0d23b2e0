"""Before training: the frames file is there and whole; the embedded game is generated on first use."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import CheckpointError, ConfigError
from tinyworlds_gate.names import ATTEMPTS, EVALUATION, FINAL
from tinyworlds_gate.reference.data.clips import clip_starts, copy_last_mse_by_step
from tinyworlds_gate.reference.data.datasets import dataset_notes, dataset_path, dataset_stride, ensure_dataset
from tinyworlds_gate.reference.data.evaluation_set import open_evaluation_set, require_unseen
from tinyworlds_gate.reference.data.frames_file import FramesData, load_frames
from tinyworlds_gate.reference.data.split import held_out_clips, split_episodes
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.stages.controller import StageResult

TOLD_CLIPS = 2048
"""Of so many clips at most, spread over all, the error of copying is told beforehand; thousands more change nothing."""


def prepare_data(context: RunContext) -> None:
    """Ensure the dataset, check that both sides of the split have clips, and journal what it is.

    Raises:
        ConfigError: the rollout does not fit the clips that the models are trained on.
        DataError: the file is missing and cannot be generated, is damaged, or has too few clips on a side.
        TooFewClipsError: there are too few held-out clips for a verdict that this run may need.
    """
    began = time.monotonic()
    settings, training = context.settings, context.settings.training
    require_own_draws(settings)
    path, generated = _frames_file(context, began)
    data = load_frames(
        path, frame_size=training.frame_size, stride=dataset_stride(path, training.dataset, training.fps)
    )
    split = split_episodes(data.episode, training.held_out_fraction, training.split_seed)
    window, steps = rollout_span(settings)
    starts = clip_starts(data, window + steps, split.held_out)
    # All raise what would otherwise be told by the first stage, or by the inference run after hours of training.
    clip_starts(data, training.context_length, split.train)
    draws = (ATTEMPTS, FINAL) if may_retry(settings) and settings.inference.evaluation_file is None else (ATTEMPTS,)
    context.clip_draws = {draw: clips_of_draw(settings, path, data.episode, draw) for draw in draws}
    counted = [
        {"draw": draw, "clips": len(clips), "episodes": len(set(data.episode[list(clips)].tolist()))}
        for draw, clips in context.clip_draws.items()
    ]
    evaluation = prepare_evaluation(context, path, data, window + steps)
    if evaluation is not None:
        counted.append({"draw": EVALUATION, **{key: evaluation[key] for key in ("clips", "episodes")}})
    context.data_path = path
    context.journal.append(
        "dataset_ready",
        name=training.dataset,
        path=path,
        sha256=sha256_of(path),
        frames=len(data.frames),
        frame_size=list(data.frames.shape[1:3]),
        episodes=len(split.train) + len(split.held_out),
        train_episodes=len(split.train),
        held_out_episodes=len(split.held_out),
        held_out_clips=len(starts),
        draws=counted,
        evaluation=evaluation,
        generated=generated,
        seconds=time.monotonic() - began,
        copy_last_mse=copy_last_mse_by_step(data, starts[:: 1 + len(starts) // TOLD_CLIPS], window, steps),
    )
    context.say(
        f"data: {len(data.frames)} frames in {len(split.train)} training and {len(split.held_out)} held-out episodes "
        f"({context.layout.relative(path)})"
    )


def _frames_file(context: RunContext, began: float) -> tuple[Path, bool]:
    """The frames file that is trained on, and whether it was generated now."""
    settings, root = context.settings, context.layout.project_root
    training, plan = settings.training, settings.profile.data
    if training.data_path is not None:
        return root / training.data_path, False
    expected = dataset_path(root, training.dataset, training.frame_size)
    generated = not expected.exists()
    if generated:
        context.say(f"making the dataset {context.layout.relative(expected)} ({plan.num_frames} frames)")
    path = ensure_dataset(
        root,
        training.dataset,
        training.frame_size,
        num_frames=plan.num_frames,
        episode_length=plan.episode_length,
        seed=plan.seed,
        progress=lambda done, total: context.show_progress("dataset", 0, done, total, time.monotonic() - began),
    )
    for note in dataset_notes(path, num_frames=plan.num_frames, episode_length=plan.episode_length, seed=plan.seed):
        context.say(note)
    return path, generated


def require_own_draws(settings: Settings) -> None:
    """Refuse a draw that a settings file asks for: a run draws by itself.

    Raises:
        ConfigError: ``clip_draw`` is set.
    """
    if settings.inference.clip_draw:
        raise ConfigError(
            f"clip_draw={settings.inference.clip_draw} in {settings.provenance['inference.clip_draw']}: a run measures "
            "attempts on draw 1 and its final verdict on draw 2 or on the evaluation set by itself; remove the key (it "
            "is for run_inference.py alone)"
        )


def may_retry(settings: Settings) -> bool:
    """Whether a failed gate may be answered by retraining dynamics, so that a second draw of clips may be needed."""
    return settings.profile.retry.max > 0 and "dynamics" in settings.trained_stages


def clips_of_draw(settings: Settings, path: Path, episode: np.ndarray, draw: int) -> tuple[int, ...]:
    """The first frames of the clips that an inference run of this draw measures; ``episode`` is that of each frame.

    Raises:
        TooFewClipsError: the held-out episodes of this draw hold fewer clips.
    """
    training, inference = settings.training, settings.inference
    drawn = held_out_clips(
        path,
        episode,
        split_episodes(episode, training.held_out_fraction, training.split_seed).held_out,
        length=sum(rollout_span(settings)),
        count=inference.clips,
        seed=inference.clip_seed,
        draw=draw,
    )
    return tuple(drawn.tolist())


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
            f"{inference.step_told(inference.context_window)} do not fit into context_length={trained_on}, the frames "
            "that the models are trained on; lower one of them"
        )
    return window, inference.generation_steps * inference.prediction_horizon


# Before training, in a run that names a fixed evaluation set: it can be measured, and no training has seen it.


def prepare_evaluation(context: RunContext, path: Path, data: FramesData, length: int) -> dict[str, Any] | None:
    """Check the evaluation set against the training data, and note its clips for the final verdict.

    Args:
        context: the run; its ``evaluation_path`` and ``clip_draws`` are set.
        path: the frames file that is trained on, and ``data`` what it holds.
        data: as above.
        length: frames of a clip, context and generated ones.

    Returns:
        ``evaluation`` of the journal's ``dataset_ready``; None in a run without an evaluation set.

    Raises:
        ConfigError: it is the file that is trained on.
        DataError: it cannot be measured, or shares clips or worlds with the training data.
    """
    settings = context.settings
    named = settings.inference.evaluation_file
    if named is None:
        return None
    given = settings.project_root / named
    if given.exists() and given.samefile(path):
        raise ConfigError(
            f"evaluation_file={named} ({settings.provenance['inference.evaluation_file']}) is the file that the models "
            "are trained on; name frames that no training sees, or leave it out"
        )
    evaluation = open_evaluation_set(given, frame_size=settings.training.frame_size, length=length)
    shared = require_unseen(evaluation, data, length=length)
    clips, episodes = len(evaluation.starts), len(set(evaluation.episodes.tolist()))
    context.evaluation_path = given
    context.clip_draws[EVALUATION] = tuple(evaluation.starts.tolist())
    also = f"; {shared} of their frames occur in the training data too" if shared else ""
    context.say(
        f"the final verdict is taken on the evaluation set {context.layout.relative(given)}: {clips} clips of "
        f"{episodes} episodes{also}"
    )
    return {
        "path": given,
        "sha256": sha256_of(given),
        "clips": clips,
        "episodes": episodes,
        "shared_frames": shared,
    }


def require_untrained(given: Mapping[str, StageResult], ready: Event | None) -> None:
    """No checkpoint that a person named was trained on the evaluation set of ``dataset_ready``.

    Raises:
        CheckpointError: one records that it was.
    """
    evaluation = (ready or {}).get("evaluation")
    if evaluation is None:
        return
    for stage, result in given.items():
        reference = result.checkpoint
        if reference is not None and (reference.manifest or {}).get("data_sha256") == evaluation["sha256"]:
            raise CheckpointError(
                f"--{stage.split('_')[0]}-checkpoint {reference.path}: it was trained on the evaluation set "
                f"{evaluation['path']}; nothing that is measured there may have seen it. Give another checkpoint, or "
                "another evaluation_file"
            )
