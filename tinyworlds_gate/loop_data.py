"""Before training: the frames file is there and whole; the embedded game is generated on first use."""

from __future__ import annotations

import time

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.reference.data.clips import clip_starts, copy_last_mse_by_step
from tinyworlds_gate.reference.data.datasets import dataset_notes, dataset_path, dataset_stride, ensure_dataset
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.split import split_episodes
from tinyworlds_gate.stages.context import RunContext


def prepare_data(context: RunContext) -> None:
    """Ensure the dataset, check that both sides of the split have clips, and journal what it is.

    Raises:
        DataError: the file is missing and cannot be generated, or is damaged.
    """
    began = time.monotonic()
    settings, root = context.settings, context.layout.project_root
    training, plan = settings.training, settings.profile.data
    if training.data_path is not None:
        path, generated = root / training.data_path, False
    else:
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
    data = load_frames(
        path, frame_size=training.frame_size, stride=dataset_stride(path, training.dataset, training.fps)
    )
    split = split_episodes(data.episode, training.held_out_fraction, training.split_seed)
    inference = settings.inference
    window = inference.context_window or training.context_length - inference.prediction_horizon
    steps = inference.generation_steps * inference.prediction_horizon
    starts = clip_starts(data, window + steps, split.held_out)
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
        generated=generated,
        seconds=time.monotonic() - began,
        copy_last_mse=copy_last_mse_by_step(data, starts, window, steps) if len(starts) else [],
    )
    context.say(
        f"data: {len(data.frames)} frames in {len(split.train)} training and {len(split.held_out)} held-out episodes "
        f"({context.layout.relative(path)})"
    )
