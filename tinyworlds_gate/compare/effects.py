"""The change of each measure between two sides, its interval, and which changes are real (Holm over the measures).

For the question *models* the interval is over episodes only: is this checkpoint better than that one, on clips of this
kind? For *recipes* the spread between seeds is added: would other seeds of these two recipes differ as well?
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tinyworlds_gate.compare.bisection import bisect
from tinyworlds_gate.compare.measures import ERROR, RECALL, SKILL, TESTED, Measure, Side, kind_measure
from tinyworlds_gate.compare.spread import Spread, spread_of
from tinyworlds_gate.compare.student import LARGEST_T, two_sided_p, two_sided_quantile
from tinyworlds_gate.gate.measures.intervals import Jackknife, jackknife

BETTER, SAME, WORSE, NOT_MEASURED = "BETTER", "SAME", "WORSE", "NOT-MEASURED"
RECIPES, MODELS = "recipes", "models"
MUCH_MORE = 1.5
"""Times the change of all objects, from which on a kind of them is named."""
LEVEL = 0.05
"""The probability that any of the effects is called better or worse although nothing has changed."""
OF_ERROR = 0.6
"""The share of that level which the error has, as long as other measures are tested as well."""


@dataclass(frozen=True)
class Effect:
    """One measure: the value of each side, the change with its 95 % interval, and the verdict on the new side."""

    key: str
    label: str
    unit: str
    better: str
    a: float | None
    b: float | None
    change: float | None
    low: float | None
    high: float | None
    verdict: str
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """The difference of one measure on its scale, and how uncertain it is."""

    measure: Measure
    old: float
    new: float
    clips: Jackknife
    seeds: float
    """Standard error from the spread between seeds; 0 for the question *models*."""
    freedom: float

    def ends(self, t: float) -> tuple[float, float]:
        """Return the interval of ``t`` standard errors."""
        return self.clips.ends(t, self.seeds)

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of this measure alone, on the scale."""
        return self.ends(two_sided_quantile(LEVEL, self.freedom))

    @property
    def p(self) -> float:
        """The probability of so large a difference where there is none; 1 for none."""
        if self.new == self.old:
            return 1.0

        def holds_zero(t: float) -> bool:
            low, high = self.ends(t)
            return low <= 0 <= high

        return two_sided_p(bisect(holds_zero, 0.0, LARGEST_T), self.freedom)

    @property
    def change(self) -> float:
        """The change as a person reads it."""
        return self.measure.change(self.old, self.new - self.old)

    @property
    def is_worse(self) -> bool:
        """Whether the new side is the worse one."""
        return (self.new > self.old) == (self.measure.better == "lower")

    def half_width(self, level: float) -> float:
        """Return how large a difference must be, on the scale, for its interval at this level to exclude 0."""
        t = two_sided_quantile(level, self.freedom)
        _, high = replace(self.clips, whole=0.0, centre=0.0, skewness=0.0).ends(t, self.seeds)
        return high


def difference(measure: Measure, a: Side, b: Side, spread: Spread | None) -> Difference:
    """Return the difference b - a; ``spread``: between seeds, None for the question *models*."""
    old, new = float(a.whole(measure).mean()), float(b.whole(measure).mean())
    left_out_E = b.left_out(measure) - a.left_out(measure)
    found, of_clips = jackknife(new - old, left_out_E), len(left_out_E) - 1
    if spread is None:
        return Difference(measure, old, new, found, 0.0, of_clips)
    seeds = spread.deviation * (1 / len(a.cards) + 1 / len(b.cards)) ** 0.5
    parts = ((found.error**2, of_clips), (seeds**2, spread.freedom))
    below = sum(variance**2 / freedom for variance, freedom in parts)
    freedom = sum(variance for variance, _ in parts) ** 2 / below if below > 0 else min(of_clips, spread.freedom)
    return Difference(measure, old, new, found, seeds, freedom)


@dataclass(frozen=True)
class Candidate:
    """What is tested as one effect: its own difference, and the one that decides (of all objects, or of a kind)."""

    own: Difference
    decisive: Difference
    p: float
    kinds: tuple[Difference, ...] = ()

    def kind_behind(self) -> Difference | None:
        """Return the kind of objects that changed most, where it changed much more than all objects together."""
        way = 1 if self.decisive.change > 0 else -1
        most = max(self.kinds, key=lambda one: way * one.change, default=None)
        if most is None or way * most.change < max(MUCH_MORE * way * self.own.change, most.measure.least):
            return None
        return most


