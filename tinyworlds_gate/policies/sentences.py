"""What the ranking of policies shows, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sentences(record: Mapping[str, Any]) -> list[str]:
    """Return a few sentences on the record of `compare_returns`."""
    rows, reader, ends = record["policies"], record["reader"], record["spearman_interval"]
    states = f"{record['starts']} states in {record['episodes']} episodes"
    if record["no_difference"]:
        found = [
            f"In {record['no_difference']} all {len(rows)} policies have the same return from {states}, so that there "
            "is no order to compare; the Spearman correlation counts as 0."
        ]
    else:
        interval = "" if ends is None else f" (95 % interval {ends[0]:.2f} to {ends[1]:.2f})"
        best, made = (max(rows, key=lambda row: row[key]) for key in ("game", "model"))
        found = [
            f"The model ranks {len(rows)} policies as the game does with a Spearman correlation of "
            f"{record['spearman']:.2f}{interval}, from {states}.",
            f"Best in the game: {best['policy']} ({best['game']:.2f}). Best in the model: {made['policy']} "
            f"({made['model']:.2f}).",
        ]
    found.append(
        f"The return in the model is read from its frames ({reader['meaning']}); the return in the game is its own "
        f"score ({reader['score']}). On true frames the reader equals the score in {100 * reader['equal']:.0f} % of "
        f"the games and ranks the policies with {reader['spearman']:.2f}."
    )
    if record["reliability"] is not None:
        found.append(
            f"Two halves of the episodes of the true game rank the policies alike with {record['reliability']:.2f}."
        )
    actions = record["codes"]["actions"]
    named = ", ".join(f"{one['action']} → {one['code']} ({100 * one['share']:.0f} %)" for one in actions)
    shared = len({one["code"] for one in actions}) < len(actions)
    found.append(
        f"Codes of the actions, with their share of the action's transitions: {named}."
        + (" Actions with the same code are one action in the model." if shared else "")
    )
    return found
