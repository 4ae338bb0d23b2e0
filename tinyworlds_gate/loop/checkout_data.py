"""The frames of a run on a checkout: the file that its stages train on, and held-out clips that no stage has seen.

A checkout trains on its whole frames file, so the held-out frames lie in a file of their own. Every drawn clip is
searched for in the training file, frame by frame.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.context import CheckoutRun, RunContext
from tinyworlds_gate.errors import ConfigError, DataError
from tinyworlds_gate.gate.clip_plan import ClipPlan, plan_clips, rollout_span, split_frames
from tinyworlds_gate.loop.data import dataset_fields, require_enough_episodes, require_own_draws
from tinyworlds_gate.loop.provenance import FramesAtHand, frames_of_data, frames_of_file, trained_on
from tinyworlds_gate.loop.screened_clips import draws_of_file, record_training, screen_draws
from tinyworlds_gate.reference.data.clip_reader import read_episodes
from tinyworlds_gate.reference.data.clips import copy_last_mse_by_step
from tinyworlds_gate.reference.data.cut_held_out import seen_clips
from tinyworlds_gate.reference.data.datasets import dataset_stride, missing_dataset
from tinyworlds_gate.reference.data.frames_file import FramesFileInfo, check_frames_file, load_frames
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.clip_loader import rate_warnings, require_clips, require_frame_size


def held_out_file(given: Path | None, training: Path) -> Path | None:
    """``--held-out-data``, else ``<dataset>_held_out_frames.h5`` beside the training file where it exists.

    Raises:
        DataError: the given file does not exist, or is the training file itself.
    """
    if given is not None and not given.is_file():
        raise DataError(
            f"--held-out-data {given}: there is no such file; make one with `tinyworlds-gate data hold-out`"
        )
    beside = training.with_name(training.name.removesuffix("_frames.h5") + "_held_out_frames.h5")
    found = given if given is not None else beside if beside.is_file() else None
    if found is not None and found.resolve() == training.resolve():
        raise DataError(
            f"--held-out-data {found} is the file that the checkout trains on; give frames that it never sees"
        )
    return found


def refuse_evaluation_set(settings: Settings) -> None:
    """Refuse a fixed evaluation set: it cannot be compared with the data that a checkout trains on.

    Raises:
        ConfigError: one is named.
    """
    named = settings.inference.evaluation_file
    if named is not None:
        raise ConfigError(
            f"evaluation_file={named} ({settings.provenance['inference.evaluation_file']}): a fixed evaluation set "
            "serves runs of the embedded reference only; on a checkout give the frames that it never sees with "
            "--held-out-data, and leave evaluation_file out"
        )


def check_training_frames(settings: Settings, target: Target) -> FramesFileInfo:
    """Return the shape of the frames file that the stages train on, before anything starts.

    Raises:
        ConfigError: the rollout's settings do not fit a checkout, or its loader would find no batch of clips.
        DataError: the file is missing or damaged.
    """
    require_own_draws(settings)
    refuse_evaluation_set(settings)
    dataset = settings.training.dataset
    source = settings.provenance["training.dataset"]
    if settings.chosen_dataset and (problem := missing_dataset(target.frames_file(dataset), dataset)):
        raise DataError(problem)
    fix = f"put the frames of {dataset} there (`dataset: {dataset}` in {source} names them)"
    info = check_frames_file(target.frames_file(dataset), fix)
    require_frame_size(settings, target, (info.height, info.width), target.frames_file(dataset).name)
    require_clips(settings, target, info.num_frames)
    return info


def prepare_checkout_data(
    context: RunContext, checkout: CheckoutRun, supplied: Mapping[str, CheckpointRef] | None = None
) -> None:
    """Check both files, draw the clips, and journal what they are (``dataset_ready``).

    ``supplied``: stage → the checkpoint that a person named.

    Raises:
        ConfigError: the rollout does not fit the clips that the models are trained on.
        DataError: a file is missing or damaged, or most of the drawn clips are in the training file.
        TooFewClipsError: there are too few held-out clips for a verdict that this run may need.
    """
    began = time.monotonic()
    settings, target = context.settings, context.target
    info = check_training_frames(settings, target)
    for warning in rate_warnings(settings):
        context.say(f"warning: {warning}")
    dataset = settings.training.dataset
    training = target.frames_file(dataset)
    window, steps = rollout_span(settings)
    held_out = held_out_file(checkout.held_out_option, training)
    train_episodes = len(np.unique(read_episodes(training)))
    sha256 = sha256_of(training)

    def journal(
        frames: int, frame_size: tuple[int, int], clips: int, copy_last_mse: list[float] | None, **more: Any
    ) -> None:
        fields = dataset_fields(
            dataset,
            context.clips,
            frames=frames,
            frame_size=frame_size,
            train_episodes=train_episodes,
            held_out_clips=clips,
            copy_last_mse=copy_last_mse,
        )
        of_training = {"training_path": training, "training_sha256": sha256, "training_frames": info.num_frames}
        context.journal.append("dataset_ready", **fields, **of_training, **more, seconds=time.monotonic() - began)

    if held_out is None:
        checkout.no_trusted_gate = (
            f"no held-out frames: the stages train on all of {training.name}. Give frames that they never see with "
            "--held-out-data (`tinyworlds-gate data hold-out` cuts them off)"
        )
        context.clips = ClipPlan(training, sha256)
        journal(info.num_frames, (info.height, info.width), 0, None)
        context.say(f"the trusted gate will be NOT-RUN, so this run cannot pass: {checkout.no_trusted_gate}")
        return
    stride = dataset_stride(held_out, dataset, settings.training.fps)
    data = load_frames(held_out, frame_size=settings.training.frame_size, stride=stride)
    plan = plan_clips(settings, data, split_frames(settings, data.episode))
    drawn = sorted({start for clips in plan.draws.values() for start in clips.starts})
    trained_stride = dataset_stride(training, dataset, settings.training.fps)
    _require_other_frames(training, held_out, drawn, window + steps, trained_stride)
    known = frames_of_data(data)
    own = [frames_of_file(training, read_episodes(training, stride=trained_stride), trained_stride)]
    at_hand = FramesAtHand(data, str(plan.sha256), known)
    trained = trained_on(context.layout.project_root, at_hand, supplied or {}, own if settings.trained_stages else [])
    of_file = draws_of_file(plan, data, known, list(plan.draws), window + steps)
    sources = trained.sources if settings.trained_stages else [*own, *trained.sources]
    draws, left_out, unchecked = screen_draws(of_file, dict.fromkeys(plan.draws, sources), known)
    context.clips = plan = replace(plan, draws=draws, left_out=left_out)
    require_enough_episodes(context, data, plan)
    copied = copy_last_mse_by_step(data, np.array(drawn), window, steps)
    provenance = record_training(context, trained, left_out, unchecked)
    journal(len(data.frames), data.frame_size, len(drawn), copied, provenance=provenance)
    context.say(
        f"data: the stages train on {info.num_frames} frames of {training.name}; held out are {len(data.frames)} "
        f"frames in {len(plan.split.held_out)} episodes of {held_out.name}; drawn clips that the training file shows "
        f"too: {sum(map(len, left_out.values()))}, left out"
    )


def _require_other_frames(training: Path, held_out: Path, drawn: list[int], length: int, stride: int) -> None:
    """Refuse held-out frames of which most are the training frames; fewer clips are left out as near copies."""
    seen = seen_clips(training, held_out, drawn, length, stride=stride)
    if len(seen) > len(drawn) / 2:
        raise DataError(
            f"{len(seen)} of {len(drawn)} clips drawn from {held_out} stand in {training}, frame by frame (the first "
            f"begins at frame {seen[0]}): the checkout trains on them, so an error on them proves nothing. Cut the "
            "two files apart with `tinyworlds-gate data hold-out`"
        )
