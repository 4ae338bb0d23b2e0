"""How often a comparison is wrong, and how small a regression it sees, on scorecards of trained seeds (pure).

Clips are drawn by episode, with replacement, from all clips of the scorecards: these are the population. A planted
regression of 5 % is a pair of seeds, one of which is scaled so that its error on the population is 5 % above that of
the other (question *models*), or 5 % above its own (*recipes*). The lost kind of objects is synthetic, because the
models of `smoke` find hardly any object: four kinds of which 90 % are found, and then one of them not at all.

Axes: K scorecards of a side, E episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from tinyworlds_gate.compare.effects import BETTER, MODELS, RECIPES, WORSE, difference, effects_of, levels
from tinyworlds_gate.compare.measures import ERROR, PRECISION, RECALL, SKILL, TESTED, Side, side_of
from tinyworlds_gate.compare.spread import Spread
from tinyworlds_gate.compare.student import two_sided_p
from tinyworlds_gate.gate.scorecard import Scorecard

SIZES = (64, 256, 1024)
FACTORS = (1.0, 1.02, 1.05, 1.10, 1.25, 1.5)
DRAWS = 10
"""Draws of clips for each pair of seeds."""
TRIALS = 200
SEEDS_A_SIDE = (1, 3)
KINDS, OBJECTS, FOUND, EPISODE_SPREAD, SEED_SPREAD = 4, 1.5, 0.9, 0.5, 0.15
"""Synthetic objects: kinds, objects of a kind in a clip, share found, its spread (logistic) by episode and by seed."""

Rates = dict[str, Any]


def measure_rates(cards: Sequence[Scorecard], collapsed: Sequence[Scorecard], seed: int = 0) -> Rates:
    """Return the rates as plain data for docs/results/compare.json.

    Args:
        cards: of seeds of one recipe on the same clips.
        collapsed: of the same models with a collapsed action code, on the first of these clips.
    """
    rng = np.random.default_rng(seed)
    whole, part = _sides(cards, list(cards)), _sides(cards, list(collapsed))
    spread = measured_spread(part, whole)
    return {
        "seeds": [card.trained.get("seed") for card in cards],
        "mse": [round(card.mse, 6) for card in cards],
        "clips": len(cards[0].clips),
        "clips_with_objects": len(collapsed[0].clips),
        "episodes": cards[0].episodes,
        "spread": spread,
        "equal_recipes": [_equal_pairs(part, whole, size, rng) for size in SIZES],
        "equal_recipes_once": _every_pair_once(part, whole),
        "equal_recipes_own_spread": _own_spread(part, rng),
        "planted_error": _planted_error(whole, rng),
        "collapsed_code": _collapsed(part, _sides(collapsed, list(collapsed)), rng),
        "lost_kind": _lost_kind(whole, rng),
    }


def _sides(cards: Sequence[Scorecard], on: Sequence[Scorecard]) -> list[Side]:
    """A side for each model, on the clips of ``on``."""
    digests = [one.digest for one in on[0].clips]
    episodes = {one.digest: one.episode for one in cards[0].clips}
    return [side_of([card], digests, episodes, 0) for card in cards]


def joined(sides: Sequence[Side], episodes: np.ndarray | None = None) -> Side:
    """Return several models as one side, on the episodes [E] that were drawn; None: on all."""
    names = sides[0].sums
    sums = {name: np.concatenate([one.sums[name] for one in sides]) for name in names}
    if episodes is not None:
        sums = {name: table[:, episodes] for name, table in sums.items()}
    return Side(tuple(card for one in sides for card in one.cards), sums)


def scaled(side: Side, factor: float) -> Side:
    """Return a side whose errors are this many times as large."""
    return Side(side.cards, {**side.sums, "error": side.sums["error"] * factor})


def measured_spread(part: Sequence[Side], whole: Sequence[Side]) -> dict[str, Any]:
    """Return the spread between seeds that stays with any number of clips, by measure (`spread.py`)."""
    found: dict[str, Any] = {}
    for measure in (*TESTED, SKILL):
        sides = whole if measure in (ERROR, SKILL) else part
        if any(one.why_not_measured(measure) for one in sides):
            continue
        values = np.array([float(one.whole(measure)[0]) for one in sides])
        of_clips = [difference(measure, a, b, None).clips.error ** 2 for a, b in combinations(sides, 2)]
        total, clips = float(values.var(ddof=1)), float(np.mean(of_clips)) / 2
        found[measure.key] = {
            "deviation": round(max(0.0, total - clips) ** 0.5, 4),
            "with_clips": round(total**0.5, 4),
            "values": [round(one, 4) for one in values.tolist()],
        }
    return found


def _given(part: Sequence[Side], whole: Sequence[Side]) -> dict[str, Spread]:
    """The spread of the other seeds, so that a pair is not judged by itself."""
    found = measured_spread(part, whole)
    return {key: Spread(one["deviation"], len(whole) - 1, "of the other seeds") for key, one in found.items()}


def _drawn(episodes: int, clips_of_episode: float, size: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, episodes, max(2, round(size / clips_of_episode)))


def _population(side: Side) -> tuple[int, float]:
    episodes = side.sums["error"].shape[1]
    return episodes, float(side.sums["clips"].sum() / len(side.cards)) / episodes


def _verdicts(a: Side, b: Side, question: str, given: Mapping[str, Spread] | None, keys: Sequence[str] = ()) -> str:
    """WORSE, BETTER or SAME by all measures together; ``keys`` counts only some of them."""
    effects, _ = effects_of(a, b, question, [], given)
    found = {one.verdict for one in effects if one.key != "skill" and (not keys or one.key in keys)}
    return WORSE if WORSE in found else BETTER if BETTER in found else "SAME"


def _others(sides: Sequence[Side], *left_out: int) -> list[Side]:
    return [one for number, one in enumerate(sides) if number not in left_out]


def _count(trial: Callable[[], str], times: int) -> dict[str, int]:
    outcomes = [trial() for _ in range(times)]
    return {"trials": times, "worse": outcomes.count(WORSE), "better": outcomes.count(BETTER)}


def _added(rows: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {key: sum(row[key] for row in rows) for key in rows[0]}


def _every_pair_once(part: Sequence[Side], whole: Sequence[Side]) -> Rates:
    """All pairs of seeds, each once in the order of the seeds, on all clips that have every measure."""
    rows = []
    for a, b in combinations(range(len(part)), 2):
        given = _given(_others(part, a, b), _others(whole, a, b))
        rows.append(
            {
                "a": part[a].cards[0].trained.get("seed"),
                "b": part[b].cards[0].trained.get("seed"),
                "recipes": _verdicts(part[a], part[b], RECIPES, None),
                "recipes_spread_of_others": _verdicts(part[a], part[b], RECIPES, given),
                "models": _verdicts(part[a], part[b], MODELS, None),
            }
        )
    counts = {
        name: {word.lower(): sum(row[name] == word for row in rows) for word in (WORSE, BETTER)}
        for name in ("recipes", "recipes_spread_of_others", "models")
    }
    return {"pairs": len(rows), **counts, "rows": rows}


def _equal_pairs(part: Sequence[Side], whole: Sequence[Side], size: int, rng: np.random.Generator) -> Rates:
    """Pairs of seeds on drawn clips, question *recipes*, as the product judges them: with the stated spread."""
    sides = part if size <= part[0].sums["clips"].sum() else whole
    episodes, per_episode = _population(sides[0])
    rows = []
    for a, b in combinations(range(len(sides)), 2):

        def trial(a: int = a, b: int = b) -> str:
            drawn = _drawn(episodes, per_episode, size, rng)
            return _verdicts(joined([sides[a]], drawn), joined([sides[b]], drawn), RECIPES, None)

        rows.append(_count(trial, DRAWS))
    return {"clips": size, "pairs": len(rows), **_added(rows)}


def published_pairs(errors: Sequence[float]) -> Rates:
    """All pairs of seeds of which only the error on the same clips is known, with the spread of the other seeds."""
    logs = np.log(np.array(errors))
    outcomes = []
    for a, b in combinations(range(len(logs)), 2):
        others = np.delete(logs, [a, b])
        t = float(logs[b] - logs[a]) / (float(others.std(ddof=1)) * 2**0.5)
        changed = two_sided_p(t, len(others) - 1) <= levels(["error", "recall", "precision", "control"])["error"]
        outcomes.append((WORSE if t > 0 else BETTER) if changed else "SAME")
    return {
        "seeds": len(logs),
        "pairs": len(outcomes),
        "worse": outcomes.count(WORSE),
        "better": outcomes.count(BETTER),
    }


def _own_spread(part: Sequence[Side], rng: np.random.Generator) -> list[Rates]:
    """Several seeds against as many others of the same recipe, judged by their own spread."""
    rows = []
    for count in (2, 3):
        if len(part) < 2 * count:
            continue

        def trial(count: int = count) -> str:
            order = rng.permutation(len(part))
            a, b = ([part[one] for one in order[first : first + count]] for first in (0, count))
            return _verdicts(joined(a), joined(b), RECIPES, None)

        rows.append({"seeds_a_side": count, **_count(trial, TRIALS)})
    return rows


def _planted_error(whole: Sequence[Side], rng: np.random.Generator) -> list[Rates]:
    """The verdict on the error, for errors that are larger by a factor."""
    episodes, per_episode = _population(whole[0])
    pairs, rows = list(combinations(range(len(whole)), 2)), []
    for size in SIZES:
        for factor in FACTORS:

            def of_models(pair: tuple[int, int], size: int = size, factor: float = factor) -> str:
                a, b = (whole[one] for one in pair)
                level = factor * float(a.sums["error"].sum() / b.sums["error"].sum())
                drawn = _drawn(episodes, per_episode, size, rng)
                return _verdicts(joined([a], drawn), joined([scaled(b, level)], drawn), MODELS, None, (ERROR.key,))

            rows.append(
                {"question": MODELS, "clips": size, "factor": factor, "seeds_a_side": 1}
                | _added([_count(partial(of_models, pair), DRAWS) for pair in pairs])
            )
            for seeds in SEEDS_A_SIDE:
                if len(whole) < 2 * seeds:
                    continue

                def of_recipes(seeds: int = seeds, size: int = size, factor: float = factor) -> str:
                    order = rng.permutation(len(whole))
                    a, b = ([whole[one] for one in order[first : first + seeds]] for first in (0, seeds))
                    drawn = _drawn(episodes, per_episode, size, rng)
                    return _verdicts(joined(a, drawn), scaled(joined(b, drawn), factor), RECIPES, None, (ERROR.key,))

                row = {"question": RECIPES, "clips": size, "factor": factor, "seeds_a_side": seeds}
                rows.append(row | _count(of_recipes, DRAWS * len(pairs)))
    return rows


def _collapsed(part: Sequence[Side], collapsed: Sequence[Side], rng: np.random.Generator) -> list[Rates]:
    """A model against itself with a collapsed code (*models*), and against another seed with one (*recipes*)."""
    episodes, per_episode = _population(part[0])
    rows = []
    for size in SIZES:
        if size > 1.05 * episodes * per_episode:  # more clips than were measured with objects
            continue
        for question in (MODELS, RECIPES):

            def trial(question: str = question, size: int = size) -> str:
                a, b = rng.choice(len(part), 2, replace=False).tolist()
                other = a if question == MODELS else b
                drawn = _drawn(episodes, per_episode, size, rng)
                return _verdicts(joined([part[a]], drawn), joined([collapsed[other]], drawn), question, None)

            rows.append({"question": question, "clips": size, **_count(trial, 20 * len(part))})
    return rows


def _lost_kind(whole: Sequence[Side], rng: np.random.Generator) -> list[Rates]:
    """Synthetic objects on the clips of real models: one kind of four is not found any more."""
    rows = []
    for lost in (False, True):
        for size in SIZES:
            for question in (MODELS, RECIPES):

                def trial(lost: bool = lost, size: int = size, question: str = question) -> str:
                    episodes = max(2, size // 5)
                    true = rng.poisson(5 * OBJECTS, (KINDS, episodes))
                    spread = 0.0 if question == MODELS else SEED_SPREAD
                    a, b = (_with_objects(true, one, spread, rng) for one in (False, lost))
                    kinds = [f"kind {number}" for number in range(KINDS)]
                    effects, _ = effects_of(a, b, question, kinds)
                    found = {one.verdict for one in effects if one.key in (RECALL.key, PRECISION.key)}
                    return WORSE if WORSE in found else BETTER if BETTER in found else "SAME"

                rows.append({"question": question, "clips": size, "lost": lost, **_count(trial, TRIALS)})
    return rows


def _with_objects(true_KE: np.ndarray, lost: bool, spread: float, rng: np.random.Generator) -> Side:
    """One model on episodes of five clips with these objects by kind; its recall differs by seed and by episode."""
    episodes = true_KE.shape[1]
    logit = np.log(FOUND / (1 - FOUND)) + rng.normal(0, spread)
    sums: dict[str, np.ndarray] = {}
    for number, true in enumerate(np.asarray(true_KE)):
        share = 1 / (1 + np.exp(-(logit + rng.normal(0, EPISODE_SPREAD, episodes))))
        found = rng.binomial(true, 0.0 if lost and number == 0 else share)
        sums[f"true {number}"], sums[f"found {number}"] = (np.array([one], float) for one in (true, found))
    for name in ("true", "found"):
        sums[name] = sum((sums[f"{name} {number}"] for number in range(KINDS)), np.zeros((1, episodes)))
    sums["generated"] = sums["found"] + rng.poisson(0.3, (1, episodes))
    ones = np.ones((1, episodes))
    sums |= {"error": ones, "strongest": 2 * ones, "clips": 5 * ones, "random": np.full((1, episodes), np.nan)}
    return Side((_nobody(),), sums)


def _nobody() -> Scorecard:
    return Scorecard("synthetic", None, {}, (), "last frame")
