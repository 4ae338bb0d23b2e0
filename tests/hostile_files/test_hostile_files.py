"""No broken or hostile file causes a traceback, a hang, a crash or a call of its code.

pytest tests/hostile_files; every input: python -m tests.hostile_files
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hostile_files.__main__ import checkpoints, hdf5_files
from tests.hostile_files.case import Case
from tests.hostile_files.content_cases import checkpoint_cases
from tests.hostile_files.hdf5_cases import hdf5_cases
from tests.hostile_files.readers import CHECKPOINT_READERS, HDF5_READERS
from tests.hostile_files.run_cases import FAILURES, run_cases
from tinyworlds_gate.reference.data import hdf5_input

EVERY_CHECKPOINT, EVERY_HDF5 = 47, 41
"""Of all inputs each n-th is in the sample; prime, so that each kind is."""


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_input, "TIMEOUT_S", 5.0)


@pytest.mark.requirement("S4")
def test_a_sample_of_hostile_checkpoints_is_read_or_refused_with_a_sentence() -> None:
    assert checkpoints(0, EVERY_CHECKPOINT).problems == []


def test_a_sample_of_hostile_hdf5_files_is_read_or_refused_with_a_sentence() -> None:
    assert hdf5_files(0, EVERY_HDF5).problems == []


@pytest.mark.slow
@pytest.mark.requirement("S4")
def test_every_hostile_checkpoint_is_read_or_refused_with_a_sentence() -> None:
    outcome = checkpoints()
    assert outcome.problems == []
    assert outcome.inputs >= 180
    assert len(outcome.kinds) >= 15


@pytest.mark.slow
def test_every_hostile_hdf5_file_is_read_or_refused_with_a_sentence() -> None:
    outcome = hdf5_files()
    assert outcome.problems == []
    assert outcome.inputs >= 228


def test_whole_files_are_accepted() -> None:
    whole = [case for case in (*checkpoint_cases(), *hdf5_cases()) if case.kind == "whole"]
    for reader, cases in ((CHECKPOINT_READERS, whole[:2]), (HDF5_READERS, whole[2:])):
        assert run_cases(cases, reader, first_decides=reader is CHECKPOINT_READERS).counts == {"accepted": len(cases)}


# Readers that are known to be wrong: the run must find each.


def _hang(path: Path) -> None:
    while True:
        os.getpid()


def _die(path: Path) -> None:
    os.kill(os.getpid(), 11)


def _fill(path: Path) -> None:
    _KEPT.append(b"x" * 10**9)


def _raise(path: Path) -> None:
    raise KeyError(path)


def _execute(path: Path) -> None:
    (path / "executed").touch()


_KEPT: list[bytes] = []


@pytest.mark.parametrize(
    ("reader", "found"),
    [
        (_hang, "hang"),
        (_die, "crash"),
        (_fill, "memory"),
        (_raise, "traceback"),
        (_execute, "ran code"),
        (len, "traceback"),
        (str, "accepted what must be refused"),
    ],
)
def test_the_run_finds_a_reader_that_is_wrong(
    reader: Callable[[Path], object], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reader is _hang:
        monkeypatch.setattr("tests.hostile_files.run_cases.SECONDS", 1)
    case = Case("x", "y", lambda folder: folder, must_refuse=True)
    outcome = run_cases(iter([case]), [reader])
    assert found in FAILURES
    assert outcome.counts == {found: 1}
    assert outcome.problems[0].startswith(f"x: y: {found}")


def test_the_inputs_are_the_same_each_time(tmp_path: Path) -> None:
    def contents(cases: Iterator[Case], name: str) -> Iterator[bytes]:
        for number, case in enumerate([*cases][::151]):
            folder = tmp_path / name / str(number)
            folder.mkdir(parents=True)
            path = case.make(folder)
            if case.kind not in ("calls", "names"):  # whose contents name the folder
                files = sorted(path.iterdir()) if path.is_dir() else [path]
                yield from (file.read_bytes() for file in files if file.is_file())

    for cases in (checkpoint_cases, hdf5_cases):
        first, second = ([*contents(cases(), f"{cases.__name__}{number}")] for number in (1, 2))
        assert first == second
        assert len(first) > 2
