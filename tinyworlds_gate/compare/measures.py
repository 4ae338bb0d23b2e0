"""What two sides are compared in: error, skill, objects, control; each as one number of the clips' sums.

Axes: K scorecards of a side (one a seed), E episodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.gate.scorecard import Scorecard

SMALLEST_ERROR = 1e-9
"""Below what uint8 frames can show; a perfect model has a logarithm, too."""
HALF = 0.5
"""Of an object, found and not found, is added to each rate, so that 0 % and 100 % have a logarithm."""
LEAST_OBJECTS = 30
LEAST_GENERATED = 10
LEAST_EPISODES = 5
"""Episodes that must show objects."""

Sums = Mapping[str, np.ndarray]
"""Name of a column → its sums, [..., E] or already over all episodes [...]."""


@dataclass(frozen=True)
class Measure:
    """One number of a model, on a scale on which differences are compared."""

    key: str
    label: str
    unit: str
    better: str
    """``lower`` or ``higher``."""
    scale: Callable[[Sums], np.ndarray]
    """The number on that scale, from sums over the episodes."""
    shown: Callable[[float], float]
    """From the scale to what a person reads."""
    relative: bool
    """Whether a change is shown as a share of the old value."""
    least: float
    """The smallest change (as shown) that is called better or worse."""

    def change(self, old: float, difference: float) -> float:
        """Return the change as a person reads it, of a difference on the scale."""
        if self.relative:
            return math.expm1(min(difference, 700.0))
        return self.shown(old + difference) - self.shown(old)


def _log_error(sums: Sums) -> np.ndarray:
    return np.log(np.maximum(sums["error"] / sums["clips"], SMALLEST_ERROR))


def _skill(sums: Sums) -> np.ndarray:
    return 1.0 - sums["error"] / np.maximum(sums["strongest"], SMALLEST_ERROR)


def rate(above: str, below: str) -> Callable[[Sums], np.ndarray]:
    """Return the measure of a share of objects, on the logistic scale."""

    def scale(sums: Sums) -> np.ndarray:
        return np.log((sums[above] + HALF) / (sums[below] - sums[above] + HALF))

    return scale


def _control(sums: Sums) -> np.ndarray:
    floor = SMALLEST_ERROR * sums["clips"]
    return 10.0 * np.log10(np.maximum(sums["random"], floor) / np.maximum(sums["error"], floor))


def _share(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-700.0, min(700.0, logit))))


def _same(value: float) -> float:
    return value


ERROR = Measure("error", "error", "MSE", "lower", _log_error, math.exp, True, 0.01)
SKILL = Measure(
    "skill", "skill against the strongest prediction without a model", "", "higher", _skill, _same, False, 0.01
)
RECALL = Measure("recall", "objects found", "share", "higher", rate("found", "true"), _share, False, 0.01)
PRECISION = Measure(
    "precision", "generated objects that are right", "share", "higher", rate("found", "generated"), _share, False, 0.01
)
CONTROL = Measure("control", "what random actions cost", "dB of PSNR", "higher", _control, _same, False, 0.1)
TESTED = (ERROR, RECALL, PRECISION, CONTROL)
"""Skill follows from the error, because both sides are measured against the same baseline."""


def kind_measure(number: int, name: str) -> Measure:
    """Return the share of the objects of one kind that are found."""
    scale = rate(f"found {number}", f"true {number}")
    return Measure("recall", f"{name}: found", "share", "higher", scale, _share, False, 0.05)


@dataclass(frozen=True)
class Side:
    """One side on the common clips: sums of each column by scorecard and episode, [K, E]."""

    cards: tuple[Scorecard, ...]
    sums: Sums

    def whole(self, measure: Measure) -> np.ndarray:
        """Return the measure of each scorecard [K], on its scale."""
        return measure.scale({name: table.sum(axis=1) for name, table in self.sums.items()})

    def left_out(self, measure: Measure) -> np.ndarray:
        """Return the mean over the scorecards with each episode left out in turn, [E]."""
        rest = {name: table.sum(axis=1, keepdims=True) - table for name, table in self.sums.items()}
        mean: np.ndarray = measure.scale(rest).mean(axis=0)
        return mean

    def total(self, name: str) -> np.ndarray:
        """Return the sum of a column over all clips, [K]."""
        whole: np.ndarray = self.sums[name].sum(axis=1)
        return whole

    def why_not_measured(self, measure: Measure) -> str | None:
        """Return why the measure says nothing of this side; None where it does."""
        if measure.key == CONTROL.key and np.isnan(self.sums["random"]).any():
            return "no frames with random actions"
        if measure.key in (RECALL.key, PRECISION.key):
            objects = int(self.total("true").max())
            episodes = int((self.sums["true"][0] > 0).sum())
            if objects < LEAST_OBJECTS or episodes < LEAST_EPISODES:
                return (
                    f"the true frames show {objects} small objects in {episodes} episodes; {LEAST_OBJECTS} in "
                    f"{LEAST_EPISODES} are needed"
                )
            fewest = int(self.total("generated").min())
            if measure.key == PRECISION.key and fewest < LEAST_GENERATED:
                return f"{fewest} objects were generated; {LEAST_GENERATED} are needed"
        return None


def side_of(cards: Sequence[Scorecard], digests: Sequence[str], episode_of: Mapping[str, int], kinds: int) -> Side:
    """Return a side on these clips; ``kinds``: how many kinds of objects all cards share."""
    _, index_B = np.unique([episode_of[one] for one in digests], return_inverse=True)
    episodes = int(index_B.max()) + 1
    sums = dict[str, list[np.ndarray]]()
    for card in cards:
        by_digest = {one.digest: one for one in card.clips}
        clips = [by_digest[one] for one in digests]
        columns = {
            name: [getattr(one, name) for one in clips]
            for name in ("error", "strongest", "copy_last", "true", "found", "generated")
        }
        columns["random"] = [math.nan if one.random is None else one.random for one in clips]
        columns["clips"] = [1] * len(clips)
        for number in range(kinds):
            columns[f"true {number}"] = [one.kinds[number][0] for one in clips]
            columns[f"found {number}"] = [one.kinds[number][1] for one in clips]
        for name, values in columns.items():
            table = np.bincount(index_B, weights=np.array(values, np.float64), minlength=episodes)
            sums.setdefault(name, []).append(table)
    return Side(tuple(cards), {name: np.stack(tables) for name, tables in sums.items()})
