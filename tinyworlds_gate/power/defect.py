"""One defect: what is wrong, how it enters, and the check that must catch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Way = Literal["weights", "files", "data", "rollout", "child", "frames", "afterwards"]
"""Where a defect enters; never through a field that the verdict reads."""


@dataclass(frozen=True)
class Defect:
    """A defect of docs/gate-power.md.

    ``check`` is the condition that must catch it: without that condition the defect must not be caught.
    ``expected_reason`` is a regular expression that the verdict's sentence must match. ``project`` changes files before
    the inference run (its argument is the project's folder), ``in_child`` names what is broken inside the inference
    process (`broken/`), and with ``everywhere`` inside the probe process too, as a model or code that is bad by itself;
    ``afterwards`` changes files after a PASS. ``fault`` names what is wrong with the frames of a perfect simulator
    (`object_world.py`), which `tinyworlds-gate score --frames` judges.
    """

    id: str
    what: str
    way: Way
    verdict: Literal["FAIL", "INVALID"]
    check: str
    expected_reason: str
    project: Callable[[Path], None] | None = None
    in_child: str | None = None
    everywhere: bool = False
    afterwards: Callable[[Path], None] | None = None
    fault: str | None = None
