"""Before training: find or generate the frames file, split it, and draw the clips that the run measures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import CheckpointError, ConfigError, DataError, TooFewClipsError
from tinyworlds_gate.gate.clip_plan import (
    ClipPlan,
    DrawnClips,
    plan_clips,
    rollout_span,
    split_frames,
    too_few_episodes,
)
from tinyworlds_gate.loop.provenance import FramesAtHand, Split, frames_of_data, part_of, trained_on
from tinyworlds_gate.loop.screened_clips import draw_of_evaluation, draws_of_file, record_training, screen_draws
from tinyworlds_gate.loop.stage_controller import StageResult
from tinyworlds_gate.names import EVALUATION
from tinyworlds_gate.reference.data.clips import clip_starts, copy_last_mse_by_step
from tinyworlds_gate.reference.data.datasets import (
    dataset_notes,
    dataset_path,
    dataset_stride,
    ensure_dataset,
    made_by_runs,
)
from tinyworlds_gate.reference.data.evaluation_set import open_evaluation_set, unseen_part
from tinyworlds_gate.reference.data.frames_file import FramesData, load_frames
from tinyworlds_gate.run.journal import Event

MEASURED_CLIPS = 2048
"""The copy-last error in ``dataset_ready`` is a mean over at most so many clips, spread over all."""


def prepare_data(context: RunContext, supplied: Mapping[str, CheckpointRef] | None = None) -> None:
    """Ensure the dataset, check that both sides of the split have clips, and journal what it is (``dataset_ready``).

    ``supplied``: stage → the checkpoint that a person named; the clips must not be in its training frames either.

    Raises:
        CheckpointError: a supplied checkpoint was trained on other episodes of this file.
        ConfigError: the rollout does not fit the clips that the models are trained on.
        DataError: the file is missing and cannot be generated, is damaged, or has too few clips on a side.
        TooFewClipsError: there are too few held-out clips for a verdict that this run may need.
    """
    began = time.monotonic()
    settings, training = context.settings, context.settings.training
    require_own_draws(settings)
    path, generated = _frames_file(context, began)
    stride = dataset_stride(path, training.dataset, training.fps)
    data = load_frames(path, frame_size=training.frame_size, stride=stride)
    split = split_frames(settings, data.episode)
    window, steps = rollout_span(settings)
    starts = clip_starts(data, window + steps, split.held_out)
    clip_starts(data, training.context_length, split.train)  # raises now what the first stage would raise
    plan = plan_clips(settings, data, split)
    evaluation = None
    if settings.inference.evaluation_file is not None:
        drawn, evaluation = read_evaluation(settings, data, window + steps)
        plan = replace(plan, draws={**plan.draws, EVALUATION: drawn})
        shared = evaluation["shared_frames"]
        also = f"; {shared} of their frames occur in the training data too" if shared else ""
        out = len(evaluation.get("left_out", ()))
        if out:
            also += f"; {out} more {'clip is' if out == 1 else 'clips are'} in the training data and left out"
        context.say(
            f"the final verdict is taken on the evaluation set {context.layout.relative(drawn.path)}: "
            f"{len(drawn.starts)} clips of {drawn.episodes} episodes{also}"
        )
    plan, provenance = _unseen_clips(context, data, plan, window + steps, supplied or {})
    require_enough_episodes(context, data, plan)
    context.clips = plan
    fields = dataset_fields(
        training.dataset,
        plan,
        frames=len(data.frames),
        frame_size=data.frame_size,
        train_episodes=len(split.train),
        held_out_clips=len(starts),
        copy_last_mse=copy_last_mse_by_step(data, starts[:: 1 + len(starts) // MEASURED_CLIPS], window, steps),
        generated=generated,
    )
    seconds = time.monotonic() - began
    context.journal.append("dataset_ready", **fields, evaluation=evaluation, provenance=provenance, seconds=seconds)
    context.say(
        f"data: {len(data.frames)} frames in {len(split.train)} training and {len(split.held_out)} held-out episodes "
        f"({context.layout.relative(path)})"
    )


def _unseen_clips(
    context: RunContext, data: FramesData, plan: ClipPlan, length: int, supplied: Mapping[str, CheckpointRef]
) -> tuple[ClipPlan, dict[str, Any]]:
    """The plan without clips that the models were trained on, and the journal's ``provenance``."""
    settings, training = context.settings, context.settings.training
    known = frames_of_data(data)
    split = Split(training.held_out_fraction, training.split_seed)
    at_hand = FramesAtHand(data, str(plan.sha256), known, split)
    own = [part_of(known, data, plan.split.train)] if settings.trained_stages else []
    trained = trained_on(context.layout.project_root, at_hand, supplied, own)
    held_out = [draw for draw in plan.draws if draw != EVALUATION]
    drawn, sources = draws_of_file(plan, data, known, held_out, length), dict.fromkeys(held_out, trained.sources)
    if EVALUATION in plan.draws:
        drawn[EVALUATION] = draw_of_evaluation(plan.draws[EVALUATION], length, training.frame_size)
        sources[EVALUATION] = [*trained.sources, known]
    draws, left_out, unchecked = screen_draws(drawn, sources, known)
    provenance = record_training(context, trained, left_out, unchecked)
    return replace(plan, draws=draws, left_out=left_out), provenance


