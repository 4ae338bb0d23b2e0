"""Compare two sides of scorecards: the verdict on the new side B against the baseline A (pure; docs/compare.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tinyworlds_gate.compare.effects import (
    BETTER,
    MODELS,
    RECIPES,
    SAME,
    WORSE,
    Effect,
    changed_most,
    effects_of,
)
from tinyworlds_gate.compare.measures import side_of
from tinyworlds_gate.compare.same_clips import Entry, common_cards
from tinyworlds_gate.compare.sentences import sentence_of
from tinyworlds_gate.compare.spread import Spread
from tinyworlds_gate.gate.object_names import kind_name
from tinyworlds_gate.gate.scorecard import Scorecard

SCHEMA = 1
NOT_COMPARABLE = "NOT-COMPARABLE"
VERDICTS = (BETTER, SAME, WORSE, NOT_COMPARABLE)
QUESTIONS = (RECIPES, MODELS)
LEAST_EPISODES = 5


@dataclass(frozen=True)
class Named:
    """One side of a comparison: its name, and the seed and weights of each model."""

    name: str
    seeds: tuple[int | None, ...]
    weights: tuple[Mapping[str, str], ...]
    mse: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The verdict on B against A, with the effects behind it."""

    verdict: str
    sentence: str
    reason: str | None
    """Why nothing could be compared; None where it was."""
    question: str
    a: Named
    b: Named
    clips: int = 0
    episodes: int = 0
    effects: tuple[Effect, ...] = ()
    visible_change: float | None = None
    """The smallest relative change of the error that would be seen."""
    changed_clips: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Plain data: the payload of ``baseline_compared`` (docs/journal.md)."""
        plain = asdict(self)
        for name in ("a", "b"):
            plain[name] |= {"seeds": list(plain[name]["seeds"]), "weights": list(plain[name]["weights"])}
        lists = ("effects", "changed_clips", "notes")
        return {"schema": SCHEMA, **plain, **{name: list(plain[name]) for name in lists}}


def compare(
    a: Sequence[Entry],
    b: Sequence[Entry],
    *,
    question: str = RECIPES,
    spread: Mapping[str, Spread] | None = None,
    speed: bool = False,
) -> Comparison:
    """Compare the new side ``b`` with the baseline ``a``; each has an entry for each model (a seed), and at least one.

    Args:
        question: ``recipes`` (the spread between seeds counts) or ``models``.
        spread: key of a measure → its spread between seeds, where a person knows it.
        speed: show the speed as well.
    """
    found = common_cards(a, b)
    old, new = _named(a, found.a), _named(b, found.b)
    if found.reason is not None:
        return _not_comparable(found.reason, question, old, new)
    episode_of = {one.digest: one.episode for one in found.a[0].clips}
    episodes = len({episode_of[one] for one in found.digests})
    if episodes < LEAST_EPISODES:
        why = f"the {len(found.digests)} common clips lie in {episodes} episodes; {LEAST_EPISODES} are needed"
        return _not_comparable(why, question, old, new)
    kinds = _common_kinds([*found.a, *found.b])
    sides = [side_of(cards, found.digests, episode_of, len(kinds)) for cards in (found.a, found.b)]
    effects, visible = effects_of(sides[0], sides[1], question, kinds, spread)
    if speed:
        effects.append(_speed(found.a, found.b))
    verdicts = {one.verdict for one in effects if one.key not in ("skill", "speed")}
    verdict = WORSE if WORSE in verdicts else BETTER if BETTER in verdicts else SAME
    same_weights = {_key(one.weights) for one in found.a} == {_key(one.weights) for one in found.b} != {()}
    sentence = sentence_of(
        verdict, effects, question, visible, (len(found.digests), episodes), (len(a), len(b)), same_weights
    )
    return Comparison(
        verdict,
        sentence,
        None,
        question,
        old,
        new,
        len(found.digests),
        episodes,
        tuple(effects),
        visible,
        tuple(changed_most(sides[0], sides[1], found.digests)),
        found.notes,
    )


def _not_comparable(why: str, question: str, a: Named, b: Named) -> Comparison:
    return Comparison(NOT_COMPARABLE, f"{NOT_COMPARABLE}: {why}.", why, question, a, b)


def without_comparison(why: str, question: str, a: str, b: str) -> Comparison:
    """Return a comparison of which one side has no numbers."""
    return _not_comparable(why, question, Named(a, (), ()), Named(b, (), ()))


def _named(entries: Sequence[Entry], cards: Sequence[Scorecard]) -> Named:
    shown = list(cards) or [entry[0] for entry in entries]
    names = dict.fromkeys(card.name for card in shown)
    seeds = tuple(seed if isinstance(seed := card.trained.get("seed"), int) else None for card in shown)
    mse = sum(card.mse for card in shown) / len(shown)
    return Named("; ".join(names), seeds, tuple(dict(card.weights) for card in shown), mse)


def _common_kinds(cards: Sequence[Scorecard]) -> list[str]:
    """The names of the kinds of objects; none where the cards do not count the same ones."""
    kinds = [dict(one) for one in cards[0].kinds]
    return [kind_name(one) for one in kinds] if all([dict(k) for k in card.kinds] == kinds for card in cards) else []


def _key(weights: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(weights.items()))


def _speed(a: Sequence[Scorecard], b: Sequence[Scorecard]) -> Effect:
    means = []
    for cards in (a, b):
        known = [card.frames_per_s for card in cards if card.frames_per_s is not None]
        means.append(sum(known) / len(known) if len(known) == len(cards) else None)
    old, new = means
    change = new / old - 1 if old and new else None
    why = "information only: machines and their load differ" if change is not None else "not known of both sides"
    verdict = SAME if change is not None else "NOT-MEASURED"
    return Effect("speed", "inference speed", "frames/s", "higher", old, new, change, None, None, verdict, why)
