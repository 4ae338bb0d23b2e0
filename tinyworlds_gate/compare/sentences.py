"""The sentence of a comparison (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from tinyworlds_gate.compare.effects import BETTER, MODELS, SAME, WORSE, Effect


def sentence_of(
    verdict: str,
    effects: Sequence[Effect],
    question: str,
    visible: float,
    measured: tuple[int, int],
    models: tuple[int, int],
    same_weights: bool,
) -> str:
    """Return what changed, against how many clips and models, and how small a change would have been seen.

    Args:
        visible: the smallest relative change of the error that would be seen.
        measured: clips and episodes.
        models: how many models each side has.
        same_weights: whether both sides have the same weights, bit for bit.
    """
    clips, episodes = measured
    where = f"on the same {clips} clips of {episodes} episodes"
    if same_weights:
        return f"{verdict}: both sides have the same weights, bit for bit ({where})."
    changed = [one for one in effects if one.verdict in (WORSE, BETTER) and one.key not in ("skill", "speed")]
    ordered = sorted(changed, key=lambda one: one.verdict != verdict)
    told = "; ".join(change_text(one) for one in ordered) or change_text(effects[0])
    return f"{verdict}: {told}, {where}. {visible_text(visible, question, models)}"


def change_text(effect: Effect) -> str:
    """Return `the error rose from 0.0079 to 0.0104 (+31 %, 95 % interval +12 % to +53 %)`."""
    if effect.a is None or effect.b is None or effect.change is None or effect.low is None or effect.high is None:
        return f"{effect.label}: not measured ({effect.note})"
    old, new = (value_text(effect, value) for value in (effect.a, effect.b))
    ends = f"{amount_text(effect, effect.change)}, 95 % interval {amount_text(effect, effect.low)} to"
    shown = f"{effect.label} {_verb(effect)} from {old} to {new} ({ends} {amount_text(effect, effect.high)})"
    detail = effect.note.split("; ")[0] if ": found" in effect.note else ""
    return f"{shown}; {detail}" if detail else shown


def _verb(effect: Effect) -> str:
    if effect.verdict == SAME or not effect.change:
        return "went"
    return "rose" if effect.change > 0 else "fell"


def value_text(effect: Effect, value: float) -> str:
    """Return a value of an effect with its unit."""
    if effect.key == "error":
        return f"{value:.4f}"
    if effect.key in ("recall", "precision"):
        return f"{100 * value:.1f} %"
    return f"{value:.2f} dB" if effect.key == "control" else f"{value:.2f}"


def amount_text(effect: Effect, change: float) -> str:
    """Return a change of an effect with its sign."""
    if effect.key in ("error", "speed"):
        return f"{100 * change:+.0f} %" if abs(change) >= 0.1 else f"{100 * change:+.1f} %"
    if effect.key in ("recall", "precision"):
        return f"{100 * change:+.1f} points"
    return f"{change:+.2f} dB" if effect.key == "control" else f"{change:+.2f}"


def visible_text(visible: float, question: str, models: tuple[int, int]) -> str:
    """Return how small a change of the error is visible."""
    share = f"{100 * visible:.0f} %" if visible >= 0.1 else f"{100 * visible:.1f} %"
    if question == MODELS:
        return f"A change of the error below {share} is not visible on these clips."
    seeds = "one model a side" if models == (1, 1) else f"{models[0]} against {models[1]} models"
    return f"With {seeds}, a change of the error below {share} cannot be told from another seed."