def require_enough_episodes(context: RunContext, data: FramesData, plan: ClipPlan) -> None:
    """Refuse a long run, and a file without episodes, whose clips lie in fewer episodes than the gate requires.

    A short run on a file with episodes gets a warning and its verdict.

    Raises:
        TooFewClipsError: they do.
    """
    problem = too_few_episodes(context.settings, data, plan)
    if problem is None:
        return
    if context.settings.profile.kind == "longrun" or not data.has_true_episodes:
        raise TooFewClipsError(problem)
    context.say(f"warning: {problem}")


def dataset_fields(
    name: str,
    plan: ClipPlan,
    *,
    frames: int,
    frame_size: tuple[int, int],
    train_episodes: int,
    held_out_clips: int,
    copy_last_mse: list[float] | None,
    generated: bool = False,
) -> dict[str, Any]:
    """The fields of the journal's ``dataset_ready`` that every run has.

    Args:
        plan: the frames file that is measured, its held-out episodes and its draws.
        held_out_clips: held-out clips of a rollout's length.
        copy_last_mse: the error of repeating the last context frame, for each generated frame.
    """
    held_out_episodes = len(plan.split.held_out)
    return {
        "name": name,
        "path": plan.path,
        "sha256": plan.sha256,
        "frames": frames,
        "frame_size": list(frame_size),
        "episodes": train_episodes + held_out_episodes,
        "train_episodes": train_episodes,
        "held_out_episodes": held_out_episodes,
        "held_out_clips": held_out_clips,
        "draws": plan.as_event(),
        "generated": generated,
        "copy_last_mse": copy_last_mse,
    }


def _frames_file(context: RunContext, began: float) -> tuple[Path, bool]:
    """The frames file that is trained on, and whether it was generated now."""
    settings, root = context.settings, context.layout.project_root
    training, plan = settings.training, settings.profile.data
    if training.data_path is not None:
        return root / training.data_path, False
    expected = dataset_path(root, training.dataset, training.frame_size)
    generated = made_by_runs(training.dataset) and not expected.exists()
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
    """Refuse ``clip_draw`` in a settings file: a run chooses its draws itself.

    Raises:
        ConfigError: ``clip_draw`` is set.
    """
    if settings.inference.clip_draw:
        raise ConfigError(
            f"clip_draw={settings.inference.clip_draw} in {settings.provenance['inference.clip_draw']}: a run measures "
            "attempts on draw 1 and its final verdict on draw 2 or on the evaluation set by itself; remove the key (it "
            "is for run_inference.py alone)"
        )


# In a run that names a fixed evaluation set: it can be measured, and no training has seen it.


def read_evaluation(settings: Settings, data: FramesData, length: int) -> tuple[DrawnClips, dict[str, Any]]:
    """The clips of the evaluation set, and the journal's ``evaluation`` of ``dataset_ready``.

    ``length``: the frames of a clip, context and generated ones.

    Raises:
        ConfigError: it is the file that is trained on.
        DataError: it cannot be measured, or shares clips or worlds with the training data.
    """
    path = settings.project_root / str(settings.inference.evaluation_file)
    if path.exists() and path.samefile(data.path):
        raise ConfigError(
            f"evaluation_file={settings.inference.evaluation_file} "
            f"({settings.provenance['inference.evaluation_file']}) is the file that the models are trained on; name "
            "frames that no training sees, or leave it out"
        )
    evaluation = open_evaluation_set(path, frame_size=settings.training.frame_size, length=length)
    unseen = unseen_part(evaluation, data, length=length)
    measured = unseen.evaluation
    drawn = DrawnClips(path, tuple(measured.starts.tolist()), len(set(measured.episodes.tolist())))
    least = settings.profile.thresholds.min_episodes
    doomed = settings.trained_stages and (unseen.left_out or settings.profile.kind == "longrun")
    if doomed and least is not None and drawn.episodes < least:
        out = f" after {len(unseen.left_out)} that occur in the training data were left out" if unseen.left_out else ""
        raise DataError(
            f"evaluation_file={settings.inference.evaluation_file}: its {len(drawn.starts)} clips lie in "
            f"{drawn.episodes} episodes{out}, but the gate requires at least {least} (min_episodes), so that no model "
            "could pass. Name a set with clips of more episodes, or lower min_episodes in profile.yaml"
        )
    return drawn, {
        "path": path,
        "sha256": sha256_of(path),
        "clips": len(drawn.starts),
        "episodes": drawn.episodes,
        "shared_frames": unseen.shared_frames,
        **({"left_out": list(unseen.left_out)} if unseen.left_out else {}),
    }


def require_untrained(given: Mapping[str, StageResult], ready: Event | None) -> None:
    """Check that no supplied checkpoint was trained on the evaluation set of ``dataset_ready``.

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
