"""Which scorecards of two sides can be compared: the same task on the same clips, in the same metric version (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from tinyworlds_gate.gate.scorecard import Scorecard, same_content

Entry = Sequence[Scorecard]
"""The scorecards of one model on different clips, the one that counts most first."""

TASK = {
    "context": "context frames",
    "generation_steps": "generated frames",
    "teacher_forced": "teacher-forced",
    "frame_size": "frame size",
    "stride": "stride",
}
"""Settings that make another task: what is predicted from what. None on one side is not known, so it is no other."""
CHOICES = ("decode_steps", "temperature", "rollout", "memory_window", "token_choice", "prediction_horizon", "n_actions")
"""Settings that belong to a recipe: how a model generates. A difference is noted, and is part of what is compared."""
ONE_MODEL = 0.01
"""Two models of a side are one if their errors differ by at most this share on each clip; other seeds differ more."""


@dataclass(frozen=True)
class CommonCards:
    """One scorecard of each model, on clips that all share; or the reason why there are none."""

    a: tuple[Scorecard, ...] = ()
    b: tuple[Scorecard, ...] = ()
    digests: tuple[str, ...] = ()
    reason: str | None = None
    notes: tuple[str, ...] = ()


def common_cards(a: Sequence[Entry], b: Sequence[Entry]) -> CommonCards:
    """Return the scorecards on the first clips of the baseline that every model was measured on."""
    if (problem := _same_run(a, b)) is not None:
        return CommonCards(reason=problem)
    found = _on_common_clips(a, b)
    problems = (_one_model_twice(side) for side in (found.a, found.b))
    return next((CommonCards(reason=problem) for problem in problems if problem is not None), found)


def _on_common_clips(a: Sequence[Entry], b: Sequence[Entry]) -> CommonCards:
    reasons = list[str]()
    for first in a[0]:
        wanted = {one.digest for one in first.clips}
        chosen = [[_with_clips(entry, wanted, first) for entry in side] for side in (a, b)]
        olds, news = ([one for one in side if one is not None] for side in chosen)
        if len(olds) < len(a) or len(news) < len(b):
            reasons.append(_why_no_clips(first, [*a, *b], [*chosen[0], *chosen[1]]))
            continue
        problem = _other_task(first, [*olds, *news])
        if problem is None:
            digests = tuple(one.digest for one in first.clips)
            return CommonCards(tuple(olds), tuple(news), digests, None, tuple(_notes(first, a[0], olds, news)))
        reasons.append(problem)
    return CommonCards(reason=reasons[0])


def common_clips(entries: Sequence[Entry]) -> str | None:
    """Return why these models, of one side, cannot be compared with one another; None where they can."""
    if len(entries) < 2:
        return None
    found = _on_common_clips(entries[:1], entries[1:])
    return found.reason or _one_model_twice((*found.a, *found.b))


def _same_run(a: Sequence[Entry], b: Sequence[Entry]) -> str | None:
    for old in a:
        for new in b:
            for one in old:
                for other in new:
                    same_source = one.source is not None and one.source == other.source
                    if (same_source and dict(one.weights) == dict(other.weights)) or (
                        one.source is None and other.source is None and one.weights and same_content(one, other)
                    ):
                        return f"both sides are the same: {one.name}"
    return None


def _one_model_twice(cards: Sequence[Scorecard]) -> str | None:
    """Return which two models of a side are one but for a touch of the weights; None where all differ."""
    errors = [{clip.digest: clip.error for clip in card.clips} for card in cards]
    for (card, one), (other_card, other) in combinations(zip(cards, errors, strict=True), 2):
        pairs = [(one[digest], other[digest]) for digest in one.keys() & other.keys()]
        if any(max(pair) > 0 for pair in pairs) and all(abs(x - y) <= ONE_MODEL * max(x, y) for x, y in pairs):
            return (
                f"{card.name} and {other_card.name} are one model (their errors differ by at most {ONE_MODEL:.0%} on "
                "each clip); name each model once, and train other seeds"
            )
    return None


def _with_clips(entry: Entry, wanted: set[str], first: Scorecard) -> Scorecard | None:
    """The scorecard of a model with all wanted clips, and as few others as possible."""
    having = [card for card in entry if wanted <= {one.digest for one in card.clips}]
    return min(having, key=lambda card: len(card.clips), default=None)


def _why_no_clips(first: Scorecard, entries: Sequence[Entry], chosen: Sequence[Scorecard | None]) -> str:
    if (problem := _other_task(first, [card for entry in entries for card in entry[:1]])) is not None:
        return problem
    wanted = {one.digest for one in first.clips}
    without = next(entry for entry, card in zip(entries, chosen, strict=True) if card is None)
    nearest = max(without, key=lambda card: len(wanted & {one.digest for one in card.clips}))
    missing = len(wanted - {one.digest for one in nearest.clips})
    what = "other clips" if missing == len(wanted) else "missing clips"
    return (
        f"{what}: {missing} of the {len(wanted)} clips of {first.name} are not among the {len(nearest.clips)} of "
        f"{nearest.name}"
    )


def _other_task(first: Scorecard, cards: Sequence[Scorecard]) -> str | None:
    for card in cards:
        if card.metric_version != first.metric_version:
            return (
                f"other metric version: {first.name} has version {first.metric_version} and {card.name} "
                f"{card.metric_version}, in which the numbers mean something else"
            )
        for key, what in TASK.items():
            old, new = first.settings.get(key), card.settings.get(key)
            if old is not None and new is not None and old != new:
                return f"other settings: {what} {_shown(old)} in {first.name} and {_shown(new)} in {card.name}"
    return None


def _shown(value: object) -> str:
    return str(value)[:40]


def _notes(first: Scorecard, entry: Entry, olds: Sequence[Scorecard], news: Sequence[Scorecard]) -> list[str]:
    notes = []
    if first is not entry[0]:
        notes.append(f"compared on the clips of {first.name}, which all share, and not on those of {entry[0].name}")
    larger = [card for card in (*olds, *news) if len(card.clips) > len(first.clips)]
    notes += [f"{len(card.clips) - len(first.clips)} further clips of {card.name} are left out" for card in larger]
    for key in CHOICES:
        old, new = ({_shown(card.settings.get(key)) for card in side} - {"None"} for side in (olds, news))
        if old and new and old != new:
            notes.append(f"{key} differs: {', '.join(sorted(old))} before, {', '.join(sorted(new))} now")
    baselines = {card.strongest_baseline for card in (*olds, *news)}
    if len(baselines) > 1:
        notes.append(f"the strongest prediction without a model differs: {', '.join(sorted(baselines))}")
    return notes
