"""What predictions that need no model score on the measured clips, computed from the frames files alone (G8).

The last context frame, the mean training frame, the mean of the context, and the best blend of them: a weight of each
by step, fitted by least squares on training clips, not negative and of sum 1.

Axes: B clips, P context frames, S generated frames, N predictions, H height, W width, C colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np

from tinyworlds_gate.reference.data.clip_reader import read_clips, read_episodes, read_frames
from tinyworlds_gate.reference.data.clips import starts_in_episodes
from tinyworlds_gate.reference.data.split import mean_frame_indices

WHITE = 255.0
LAST, CONTEXT_MEAN, MEAN_FRAME, BLEND = "last frame", "context mean", "mean frame", "blend"
FITTED_CLIPS = 256
"""Most training clips that the blend is fitted on, evenly spread over all."""
UNKNOWN = (
    "the training frames are not known: half the last frame plus half the context mean instead of a fitted blend, and "
    "no mean frame"
)


@dataclass(frozen=True)
class TrainingFrames:
    """Where baselines learn from: the training episodes of a frames file, read at this stride.

    ``trained`` is False where the stages train on other frames: the stated mean frame is checked, and no weight fitted.
    """

    path: Path
    episodes: tuple[int, ...]
    stride: int
    trained: bool = True


@dataclass(frozen=True)
class Baselines:
    """Errors ``[B, S]`` by prediction, the weights of the blend by step, and how these are known.

    ``mean_frame_mse_BS`` is known whenever the frames that the mean frame is taken over are.
    """

    mse_BS: dict[str, np.ndarray]
    weights: list[dict[str, float]]
    note: str
    mean_frame_mse_BS: np.ndarray | None

    @property
    def strongest(self) -> str:
        """The prediction with the smallest mean error on the measured clips."""
        return min(self.mse_BS, key=lambda name: float(self.mse_BS[name].mean()))


def baselines(context_BPHWC: np.ndarray, true_BSHWC: np.ndarray, training: TrainingFrames | None) -> Baselines:
    """Return what every prediction scores on clips of uint8 frames; ``training`` None: nothing is known of it.

    Raises:
        DataError: the training frames cannot be read, or have no clip of this length.
    """
    steps, size = true_BSHWC.shape[1], true_BSHWC.shape[2]
    mean_HWC = None if training is None else mean_frame(training, size, _stamp(training.path))
    products = error_products(context_BPHWC, true_BSHWC, mean_HWC)
    mean_mse_BS = None if mean_HWC is None else products[:, :, 2, 2]
    names = [LAST, CONTEXT_MEAN]
    if training is None or not training.trained:
        products = products[:, :, :2, :2]
        weights_SN, note = np.full((steps, 2), 0.5), UNKNOWN
    else:
        names.append(MEAN_FRAME)
        weights_SN, clips = fitted_weights(training, context_BPHWC.shape[1], steps, size, _stamp(training.path))
        note = f"weights by step, fitted on {clips} training clips"
    mse_BS = {name: products[:, :, index, index] for index, name in enumerate(names)}
    mse_BS[BLEND] = np.einsum("sn,bsnm,sm->bs", weights_SN, products, weights_SN)
    weights = [dict(zip(names, step.tolist(), strict=True)) for step in weights_SN]
    return Baselines(mse_BS, weights, note, mean_mse_BS)


def error_products(context_BPHWC: np.ndarray, true_BSHWC: np.ndarray, mean_HWC: np.ndarray | None = None) -> np.ndarray:
    """Return ``[B, S, N, N]``: the mean product of the errors of two predictions, frames in [0, 1].

    The diagonal is the squared error of each; weights w of sum 1 give a blend with the squared error w' M w.
    """
    table = []
    for context, true in zip(context_BPHWC, true_BSHWC, strict=True):
        predictions = [context[-1], context.mean(axis=0, dtype=np.float64)]
        predictions += [] if mean_HWC is None else [mean_HWC]
        error_SNX = np.stack([one - true.astype(np.float64) for one in predictions], axis=1)
        error_SNX = error_SNX.reshape(*error_SNX.shape[:2], -1) / WHITE
        table.append(error_SNX @ error_SNX.transpose(0, 2, 1) / error_SNX.shape[-1])
    return np.stack(table)


def best_weights(products_NN: np.ndarray) -> np.ndarray:
    """Return the weights ``[N]``, not negative and of sum 1, of the blend with the smallest squared error."""
    count = len(products_NN)
    best, smallest = np.zeros(count), np.inf
    for size in range(1, count + 1):
        for chosen in combinations(range(count), size):
            part = np.array(chosen)
            solved = np.linalg.pinv(products_NN[np.ix_(part, part)]) @ np.ones(size)
            if (solved < 0).any() or solved.sum() <= 0:
                if size > 1:
                    continue
                solved = np.ones(1)  # a prediction without error
            weights = np.zeros(count)
            weights[part] = solved / solved.sum()
            error = float(weights @ products_NN @ weights)
            if error < smallest:
                best, smallest = weights, error
    return best


def _stamp(path: Path) -> tuple[int, int]:
    """Return what tells an old file from a new one under the same path."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4)
def mean_frame(training: TrainingFrames, frame_size: int, stamp: tuple[int, int]) -> np.ndarray:
    """Return the mean ``[H, W, C]`` of evenly spaced training frames, the same ones as the inference process takes."""
    index = mean_frame_indices(read_episodes(training.path, stride=training.stride), training.episodes)
    frames = read_frames(training.path, index, frame_size=frame_size, stride=training.stride)
    mean: np.ndarray = frames.mean(axis=0, dtype=np.float64)
    return mean


@lru_cache(maxsize=4)
def fitted_weights(
    training: TrainingFrames, context: int, steps: int, frame_size: int, stamp: tuple[int, int]
) -> tuple[np.ndarray, int]:
    """Return the best weights ``[S, N]`` on training clips, and the number of these clips."""
    episode = read_episodes(training.path, stride=training.stride)
    starts = starts_in_episodes(episode, context + steps, training.episodes)
    starts = starts[:: max(1, -(-len(starts) // FITTED_CLIPS))]
    mean_HWC = mean_frame(training, frame_size, stamp)
    total = np.zeros((steps, 3, 3))
    for part in _parts(starts):
        clips = read_clips(training.path, part, context + steps, frame_size=frame_size, stride=training.stride).frames
        total += error_products(clips[:, :context], clips[:, context:], mean_HWC).sum(axis=0)
    return np.stack([best_weights(one) for one in total]), len(starts)


def _parts(starts: np.ndarray, size: int = 16) -> Sequence[np.ndarray]:
    """Return the starts in parts small enough for the memory; at least one, so that reading none is an error."""
    return [starts[low : low + size] for low in range(0, max(1, len(starts)), size)]
