"""Defects inside the inference process: rollout, clips, measurements, log and files.

A script breaks one thing and then runs the real inference:

    from tinyworlds_gate.power.broken import run
    run("copy-last")
"""

from __future__ import annotations

from importlib import import_module

from tinyworlds_gate.power.broken.registry import BROKEN, Broken

PARTS = ("rollouts", "clips", "measures", "output", "statements", "probes", "poor_models")
"""Modules that register their defects on import."""


def run(name: str) -> None:
    """Run inference with one defect.

    Raises:
        KeyError: no defect has that name.
    """
    from tinyworlds_gate.reference.rollout.inference import main

    with broken_things()[name]():
        main()


def run_probe(name: str) -> None:
    """Run the probe of the inference gate with one defect.

    Raises:
        KeyError: no defect has that name.
    """
    from tinyworlds_gate.reference.rollout.probe import main

    with broken_things()[name]():
        main()


def broken_things() -> dict[str, Broken]:
    """Return name → context manager of every defect."""
    for part in PARTS:
        import_module(f"{__name__}.{part}")
    return BROKEN
