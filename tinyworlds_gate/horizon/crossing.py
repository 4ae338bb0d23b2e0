"""The usable horizon: the first step at which a model is no better than the best prediction without a model there.

Axes: B clips, S steps, R sets of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.intervals import ratio_interval


@dataclass(frozen=True)
class Curve:
    """A quantity by step: Σ above / Σ below over clips, both [B, S]."""

    above: np.ndarray
    below: np.ndarray

    @classmethod
    def mean(cls, values_BS: np.ndarray) -> Curve:
        """Return the mean over clips."""
        return cls(values_BS, np.ones(values_BS.shape))

    def at(self, weights_RB: np.ndarray) -> np.ndarray:
        """Return the curves [R, S] of weighted clips; NaN where nothing is counted."""
        above, below = weights_RB @ self.above, weights_RB @ self.below
        with np.errstate(divide="ignore", invalid="ignore"):
            values: np.ndarray = np.where(below > 0, above / below, np.nan)
        return values


@dataclass(frozen=True)
class Horizon:
    """``step`` counts from 1; None: the model stays better up to the last step (censored).

    ``low`` and ``high`` are the ends of the 95 % interval, from the first step at which the model is not shown to be
    better to the first at which it is shown to be worse; a censored end is None. ``known`` is False where clips of one
    episode give no interval. ``better`` are the ranges of steps at which the model is better.
    """

    step: int | None
    low: int | None
    high: int | None
    known: bool
    better: tuple[tuple[int, int], ...]
    steps: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "step": self.step,
            "censored": self.step is None,
            "interval": [self.low, self.high] if self.known else None,
            "better_at_steps": [list(one) for one in self.better],
            "steps": self.steps,
        }


def usable_horizon(
    model: Curve, references: Mapping[str, Curve], episodes: np.ndarray, *, higher: bool, judged: np.ndarray
) -> Horizon:
    """Return the first judged step at which the model is no better than the best reference of that step.

    A first step below a limit is found too early in a noisy curve, and so it is in resampled ones. The interval
    therefore comes from the 95 % interval of the ratio of both at each step.

    Args:
        model: its error, or with ``higher`` a share that is better when higher; a share of 1 is never worse.
        references: the same of what needs no model.
        episodes: int [B]; the ratio's interval is over them.
        higher: whether higher is better.
        judged: bool [S], the steps with enough data.
    """
    clips, steps = model.above.shape
    own = model.at(np.ones((1, clips)))[0]
    best, names = best_reference(references, higher=higher)
    judged = judged & ~np.isnan(own)
    falls = judged & _no_better(own, best, higher=higher)
    unsure, worse = falls.copy(), np.zeros(steps, bool)
    known = len(np.unique(episodes)) > 1
    for step in np.flatnonzero(judged).tolist():
        if not names[step] or not known or (higher and own[step] == 1):
            continue
        low, high = _ratio_interval(model, references[names[step]], step, episodes)
        if np.isfinite((low, high)).all():
            unsure[step], worse[step] = (low <= 1, high < 1) if higher else (high >= 1, low > 1)
    return Horizon(_first(falls), _first(unsure), _first(worse), known, _ranges(judged & ~falls), steps)


def _ratio_interval(model: Curve, reference: Curve, step: int, episodes: np.ndarray) -> tuple[float, float]:
    """Return the interval of the model's value over the reference's at a step; NaN where it is unknown."""
    above, below = (one.above[:, step] / max(float(one.below[:, step].sum()), 1e-12) for one in (model, reference))
    return ratio_interval(above, below, episodes)


def _no_better(own_S: np.ndarray, best_S: np.ndarray, *, higher: bool) -> np.ndarray:
    found: np.ndarray = (own_S <= best_S) & (own_S < 1) if higher else own_S >= best_S
    return found


def best_reference(references: Mapping[str, Curve], *, higher: bool) -> tuple[np.ndarray, list[str]]:
    """Return the value [S] and the name of the best reference at each step; NaN and an empty name: none is known."""
    clips = next(iter(references.values())).above.shape[0]
    names = list(references)
    table = np.stack([references[name].at(np.ones((1, clips)))[0] for name in names])
    filled = np.where(np.isnan(table), -np.inf if higher else np.inf, table)
    chosen = filled.argmax(axis=0) if higher else filled.argmin(axis=0)
    values = np.take_along_axis(table, chosen[None], axis=0)[0]
    return values, ["" if np.isnan(value) else names[at] for value, at in zip(values, chosen.tolist(), strict=True)]


def _first(flags_S: np.ndarray) -> int | None:
    """Return the first step that is set, from 1."""
    return int(flags_S.argmax()) + 1 if flags_S.any() else None


def _ranges(better_S: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return the runs of True as first and last step, from 1."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], better_S.astype(int), [0]))))
    return tuple((int(first) + 1, int(last)) for first, last in edges.reshape(-1, 2))
