"""A comparison as text for a terminal (pure)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tinyworlds_gate.compare.comparison import Comparison, Named
from tinyworlds_gate.compare.effects import MODELS, Effect
from tinyworlds_gate.compare.sentences import amount_text, value_text

WIDTH = 100
HEAD = ("", "A (baseline)", "B (new)", "change", "95 % interval", "")


def comparison_text(found: Comparison) -> str:
    """Return the sentence, the table of effects, the notes, and the clips that changed most."""
    lines = [textwrap.fill(found.sentence, WIDTH), ""]
    lines += [f"A: {side_text(found.a)}", f"B: {side_text(found.b)}"]
    if found.reason is not None:
        return "\n".join(lines)
    asked = "these models, on clips of this kind" if found.question == MODELS else "these recipes, with any seed"
    lines += [f"question: {asked}", ""]
    lines += _aligned([HEAD, *(_row(one) for one in found.effects)])
    notes = [*_effect_notes(found.effects), *found.notes]
    lines += ["", *(textwrap.fill(note, WIDTH, initial_indent="- ", subsequent_indent="  ") for note in notes)]
    if found.changed_clips:
        rows = [("clip", "episode", "A", "B")]
        rows += [(str(c["digest"]), str(c["episode"]), f"{c['a']:.4f}", f"{c['b']:.4f}") for c in found.changed_clips]
        lines += ["", "clips whose error changed most:", *_aligned(rows)]
    return "\n".join(lines)


def _effect_notes(effects: Sequence[Effect]) -> list[str]:
    """Each note once, with the effects that it belongs to."""
    of_note: dict[str, list[str]] = {}
    for one in effects:
        for part in filter(None, one.note.split("; ")):
            of_note.setdefault(part, []).append(one.label)
    return [f"{', '.join(labels)}: {note}" for note, labels in of_note.items()]


def side_text(side: Named) -> str:
    """Return a side's name with its seeds, error and weights."""
    known = [str(seed) for seed in side.seeds if seed is not None]
    parts = [f"seed {', '.join(known)}"] if known else []
    parts += [f"MSE {side.mse:.4f}"] if side.mse is not None else []
    parts += [f"dynamics {digest[:12]}" for one in side.weights if (digest := one.get("dynamics"))]
    return f"{side.name} ({'; '.join(parts)})" if parts else side.name


def _row(one: Effect) -> tuple[str, ...]:
    if one.a is None or one.b is None or one.change is None:
        return (one.label, "", "", "", "", one.verdict)
    known = one.low is not None and one.high is not None
    interval = f"{amount_text(one, one.low or 0.0)} to {amount_text(one, one.high or 0.0)}" if known else ""
    values = (value_text(one, value) for value in (one.a, one.b))
    return (one.label, *values, amount_text(one, one.change), interval, one.verdict)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
