"""A sample of the sweep of `make crash-points`, and the sweep's own power to find what it looks for.

pytest tests/crash_points
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.crash_points.shim import FAULTS
from tests.crash_points.subject import Acknowledge, State, Subject, nothing
from tests.crash_points.subjects import SUBJECTS
from tests.crash_points.sweep import sweep

EVERY = {"reports": 60, "data hold-out": 60, "data make": 12}
"""Of these each n-th case is in the sample, of the others each eighth."""


@pytest.mark.requirement("S4", "H7")
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda one: one.name)
def test_a_fault_at_any_change_of_the_disk_tears_and_loses_nothing(subject: Subject) -> None:
    counts = sweep(subject, resumes=0, every=EVERY.get(subject.name, 8))
    assert counts.problems == []
    assert counts.cases.total() >= 6


@pytest.mark.slow
@pytest.mark.requirement("S4", "H7")
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda one: one.name)
def test_a_second_fault_during_the_rerun_tears_and_loses_nothing(subject: Subject) -> None:
    assert sweep(subject, resumes=2, every=5).problems == []


# Writers that are known to be wrong: the sweep must find each.

TEXT = "x" * 100


def _in_place(folder: Path, acknowledge: Acknowledge) -> None:
    (folder / "file").write_text(TEXT)
    acknowledge("written")


def _rename_unsynced(folder: Path, acknowledge: Acknowledge) -> None:
    (folder / "part").write_text(TEXT)
    os.replace(folder / "part", folder / "file")
    acknowledge("written")


def _refuse_what_exists(folder: Path, acknowledge: Acknowledge) -> None:
    (folder / "lock").mkdir()
    _rename_unsynced(folder, acknowledge)


def _check(folder: Path, acknowledged: Sequence[str], state: State) -> list[str]:
    path = folder / "file"
    if not path.exists():
        return ["lost"] if acknowledged else []
    return [] if path.read_text() == TEXT else ["torn file accepted"]


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (_in_place, "torn tail at write file (1): torn file accepted"),
        (_rename_unsynced, "power loss at the end (3): torn file accepted"),
        (_refuse_what_exists, "the rerun does not go on by itself"),
    ],
)
def test_the_sweep_finds_a_writer_that_is_wrong(act: Callable[[Path, Acknowledge], None], said: str) -> None:
    counts = sweep(Subject("wrong", nothing, act, _check), resumes=0)
    assert {fault for _, fault in counts.cases} == set(FAULTS)
    assert any(said in one for one in counts.problems)
