"""Defects that enter inside the inference process: in its rollout, its clips, its measures, its log, its files.

A broken checkout is a script that breaks one thing and then runs the real inference run:

    from tinyworlds_gate.power.broken import run
    run("copy-last")
"""

from __future__ import annotations

from importlib import import_module

from tinyworlds_gate.power.broken.registry import BROKEN, Broken

PARTS = ("rollouts", "clips", "measures", "log", "ending")
"""Each fills the registry when it is imported."""


def run(name: str) -> None:
    """Run the inference run with one thing broken.

    Raises:
        KeyError: no defect has that name.
    """
    from tinyworlds_gate.reference.rollout.inference import main

    with broken_things()[name]():
        main()


def broken_things() -> dict[str, Broken]:
    """Name → what breaks it, of all parts."""
    for part in PARTS:
        import_module(f"{__name__}.{part}")
    return BROKEN
