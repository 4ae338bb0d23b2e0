"""Which action code stands for a true action, learned from training clips.

The latent-action model infers a code for each transition of training clips, and the file records the true action. An
action's code is the one that occurs most often with it, compared with how often that code occurs at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.information import normalised_information

LEAST_SEEN = 20
"""Transitions of an action below which nothing is said of its code."""
OWN_LIFT = 1.5
"""A code belongs to an action if it is so many times as frequent with it as in all transitions."""


@dataclass(frozen=True)
class ActionCodes:
    """Counts of codes and actions in training clips, int64 [codes, actions], and the code of each action."""

    names: tuple[str, ...]
    counts: np.ndarray

    @property
    def codes(self) -> np.ndarray:
        """The code of each action, int64 [A]: where action and code are most dependent (the signed chi-square term)."""
        total = max(int(self.counts.sum()), 1)
        expected = self.counts.sum(axis=1, keepdims=True) * self.counts.sum(axis=0, keepdims=True) / total
        dependence = (self.counts - expected) / np.sqrt(np.maximum(expected, 1e-9))
        chosen: np.ndarray = dependence.argmax(axis=0)
        return chosen

    def share(self, action: int) -> float:
        """Return the share of the action's transitions that have its code."""
        seen = int(self.counts[:, action].sum())
        return float(self.counts[self.codes[action], action] / seen) if seen else 0.0

    def is_own(self, action: int) -> bool:
        """Whether the action's code is clearly more frequent with it than in all transitions."""
        if self.counts[:, action].sum() < LEAST_SEEN:
            return False
        of_all = self.counts[self.codes[action]].sum() / self.counts.sum()
        return bool(self.share(action) >= OWN_LIFT * of_all)

    @property
    def information(self) -> float:
        """I(code; action) / H(action); 0 where one action is all there is."""
        code, action = np.nonzero(self.counts)
        times = self.counts[code, action]
        known = normalised_information(np.repeat(code, times)[None], np.repeat(action, times)[None])
        return float(known) if known is not None and np.isfinite(known) else 0.0

    def record(self) -> dict[str, Any]:
        """Return plain data for the record of a measurement."""
        return {
            "transitions": int(self.counts.sum()),
            "information": self.information,
            "actions": [
                {
                    "action": name,
                    "code": int(self.codes[number]),
                    "share": self.share(number),
                    "seen": int(self.counts[:, number].sum()),
                    "own": self.is_own(number),
                }
                for number, name in enumerate(self.names)
            ],
        }


def action_codes(codes: np.ndarray, actions: np.ndarray, names: Sequence[str], n_actions: int) -> ActionCodes:
    """Return the counts of transitions, from the code and the true action of each, both int [N]."""
    counts = np.zeros((n_actions, len(names)), np.int64)
    np.add.at(counts, (codes, actions), 1)
    return ActionCodes(tuple(names), counts)
