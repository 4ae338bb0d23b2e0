"""SIGKILL at every write, fsync, rename and removal on a checkpoint's way.

pytest tests/unit/checkpoints/test_kills.py


Each way of killing runs the writer once to its end and lists its boundaries, then once for each of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest

from tests.helpers import killed_writers as writers
from tests.helpers.checkpoint_files import names_in
from tests.helpers.killed_writers import Boundary, Job
from tests.helpers.required_tools import without
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.resolve import newest_of_run, resolve_checkpoint
from tinyworlds_gate.checkpoints.retention import gated_checkpoints

STAGE, RUN, KEEP = "video_tokenizer", "run_1", 2
OLDEST, EARLIER, NEW, NEXT = 1, 3, 5, 7
FILES = ("model_state_dict.pt", "optim_state_dict.pt", "state.pt", "manifest.json")
PHASES = ("writing the files", "before the manifest", "before the rename", "before the parent's fsync", "pruning")
GATING = "recording the gate"


def name(step: int) -> str:
    return f"{STAGE}_step_{step}"


def job(parent: Path, step: int) -> Job:
    return Job(parent, STAGE, step, KEEP, RUN)


@dataclass(frozen=True)
class Way:
    """One way of killing: what the writer went through uncut, and how to cut it at one boundary."""

    boundaries: Sequence[Boundary]
    kill: Callable[[Job, Path, int], tuple[int | None, Sequence[Boundary]]]

    def phase(self, index: int) -> str:
        """In which part of the way a boundary lies."""
        ends = (
            self.first("write", "manifest.json"),
            self.first("fsync", f".{name(NEW)}.tmp-"),
            self.first("rename", f".{name(NEW)}.tmp-") + 1,
            self.first("rename", f".{name(NEW)}.tmp-") + 2,
            next(i for i, one in enumerate(self.boundaries) if ".gated-stage.part" in one.names),
        )
        return next((phase for phase, end in zip(PHASES, ends, strict=True) if index < end), GATING)

    def first(self, kind: str, start: str) -> int:
        """The first boundary of a kind whose first name starts so."""
        found = (i for i, one in enumerate(self.boundaries) if one.kind == kind and one.names[0].startswith(start))
        return next(found)


def by_strace(folder: Path) -> Way:
    if writers.strace() is None:
        without("strace", "strace is not installed or may not attach; the wrapped writer shows the same boundaries")
    earlier_checkpoints(folder)
    log = folder / "strace.log"
    assert writers.run_traced(job(folder / "checkpoints", NEW), log) == 0
    boundaries = writers.traced_boundaries(log)

    def kill(one: Job, log: Path, index: int) -> tuple[int | None, Sequence[Boundary]]:
        call = boundaries[index].call
        ordinal = sum(before.call == call for before in boundaries[: index + 1])
        return writers.run_traced(one, log, (call, ordinal)), writers.traced_boundaries(log)

    return Way(boundaries, kill)


def by_its_own_hand(folder: Path) -> Way:
    earlier_checkpoints(folder)
    log = folder / "wrapped.log"
    assert writers.run_wrapped(job(folder / "checkpoints", NEW), log) == 0

    def kill(one: Job, log: Path, index: int) -> tuple[int | None, Sequence[Boundary]]:
        return writers.run_wrapped(one, log, index), writers.wrapped_boundaries(log)

    return Way(writers.wrapped_boundaries(log), kill)


def earlier_checkpoints(folder: Path) -> None:
    for step in (OLDEST, EARLIER):
        job(folder / "checkpoints", step).do()


@pytest.fixture(scope="module", params=[by_strace, by_its_own_hand], ids=["strace", "wrapped"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Way:
    prepare: Callable[[Path], Way] = request.param
    return prepare(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    earlier_checkpoints(folder)
    return folder / "checkpoints"


def content(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def require_nothing_lost(parent: Path, earlier: Path, *, is_renamed: bool, is_pruning: bool) -> None:
    """What a reader finds right after the kill."""
    assert content(parent / name(EARLIER)) == content(earlier / name(EARLIER))
    listed = {step for step in (OLDEST, EARLIER, NEW) if (parent / name(step)).exists()}
    assert listed - {OLDEST} == ({EARLIER, NEW} if is_renamed else {EARLIER})
    if OLDEST in listed:
        assert content(parent / name(OLDEST)) == content(earlier / name(OLDEST))
    assert OLDEST in listed or is_pruning, "an old one is removed only once the new one is verified"
    found = resolve_checkpoint(parent, STAGE)
    assert found.step == (NEW if is_renamed else EARLIER)
    assert newest_of_run(parent, STAGE, run=RUN) == (found, ())
    assert gated_checkpoints(parent)["stage"].name in (name(EARLIER), name(NEW))


@pytest.mark.requirement("S4")
@pytest.mark.parametrize(
    "phase",
    [
        pytest.param(PHASES[0], marks=pytest.mark.fault("kill-writing-files", no_scene="a writer without a run")),
        pytest.param(PHASES[1], marks=pytest.mark.fault("kill-before-manifest", no_scene="a writer without a run")),
        pytest.param(PHASES[2], marks=pytest.mark.fault("kill-before-rename", no_scene="a writer without a run")),
        pytest.param(PHASES[3], marks=pytest.mark.fault("kill-before-parent-sync", no_scene="a writer without a run")),
        pytest.param(PHASES[4], marks=pytest.mark.fault("kill-pruning", no_scene="a writer without a run")),
        GATING,
    ],
)
def test_a_kill_loses_nothing_and_the_next_write_succeeds_and_cleans_up(
    phase: str, way: Way, earlier: Path, tmp_path: Path
) -> None:
    indices = [index for index in range(len(way.boundaries)) if way.phase(index) == phase]
    assert indices, "each phase has a boundary"
    for index in indices:
        parent = tmp_path / str(index)
        shutil.copytree(earlier, parent)
        code, reached = way.kill(job(parent, NEW), tmp_path / f"{index}.log", index)
        assert code == -9, f"the writer was not killed at {way.boundaries[index]}"
        assert reached[-1].call == way.boundaries[index].call
        assert len(reached) == index + 1

        order = (*PHASES, GATING)
        is_renamed = order.index(phase) >= order.index("before the parent's fsync")
        is_pruning = order.index(phase) >= order.index("pruning")
        require_nothing_lost(parent, earlier, is_renamed=is_renamed, is_pruning=is_pruning)

        step, gated = NEXT if is_renamed else NEW, gated_checkpoints(parent)["stage"].name
        job(parent, step).do()
        kept = {gated, name(NEW if is_renamed else EARLIER), name(step)}
        assert names_in(parent) == [".gated-stage", *sorted(kept)]
        assert verify_checkpoint(parent / name(step)).step == step


@pytest.mark.requirement("S4")
def test_files_are_on_the_disk_before_the_manifest_the_folder_before_the_rename_and_the_parent_after_it(
    way: Way,
) -> None:
    boundaries = [one for one in way.boundaries if one.call != "write-half"]
    steps = [(one.kind, one.names[0]) for one in boundaries]
    folder = next(names for kind, names in steps if kind == "make" and names.startswith(f".{name(NEW)}.tmp-"))
    begin = steps.index(("make", folder))
    for earlier, later in pairwise(FILES):
        synced, written = steps.index(("fsync", earlier)), steps.index(("write", later))
        assert begin < synced < written, f"{earlier} is on the disk before {later} is begun"
        assert ("write", earlier) not in steps[synced:], f"nothing is written to {earlier} after its fsync"
    rename = steps.index(("rename", folder))
    assert boundaries[rename].names == (folder, name(NEW))
    assert steps[rename - 2 : rename + 2] == [
        ("fsync", "manifest.json"),
        ("fsync", folder),
        ("rename", folder),
        ("fsync", "checkpoints"),
    ]
    assert steps[rename + 2 : rename + 4] == [("rename", name(OLDEST)), ("fsync", "checkpoints")]
    assert {kind for kind, _ in steps[rename + 4 : rename + 9]} == {"remove"}
