"""Predictors that somebody could write without a model, and what G8 says of each.

`python -m tests.helpers.no_model_predictors FILE.h5 …` prints a table. A file has `context` and `true`, as for
`tinyworlds-gate score --frames`, or `frames` and `episode`: then clips of 3 + 4 frames are drawn from its held-out
episodes as smoke draws them, and blends are fitted on the others.

Axes: B clips, P context frames, S generated frames, H height, W width, C colours.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np

from tinyworlds_gate.gate.measures.baselines import Baselines, TrainingFrames, baselines
from tinyworlds_gate.gate.measures.intervals import ratio_interval
from tinyworlds_gate.gate.measures.simple_predictions import planes, predictions
from tinyworlds_gate.reference.data.clip_reader import read_clips, read_episodes
from tinyworlds_gate.reference.data.split import held_out_clips, split_episodes

CONTEXT, STEPS = 3, 4
Predicted = dict[str, np.ndarray]


def predictors(context_BPHWC: np.ndarray, steps: int, mean_HWC: np.ndarray) -> Predicted:
    """Return frames ``[B, S, H, W, C]`` in [0, 255] by name; ``mean_HWC`` is any average picture."""
    context = context_BPHWC.astype(np.float32)
    last, before, mean = context[:, -1:], context[:, -2:-1], context.mean(axis=1, keepdims=True)
    median, spread = np.median(context, axis=1, keepdims=True), np.ptp(context, axis=1, keepdims=True)
    after = np.arange(1, steps + 1, dtype=np.float32)[None, :, None, None, None]
    found = [predictions(one, mean_HWC, steps) for one in context_BPHWC]
    moved, faded = (_frames([getattr(one, name) for one in found]) for name in ("translated_SCHW", "faded_SCHW"))
    blurred = _frames([_blurred(one)[None] for one in planes(context_BPHWC[:, -1])])
    still = {
        "last frame": last,
        "context mean": mean,
        "average picture": np.broadcast_to(mean_HWC, last.shape),
        "0.5 last + 0.5 context mean": (last + mean) / 2,
        "0.3 context mean + 0.7 average": 0.3 * mean + 0.7 * mean_HWC,
        "median of the context": median,
        "0.7 median + 0.3 average": 0.7 * median + 0.3 * mean_HWC,
        "darkest of the context": context.min(axis=1, keepdims=True),
        "last + 0.15 of the last change": last + 0.15 * (last - before),
        "average where the context changes": np.where(spread > 0, (mean + mean_HWC) / 2, last),
        "context mean where it varies much": last + (mean - last) * np.clip(spread / 200, 0, 1),
        "blurred last frame": blurred,
        "last, blurred and average": 0.4 * last + 0.35 * blurred + 0.25 * mean_HWC,
    }
    moving = {
        "linear extrapolation": last + after * (last - before),
        "damped extrapolation": last + (1 - 0.5**after) * (last - before),
        "last, fading to the average": 0.85**after * last + (1 - 0.85**after) * mean_HWC,
        "context mean, fading to the average": 0.9**after * mean + (1 - 0.9**after) * mean_HWC,
        "translated copy": moved,
        "translated copy, fading to the average": 0.9**after * moved + (1 - 0.9**after) * mean_HWC,
        "brightness trend": faded,
        "context again and again": context[:, np.arange(steps) % context.shape[1]],
    }
    return {name: np.broadcast_to(one, moved.shape) for name, one in still.items()} | moving


def skill(predicted_BSHWC: np.ndarray, true_BSHWC: np.ndarray, episode_B: np.ndarray, found: Baselines) -> list[float]:
    """Return G8's skill of frames that are rounded to bytes, and its 95 % interval."""
    shown = np.rint(predicted_BSHWC.clip(0, 255)).astype(np.float32)
    errors = np.square((shown - true_BSHWC) / 255).mean(axis=(1, 2, 3, 4), dtype=np.float64)
    strongest = found.mse_BS[found.strongest].mean(axis=1)
    low, high = ratio_interval(errors, strongest, episode_B)
    return [1 - errors.sum() / strongest.sum(), 1 - high, 1 - low]


def _frames(planes_of_clips: list[np.ndarray]) -> np.ndarray:
    return np.stack(planes_of_clips).transpose(0, 1, 3, 4, 2) * 255


def _blurred(frame_CHW: np.ndarray) -> np.ndarray:
    """Return the mean of the five by five pixels around each."""
    height, width = frame_CHW.shape[1:]
    wide = np.pad(frame_CHW, ((0, 0), (2, 2), (2, 2)), mode="edge")
    return sum((wide[:, y : y + height, x : x + width] for y in range(5) for x in range(5)), 0 * frame_CHW) / 25


def _table(path: Path) -> None:
    with h5py.File(path, "r", locking=False) as file:
        drawn = "frames" in file
        if not drawn:
            context, true = file["context"][:], file["true"][:]
            episode, training = np.arange(len(true)), None
        else:
            size = file["frames"].shape[1]
    if drawn:
        numbers = read_episodes(path)
        split = split_episodes(numbers, 0.3, 0)
        length = CONTEXT + STEPS
        starts = held_out_clips(path, numbers, split.held_out, length=length, count=128, seed=0, draw=1)
        clips = read_clips(path, starts, length, frame_size=size)
        context, true, episode = clips.frames[:, :CONTEXT], clips.frames[:, CONTEXT:], clips.episode
        training = TrainingFrames(path, split.train, 1)
    found = baselines(context, true, episode, training)
    print(f"\n{path.name}: {len(true)} clips, strongest: {found.strongest}")
    for name, table in found.mse_BS.items():
        print(f"{name:40} {table.mean():.5f}")
    for name, frames in predictors(context, true.shape[1], true.mean(axis=(0, 1))).items():
        value, low, high = skill(frames, true, episode, found)
        print(f"{name:40} skill {value:7.3f} ({low:.3f} to {high:.3f}) {'passes' if low > 0 else 'fails'}")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        _table(Path(argument))
