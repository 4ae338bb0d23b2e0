"""For `pytest -n`: fixtures that only one worker makes, and an order of tests that starts with the long files."""

from __future__ import annotations

import fcntl
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Made = TypeVar("Made")

LONGEST_FIRST = (
    "tests/loop/test_verdict_again.py",
    "tests/faults/test_interrupted_sessions.py",
    "tests/faults/test_devices.py",
    "tests/faults/test_hangs.py",
    "tests/loop/test_pytest_options.py",
    "tests/loop/test_given_checkpoints.py",
    "tests/faults/test_resume.py",
    "tests/unit/reference/training/test_resume.py",
    "tests/unit/power/test_power.py",
    "tests/faults/test_disk.py",
    "tests/loop/test_custom_conditions.py",
    "tests/unit/stages/test_checkout_chunks.py",
    "tests/loop/test_resume_unfinished.py",
    "tests/unit/gate/measures/test_objects.py",
    "tests/faults/test_artifacts_kills.py",
    "tests/loop/test_two_nodes.py",
    "tests/mutants/test_mutants.py",
    "tests/unit/launch/test_chunk.py",
    "tests/unit/reference/training/test_fsdp.py",
    "tests/faults/test_environment.py",
    "tests/unit/checkpoints/test_kills.py",
    "tests/loop/test_bad_input.py",
    "tests/unit/cli/test_score_sweep.py",
    "tests/faults/test_processes.py",
)
"""Files that take long, the longest first; a long file that begins last would hold one worker alone at the end.

The first file makes the passing loop; those after it need none, so that no worker waits for it.
"""


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """Return the result of ``make(folder)``, called once a session for all workers; no test may change it.

    The first worker calls it, in a folder that all share; the others wait and read its result, which must be picklable.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    kept = base / f"{name}.pickle"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            made = make(Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base)))
            kept.write_bytes(pickle.dumps(made))
        result: Made = pickle.loads(kept.read_bytes())
    return result


def longest_first(items: list[pytest.Item]) -> None:
    """Put the tests of the long files before the others; inside a file the order stays."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))
