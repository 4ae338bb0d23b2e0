"""The frames of a run on a checkout: those that its stages train on, and held-out clips that none of them has seen.

A checkout trains on its whole frames file, so clips of that file are no evidence. The held-out frames lie in a file of
their own; that no drawn clip stands in the training file is not believed but looked up.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.context import CheckoutRun, RunContext
from tinyworlds_gate.errors import ConfigError, DataError
from tinyworlds_gate.loop.data import clips_of_draw, may_retry, require_own_draws, rollout_span
from tinyworlds_gate.names import ATTEMPTS, FINAL
from tinyworlds_gate.reference.data.clip_reading import read_episodes
from tinyworlds_gate.reference.data.clips import copy_last_mse_by_step
from tinyworlds_gate.reference.data.cut_held_out import seen_clips
from tinyworlds_gate.reference.data.datasets import dataset_stride
from tinyworlds_gate.reference.data.frames_file import check_frames_file, load_frames


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
    """Refuse a fixed evaluation set, which says nothing of what a checkout trains on.

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


def prepare_checkout_data(context: RunContext, checkout: CheckoutRun) -> None:
    """Check both files, draw the clips, and journal what they are (``dataset_ready``).

    Raises:
        ConfigError: the rollout does not fit the clips that the models are trained on.
        DataError: a file is missing or damaged, or a drawn clip stands in the training file.
        TooFewClipsError: there are too few held-out clips for a verdict that this run may need.
    """
    began = time.monotonic()
    settings, target = context.settings, context.target
    require_own_draws(settings)
    refuse_evaluation_set(settings)
    dataset = settings.training.dataset
    training = target.frames_file(dataset)
    info = check_frames_file(
        training, f"put the frames of {dataset} there (`dataset: {dataset}` in {target.training_config} names them)"
    )
    checkout.frames = training
    window, steps = rollout_span(settings)
    held_out = held_out_file(checkout.held_out_option, training)
    train_episodes = len(np.unique(read_episodes(training)))
    common: dict[str, Any] = {
        "name": dataset,
        "training_path": training,
        "training_sha256": sha256_of(training),
        "training_frames": info.num_frames,
        "train_episodes": train_episodes,
        "generated": False,
    }
    if held_out is None:
        checkout.no_trusted_gate = (
            f"no held-out frames: the stages train on all of {training.name}. Give frames that they never see with "
            "--held-out-data (`tinyworlds-gate data hold-out` cuts them off)"
        )
        context.data_path = training
        context.journal.append(
            "dataset_ready",
            **common,
            path=training,
            sha256=common["training_sha256"],
            frames=info.num_frames,
            frame_size=[info.height, info.width],
            episodes=train_episodes,
            held_out_episodes=0,
            held_out_clips=0,
            draws=[],
            seconds=time.monotonic() - began,
            copy_last_mse=None,
        )
        context.say(f"the trusted gate will be NOT-RUN, so this run cannot pass: {checkout.no_trusted_gate}")
        return
    stride = dataset_stride(held_out, dataset, settings.training.fps)
    data = load_frames(held_out, frame_size=settings.training.frame_size, stride=stride)
    draws = (ATTEMPTS, FINAL) if may_retry(settings) else (ATTEMPTS,)
    context.clip_draws = {draw: clips_of_draw(settings, held_out, data.episode, draw) for draw in draws}
    drawn = sorted({start for starts in context.clip_draws.values() for start in starts})
    _require_unseen(training, held_out, drawn, window + steps, dataset_stride(training, dataset, settings.training.fps))
    context.data_path = held_out
    episodes = len(np.unique(data.episode))
    context.journal.append(
        "dataset_ready",
        **common,
        path=held_out,
        sha256=sha256_of(held_out),
        frames=len(data.frames),
        frame_size=list(data.frames.shape[1:3]),
        episodes=train_episodes + episodes,
        held_out_episodes=episodes,
        held_out_clips=len(drawn),
        draws=[
            {"draw": draw, "clips": len(clips), "episodes": len(set(data.episode[list(clips)].tolist()))}
            for draw, clips in context.clip_draws.items()
        ],
        seconds=time.monotonic() - began,
        copy_last_mse=copy_last_mse_by_step(data, np.array(drawn), window, steps),
    )
    context.say(
        f"data: the stages train on {info.num_frames} frames of {training.name}; held out are {len(data.frames)} "
        f"frames in {episodes} episodes of {held_out.name}, none of the {len(drawn)} drawn clips stands in the "
        "training file"
    )


def _require_unseen(training: Path, held_out: Path, drawn: list[int], length: int, stride: int) -> None:
    seen = seen_clips(training, held_out, drawn, length, stride=stride)
    if seen:
        raise DataError(
            f"{len(seen)} of {len(drawn)} clips drawn from {held_out} stand in {training}, frame by frame (the first "
            f"begins at frame {seen[0]}): the checkout trains on them, so an error on them proves nothing. Cut the "
            "two files apart with `tinyworlds-gate data hold-out`"
        )