def effects_of(
    a: Side, b: Side, question: str, kinds: Sequence[str], given: Mapping[str, Spread] | None = None
) -> tuple[list[Effect], float]:
    """Return the effects, and the smallest relative change of the error that would be seen.

    Args:
        kinds: names of the kinds of objects that both sides count.
        given: key of a measure → the spread between its seeds, where a person knows it.
    """

    def spread(measure: Measure, key: str) -> Spread | None:
        return None if question == MODELS else spread_of(measure, a, b, key, given)

    tested, missing = dict[str, Candidate](), dict[str, str]()
    for measure in TESTED:
        why = a.why_not_measured(measure) or b.why_not_measured(measure)
        if why is not None:
            missing[measure.key] = why
            continue
        own = difference(measure, a, b, spread(measure, measure.key))
        candidates = [own]
        if measure is RECALL:
            of_kinds = [kind_measure(number, name) for number, name in enumerate(kinds)]
            candidates += [difference(one, a, b, spread(one, "kind")) for one in of_kinds]
        decisive = min(candidates, key=lambda one: one.p)
        p = min(1.0, len(candidates) * decisive.p)
        tested[measure.key] = Candidate(own, decisive, p, tuple(candidates[1:]))
    verdicts = holm(tested)
    effects = [
        _effect(tested[one.key], verdicts[one.key], spread(one, one.key))
        if one.key in tested
        else _not_measured(one, missing[one.key])
        for one in TESTED
    ]
    skill = difference(SKILL, a, b, spread(SKILL, SKILL.key))
    effects.insert(1, _skill(skill, effects[0]))
    visible = ERROR.change(0.0, tested[ERROR.key].own.half_width(levels(tested)[ERROR.key]))
    return effects, max(visible, ERROR.least)


def levels(keys: Collection[str]) -> dict[str, float]:
    """Return the share of the level that each measure has: most of it the error, the rest in equal parts the others."""
    others = [key for key in keys if key != ERROR.key]
    of_error = OF_ERROR if others else 1.0
    return {ERROR.key: of_error * LEVEL} | {key: (1 - of_error) * LEVEL / len(others) for key in others}


def holm(tested: Mapping[str, Candidate]) -> dict[str, str]:
    """Return the verdict on each measure (Holm's procedure with weights).

    The most significant one comes first. Where it has changed, its share of the level goes to those that are left.
    """
    verdicts, left = dict.fromkeys(tested, SAME), levels(tested)
    while left:
        key = min(left, key=lambda key: tested[key].p / left[key])
        one, share = tested[key], left[key] * LEVEL / sum(left.values())
        if one.p > share:
            break
        del left[key]
        if abs(one.decisive.change) >= one.decisive.measure.least:
            verdicts[key] = WORSE if one.decisive.is_worse else BETTER
    return verdicts


def _effect(tested: Candidate, verdict: str, spread: Spread | None) -> Effect:
    one, notes = tested.own, list[str]()
    low, high = one.interval()
    measure = one.measure
    other = tested.kind_behind() if verdict != SAME else None
    if other is not None:
        old, new = (other.measure.shown(value) for value in (other.old, other.new))
        notes.append(f"{other.measure.label} {100 * old:.0f} % before, {100 * new:.0f} % now")
    if verdict == SAME and not low <= 0 <= high:
        small = abs(one.change) < measure.least
        notes.append("smaller than what counts as a change" if small else "no change among so many measures together")
    if spread is not None:
        notes.append(spread.origin)
    return Effect(
        measure.key,
        measure.label,
        measure.unit,
        measure.better,
        measure.shown(one.old),
        measure.shown(one.new),
        one.change,
        measure.change(one.old, low),
        measure.change(one.old, high),
        verdict,
        "; ".join(notes),
    )


def _not_measured(one: Measure, why: str) -> Effect:
    return Effect(one.key, one.label, one.unit, one.better, None, None, None, None, None, NOT_MEASURED, why)


def _skill(one: Difference, error: Effect) -> Effect:
    """The skill: with the same baseline on both sides it changes where the error does, so it has its verdict."""
    low, high = one.interval()
    values = (one.old, one.new, one.change, low, high)
    label, unit, better = one.measure.label, one.measure.unit, one.measure.better
    return Effect("skill", label, unit, better, *values, error.verdict, "follows the error")


def changed_most(a: Side, b: Side, digests: Sequence[str], most: int = 8) -> list[dict[str, Any]]:
    """Return the clips whose error changed most: digest, episode and the mean error of each side."""
    errors = [
        np.mean([[{one.digest: one.error for one in card.clips}[d] for d in digests] for card in side.cards], axis=0)
        for side in (a, b)
    ]
    episodes = {one.digest: one.episode for one in a.cards[0].clips}
    order = np.argsort(-np.abs(errors[1] - errors[0]), kind="stable")[:most]
    return [
        {
            "digest": digests[one],
            "episode": episodes[digests[one]],
            "a": float(errors[0][one]),
            "b": float(errors[1][one]),
        }
        for one in order.tolist()
        if errors[0][one] != errors[1][one]
    ]
