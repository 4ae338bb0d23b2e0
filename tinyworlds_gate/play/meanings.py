"""What each action code does, learned from training frames; and the keys that select the codes.

The models give the codes no names. For transitions of training frames, the latent-action model infers a code, and the
file records what really happened: the true action, or else how the view moved. The most frequent of these is the
meaning of a code if it is frequent enough (`is_clear`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWER_OTHERS = 0.5
"""Other actions than its meaning have at most this many times the share, among a code's transitions, that they have in
all transitions; so a meaning has at least half of the transitions."""
FEW = 20
"""Transitions of a code below which its meaning is unclear."""
MOTIONS = ("no motion", "view moves left", "view moves right", "view moves up", "view moves down")
"""Where the camera goes: the picture itself moves the other way."""

IDLE = ("nothing", "noop", "no motion")
KEYS = {
    **dict.fromkeys(("left", "turn left", "view moves left"), ("ArrowLeft", "a")),
    **dict.fromkeys(("right", "turn right", "view moves right"), ("ArrowRight", "d")),
    **dict.fromkeys(("up", "forward", "view moves up"), ("ArrowUp", "w")),
    **dict.fromkeys(("down", "view moves down"), ("ArrowDown", "s")),
    **dict.fromkeys(("do", "shoot", "toggle"), (" ",)),
}
"""Meaning → its keys, by the names of the browser's `KeyboardEvent.key`."""
PLAIN_KEYS = "0123456789fghjkluioyzxvb"
"""Key of each code, in order; the other letters drive or control the page."""


@dataclass(frozen=True)
class Meaning:
    """What the transitions of one code have in common."""

    code: int
    action: int | None
    """The most frequent action; None for a code that the training frames do not have."""
    name: str
    share: float
    seen: int
    clear: bool

    @property
    def text(self) -> str:
        """Return `right 82 %`, `unclear (right 34 %)` or `not in the training frames`."""
        if self.action is None:
            return "not in the training frames"
        share = f"{self.name} {100 * self.share:.0f} %"
        return share if self.clear else f"unclear ({share})"


def is_clear(share: float, share_of_all: float, seen: int) -> bool:
    """Whether an action is the meaning of a code.

    ``share`` is that of the action among the ``seen`` transitions of the code, ``share_of_all`` among all transitions.
    """
    return seen >= FEW and 1 - share <= FEWER_OTHERS * (1 - share_of_all)


def meanings(codes: np.ndarray, actions: np.ndarray, names: Sequence[str], n_actions: int) -> list[Meaning]:
    """Return the meaning of each code, from the code and the action of each transition, both int [N]."""
    counts = np.zeros((n_actions, len(names)), np.int64)
    np.add.at(counts, (codes, actions), 1)
    of_all = counts.sum(axis=0) / max(1, counts.sum())
    found = []
    for code, row in enumerate(counts):
        seen, most = int(row.sum()), int(row.argmax())
        if not seen:
            found.append(Meaning(code, None, "", 0.0, 0, clear=False))
            continue
        share = float(row[most] / seen)
        clear = is_clear(share, float(of_all[most]), seen)
        found.append(Meaning(code, most, names[most], share, seen, clear))
    return found


def keys_of_codes(found: Sequence[Meaning]) -> list[list[str]]:
    """Return the keys of each code: one of its own, and those of `KEYS` for a clear meaning.

    Where several codes mean the same, the one with the largest share has them.
    """
    keys = [[PLAIN_KEYS[one.code]] if one.code < len(PLAIN_KEYS) else [] for one in found]
    taken: set[str] = set()
    for one in sorted((one for one in found if one.clear and one.name in KEYS), key=lambda one: -one.share):
        if taken.isdisjoint(KEYS[one.name]):
            taken.update(KEYS[one.name])
            keys[one.code] += KEYS[one.name]
    return keys


def idle_code(found: Sequence[Meaning]) -> int:
    """Return the code to take while no key is down: the clearest that means nothing, else the most frequent one."""
    idle = [one for one in found if one.clear and one.name in IDLE]
    return max(idle, key=lambda one: one.share).code if idle else max(found, key=lambda one: one.seen).code
