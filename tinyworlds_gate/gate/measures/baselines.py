"""What predictions that need no model score on the measured clips, computed from the frames files alone (G8).

Single predictions: the last context frame, the context mean, the mean frame, linear extrapolation, a translated copy,
the brightness trend. Blends: fitted on training clips, with the best weights for the measured clips, and with weights
by region of the picture (`region_blend.py`). The strongest is the prediction with the smallest error.

Axes: B clips, P context frames, S generated frames, N predictions, H height, W width, C colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyworlds_gate.gate.measures.region_blend import GRIDS, Products, added, blended_errors, clip_products
from tinyworlds_gate.gate.measures.simple_predictions import PARTS, WHITE, planes, predictions
from tinyworlds_gate.reference.data.clip_reader import read_clips, read_episodes, read_frames
from tinyworlds_gate.reference.data.clips import starts_in_episodes
from tinyworlds_gate.reference.data.split import mean_frame_indices

LAST, CONTEXT_MEAN, MEAN_FRAME, BLEND = "last frame", "context mean", "mean frame", "blend"
OTHERS_MEAN = "mean frame of the other episodes"
EXTRAPOLATION, TRANSLATED, FADED = "linear extrapolation", "translated copy", "brightness trend"
BEST_BLEND, WHOLE, REGIONS = "blend with the best weights", "blend of the whole picture", "blend per region"
NO_MODEL_NEEDED = "nearly exact one, as no model is needed here"
EXACT_SHARE = 1e-3
"""Of the last frame's error: predictions that leave at most this count as leaving this."""
FITTED_CLIPS = 256
"""Most training clips that blends are fitted on, evenly spread over all."""
MOST_GROUPS = 16
"""Episodes are left out in at most so many groups."""
UNKNOWN = (
    "the training frames are not known: half the last frame plus half the context mean instead of weights fitted on "
    "training clips"
)
MEANING = {
    LAST: "the last context frame",
    CONTEXT_MEAN: "the mean of the context frames",
    MEAN_FRAME: "the mean training frame",
    OTHERS_MEAN: "the mean of the true frames of all other episodes",
    EXTRAPOLATION: "the last frame, to which each step adds the last change of each pixel",
    TRANSLATED: "the last frame, moved on at each step as the whole picture moved before",
    FADED: "the last frame, whose brightness changes at each step by the last factor",
    NO_MODEL_NEEDED: "a thousandth of the last frame's error, of which a prediction without a model leaves no more",
    BLEND: "a weighted mean of last frame, context mean and mean frame",
    BEST_BLEND: "the weighted mean of last frame, context mean and mean frame that is best on the measured clips",
}
BY_STEP, BY_REGION = (
    "with weights for each step",
    f"with weights for each step and each of {GRIDS[-1]} x {GRIDS[-1]} regions",
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
    most_clips: int = FITTED_CLIPS
    """Clips that weights are fitted on, at most."""


@dataclass(frozen=True)
class Baselines:
    """Errors ``[B, S]`` by prediction, the weights of the blend by step, and how these are known.

    ``mean_frame_mse_BS`` is known whenever the frames that the mean frame is taken over are. ``training_clips`` is the
    number of training clips that weights are fitted on.
    """

    mse_BS: dict[str, np.ndarray]
    weights: list[dict[str, float]]
    note: str
    mean_frame_mse_BS: np.ndarray | None
    training_clips: int = 0

    @property
    def strongest(self) -> str:
        """The prediction with the smallest mean error on the measured clips.

        Where one leaves at most a thousandth of the last frame's error, this thousandth counts: no model could show
        skill against an exact prediction, and a model that is nearly exact as well is as good.
        """
        if NO_MODEL_NEEDED in self.mse_BS:
            return NO_MODEL_NEEDED
        return min(self.mse_BS, key=lambda name: float(self.mse_BS[name].mean()))

    @property
    def meaning(self) -> str:
        """What the strongest prediction is, as the reports explain it."""
        if (name := self.strongest) in MEANING:
            return f"{name}: {MEANING[name]}"
        others = f"{self.training_clips} training clips and " if self.training_clips else ""
        return (
            f"{name}: {PARTS}, {BY_REGION if name == REGIONS else BY_STEP}. The error is the mean of two: with weights "
            f"fitted on {others}the clips of other episodes, and with weights fitted on the measured clips too"
        )


class TrainingFit(NamedTuple):
    """The blend's best weights ``[S, N]`` on training clips, the number of these clips, and their products."""

    weights_SN: np.ndarray
    clips: int
    products: Products


def baselines(
    context_BPHWC: np.ndarray, true_BSHWC: np.ndarray, episode_B: np.ndarray, training: TrainingFrames | None
) -> Baselines:
    """Return what every prediction scores on clips of uint8 frames; ``training`` None: nothing is known of it.

    Raises:
        DataError: the training frames cannot be read, or have no clip of this length.
    """
    count, steps, size = true_BSHWC.shape[:3]
    means, fit = dict[str, Sequence[np.ndarray]](), None
    if training is not None:
        means[MEAN_FRAME] = [mean_frame(training, size, _stamp(training.path))] * count
    if training is not None and training.trained:
        fit = fitted_weights(training, context_BPHWC.shape[1], steps, size, _stamp(training.path))
    elif len(np.unique(episode_B)) > 1:
        means[OTHERS_MEAN] = means_of_others(true_BSHWC, episode_B)
    names = [LAST, CONTEXT_MEAN, *means]
    products = error_products(context_BPHWC, true_BSHWC, *means.values())
    mse_BS = {name: products[:, :, index, index] for index, name in enumerate(names)}
    mean_mse_BS = mse_BS.get(MEAN_FRAME)
    if fit is None:
        mse_BS.pop(MEAN_FRAME, None)
        weights_SN, note = np.full((steps, 2), 0.5), UNKNOWN
    else:
        weights_SN, note = fit.weights_SN, f"weights by step, fitted on {fit.clips} training clips"
    fitted = weights_SN.shape[1]
    mse_BS[BLEND] = np.einsum("sn,bsnm,sm->bs", weights_SN, products[:, :, :fitted, :fitted], weights_SN)
    known = [index for index, name in enumerate(names) if name in mse_BS]
    mse_BS[BEST_BLEND] = _best_blend(products[:, :, known][..., known])
    mean = means[names[known[-1]]] if len(known) > 2 else [None] * count
    mse_BS |= _extrapolations_and_blends(
        context_BPHWC, true_BSHWC, mean, episode_B, None if fit is None else fit.products
    )
    allowed_BS = EXACT_SHARE * mse_BS[LAST]
    if 0 < allowed_BS.mean() >= min(float(one.mean()) for one in mse_BS.values()):
        mse_BS[NO_MODEL_NEEDED] = allowed_BS
    weights = [dict(zip(names[:fitted], step.tolist(), strict=True)) for step in weights_SN]
    return Baselines(mse_BS, weights, note, mean_mse_BS, 0 if fit is None else fit.clips)


def means_of_others(true_BSHWC: np.ndarray, episode_B: np.ndarray) -> list[np.ndarray]:
    """Return for each clip the mean ``[H, W, C]`` of the true frames of the other episodes, of which there are some."""
    episodes, index_B = np.unique(episode_B, return_inverse=True)
    own_EHWC = np.zeros((len(episodes), *true_BSHWC.shape[2:]))
    for clip, index in zip(true_BSHWC, index_B.tolist(), strict=True):
        own_EHWC[index] += clip.sum(axis=0, dtype=np.uint32)
    counts_E = np.bincount(index_B) * true_BSHWC.shape[1]
    rest_EHWC = own_EHWC.sum(axis=0) - own_EHWC
    rest_EHWC /= (counts_E.sum() - counts_E)[:, None, None, None]
    return [rest_EHWC[index] for index in index_B.tolist()]


def _best_blend(products_BSNN: np.ndarray) -> np.ndarray:
    """Return the errors ``[B, S]`` of the blend whose weights by step are the best for these very clips."""
    weights_SN = np.stack([best_weights(one) for one in products_BSNN.sum(axis=0)])
    errors: np.ndarray = np.einsum("sn,bsnm,sm->bs", weights_SN, products_BSNN, weights_SN)
    return errors


def _extrapolations_and_blends(
    context_BPHWC: np.ndarray,
    true_BSHWC: np.ndarray,
    mean: Sequence[np.ndarray | None],
    episode_B: np.ndarray,
    training: Products | None,
) -> dict[str, np.ndarray]:
    """Return the errors ``[B, S]`` of what extrapolates the context, and of the blends in `region_blend.py`."""
    episodes, index_B = np.unique(episode_B, return_inverse=True)
    single = {name: np.empty(true_BSHWC.shape[:2]) for name in (EXTRAPOLATION, TRANSLATED, FADED)}
    clips = list[Products]()
    for number, (context, true, always) in enumerate(zip(context_BPHWC, true_BSHWC, mean, strict=True)):
        found, true_SCHW = predictions(context, always, len(true)), planes(true)
        frames = (found.extrapolated_SCHW, found.translated_SCHW, found.faded_SCHW)
        for table, one in zip(single.values(), frames, strict=True):
            table[number] = np.square(one - true_SCHW).mean(axis=(1, 2, 3), dtype=np.float64)
        clips.append(clip_products(found, true_SCHW))
    if len(episodes) < 2 and training is None:
        return single
    group_B = index_B * min(MOST_GROUPS, len(episodes)) // len(episodes)
    blends = blended_errors(clips, group_B, training)
    of_grid = zip((WHOLE, REGIONS), blends.values(), strict=True)
    return single | {name: (of_others + of_all) / 2 for name, (of_others, of_all) in of_grid}


def error_products(context_BPHWC: np.ndarray, true_BSHWC: np.ndarray, *means_BHWC: Sequence[np.ndarray]) -> np.ndarray:
    """Return ``[B, S, N, N]``: the mean product of the errors of two predictions, frames in [0, 1].

    The predictions are last frame, context mean and ``means_BHWC`` (frames by clip). The diagonal is the squared error
    of each; weights w of sum 1 give a blend with the squared error w' M w.
    """
    table = []
    for context, true, *means in zip(context_BPHWC, true_BSHWC, *means_BHWC, strict=True):
        true_SX = true.reshape(len(true), -1) / WHITE
        error_SNX = np.empty((len(true), 2 + len(means), true_SX.shape[1]))
        for number, known in enumerate([context[-1], context.mean(axis=0, dtype=np.float64), *means]):
            np.subtract(known.reshape(-1) / WHITE, true_SX, out=error_SNX[:, number])
        table.append(error_SNX @ error_SNX.transpose(0, 2, 1) / true_SX.shape[1])
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
) -> TrainingFit:
    """Return what blends learn from training clips."""
    episode = read_episodes(training.path, stride=training.stride)
    starts = starts_in_episodes(episode, context + steps, training.episodes)
    starts = starts[:: max(1, -(-len(starts) // training.most_clips))]
    mean_HWC = mean_frame(training, frame_size, stamp)
    total, products = np.zeros((steps, 3, 3)), list[Products]()
    for part in _parts(starts):
        clips = read_clips(training.path, part, context + steps, frame_size=frame_size, stride=training.stride).frames
        known, true = clips[:, :context], clips[:, context:]
        total += error_products(known, true, [mean_HWC] * len(clips)).sum(axis=0)
        of_clips = [
            clip_products(predictions(one, mean_HWC, steps), planes(other))
            for one, other in zip(known, true, strict=True)
        ]
        products = [added([*products, *of_clips])]
    return TrainingFit(np.stack([best_weights(one) for one in total]), len(starts), products[0])


def _parts(starts: np.ndarray, size: int = 16) -> Sequence[np.ndarray]:
    """Return the starts in parts small enough for the memory; at least one, so that reading none is an error."""
    return [starts[low : low + size] for low in range(0, max(1, len(starts)), size)]
