"""Defects of small moving objects, in frames of a perfect simulator that satisfy every limit on errors (G6)."""

from __future__ import annotations

from tinyworlds_gate.power.defect import Defect

WHAT = {
    "missing": ("the balls are not generated", "1[0-9]{3} are missing"),
    "one-kind-missing": ("the balls of one colour are not generated", "[0-9]+ are missing"),
    "frozen": ("the balls stay where the context left them", "[0-9]+ are missing, [0-9]+ are elsewhere"),
    "recoloured": ("all balls are green", "are replaced by something else"),
    "kinds-swapped": ("the two colours of balls are swapped", "are replaced by something else"),
    "near-colours-swapped": ("red and orange balls are swapped", "are replaced by something else"),
    "faint-phantoms": (
        "two more balls of a third of the contrast",
        "are generated where the true frames show nothing like them",
    ),
    "duplicated": ("each ball is generated twice", "times something stands where the true frames show nothing like it"),
    "shifted": ("each ball is generated 9 px away", "are elsewhere"),
    "shrunk": ("the balls are 2 px large instead of 5", "are missing"),
    "two-frames-late": ("the balls are generated where they were two frames ago", "are elsewhere"),
    "gone-at-the-edge": ("the balls vanish where they would turn", "objects that turn .* 0 of [0-9]+ are found"),
    "stuck-at-the-edge": ("the balls stay where they would turn", "objects that turn .* [0-9] of [0-9]+ are found"),
    "gone-in-one-step": ("the balls of one colour vanish for one step", "in step 5: 0 % of [0-9]+ found"),
    "missing-in-the-dark": ("the balls are not generated, and all levels are a sixth", "1[0-9]{3} are missing"),
    "never-vanishes": ("a ball of every second clip never vanishes", "that vanish: [0-9]+ of [0-9]+ are found"),
    "never-recoloured": (
        "a ball of every second clip never turns green",
        "that change colour: [0-9]+ of [0-9]+ are",
    ),
    "gone-at-the-left": ("the balls of one colour vanish in the left eighth", "in columns 0 to 7 and .* found"),
    "stripes-missing": (
        "a striped thing on checks of the same greys is not generated",
        "fine texture only .* found",
    ),
    "stripes-frozen": ("a striped thing on checks of the same greys stays", "fine texture only .* found"),
}
OBJECTS = tuple(
    Defect(f"balls-{fault}", what, "frames", "FAIL", "G6", f"objects: .*{reason}", fault=fault)
    for fault, (what, reason) in WHAT.items()
)
