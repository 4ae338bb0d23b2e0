"""Temporary folders of living and dead writers. ``pytest tests/unit/checkpoints/test_unfinished.py``"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.checkpoint_files import names_in, optimizer_state, write_ours
from tests.helpers.required_tools import without
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.plain import tensor_bytes
from tinyworlds_gate.checkpoints.unfinished import remove_leftovers
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.run.disk import full_disk
from tinyworlds_gate.run.unfinished import UnfinishedFolder

STAGE = "dynamics"

WRITER = """
import sys
from pathlib import Path
from tinyworlds_gate.checkpoints.plain import tensor_bytes
from tinyworlds_gate.run.unfinished import UnfinishedFolder

final = Path(sys.argv[1])
with UnfinishedFolder(final) as folder:
    (folder / "model_state_dict.pt").write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.readline()
    folder.rename(final)
print("done", flush=True)
"""

CLEANER = """
import sys
from pathlib import Path
from tinyworlds_gate.checkpoints.plain import tensor_bytes
from tinyworlds_gate.checkpoints.unfinished import remove_leftovers

print("cleaning", flush=True)
while not Path(sys.argv[1], "stop").exists():
    remove_leftovers(Path(sys.argv[1]), "dynamics")
"""


@contextmanager
def process(program: str, *arguments: Path) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            assert child.stdout is not None
            child.stdout.readline()  # it has begun
            yield child
        finally:
            child.kill()


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_next_write_removes_what_a_dead_writer_left(number: signal.Signals, tmp_path: Path) -> None:
    with process(WRITER, tmp_path / "dynamics_step_4") as writer:
        (left,) = names_in(tmp_path)
        writer.send_signal(number)
        writer.wait(10)
    assert names_in(tmp_path) == [left]
    assert str(writer.pid) in left
    ref = write_ours(tmp_path, STAGE, 4)
    assert names_in(tmp_path) == ["dynamics_step_4"]
    assert verify_checkpoint(ref.path) == ref


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("stopped", [False, True])
def test_what_a_living_writer_has_begun_stays(stopped: bool, tmp_path: Path) -> None:
    with process(WRITER, tmp_path / "dynamics_step_4") as writer:
        (begun,) = names_in(tmp_path)
        if stopped:
            writer.send_signal(signal.SIGSTOP)
        write_ours(tmp_path, STAGE, 5)
        assert names_in(tmp_path) == [begun, "dynamics_step_5"]
        writer.send_signal(signal.SIGCONT)
        output, _ = writer.communicate("\n", timeout=10)
    assert output == "done\n"
    assert names_in(tmp_path) == ["dynamics_step_4", "dynamics_step_5"]


def test_an_exception_while_writing_leaves_no_folder(tmp_path: Path) -> None:
    def fail() -> None:
        with UnfinishedFolder(tmp_path / "dynamics_step_4") as folder:
            (folder / "file").touch()
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert names_in(tmp_path) == []


def test_only_folders_that_a_writer_of_this_stage_named_are_removed(tmp_path: Path) -> None:
    ours = [".dynamics_step_3.tmp-77-0123abcd", ".pruned-dynamics_step_2"]
    theirs = [
        ".dynamics_step_3.tmp-77-0123abcd.kept",
        ".dynamics_step_3.tmp-me-0123abcd",
        ".dynamics_step_3.tmp-77-xyz",
        ".latent_actions_step_3.tmp-77-0123abcd",
        ".pruned-latent_actions_step_2",
        ".pruned-mine",
        ".rejected-dynamics_step_3-1",
        ".superseded-dynamics_step_3-1",
        "dynamics_step_3.tmp-77-0123abcd",
    ]
    for name in (*ours, *theirs):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (tmp_path / ".pruned-dynamics_step_8").symlink_to(elsewhere)
    (tmp_path / ".dynamics_step_8.tmp-77-0123abcd").symlink_to(elsewhere)
    (tmp_path / ".dynamics_step_9.tmp-77-0123abcd").write_text("a file")
    before = names_in(tmp_path)
    assert [path.name for path in remove_leftovers(tmp_path, STAGE)] == ours
    assert names_in(tmp_path) == sorted(set(before) - set(ours))
    assert names_in(elsewhere) == ["precious"]


def test_a_leftover_that_cannot_be_removed_does_not_stop_the_write(tmp_path: Path) -> None:
    """A folder that is a mount point or another user's; here one whose removal the kernel refuses."""
    left = tmp_path / ".dynamics_step_3.tmp-77-0123abcd"
    left.mkdir()
    (left / "file").touch()
    if os.getuid() == 0:
        if subprocess.run(["chattr", "+i", str(left / "file")], capture_output=True, check=False).returncode != 0:
            without("immutable-files", "root can remove anything here: this file system has no immutable files")
    else:
        left.chmod(0o500)
    try:
        ref = write_ours(tmp_path, STAGE, 4)
        assert names_in(tmp_path) == [left.name, "dynamics_step_4"]
        assert verify_checkpoint(ref.path) == ref
    finally:
        if os.getuid() == 0:
            subprocess.run(["chattr", "-i", str(left / "file")], check=True)
        else:
            left.chmod(0o700)


def test_a_file_system_without_locks_is_written_to_and_its_leftovers_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    left = tmp_path / ".dynamics_step_3.tmp-77-0123abcd"
    left.mkdir()
    ref = write_ours(tmp_path, STAGE, 4)
    assert verify_checkpoint(ref.path) == ref
    assert names_in(tmp_path) == [left.name, "dynamics_step_4"]


def test_a_folder_that_another_writer_holds_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making the folder and locking it, another writer may lock it, to remove it as a leftover."""
    make = Path.mkdir
    held: list[int] = []

    def make_and_hold(self: Path, *arguments: Any, **keywords: Any) -> None:
        make(self, *arguments, **keywords)
        if len(held) < limit:
            held.append(os.open(self, os.O_RDONLY))
            fcntl.flock(held[-1], fcntl.LOCK_EX)

    monkeypatch.setattr(Path, "mkdir", make_and_hold)
    limit = 2
    with UnfinishedFolder(tmp_path / "dynamics_step_4") as folder:
        taken = [one for one in tmp_path.iterdir() if one.samefile(folder)]
    assert (len(held), len(taken)) == (2, 1)
    limit = 10**9
    with pytest.raises(OSError, match="temporary folders beside dynamics_step_4 vanish while they are made"):
        UnfinishedFolder(tmp_path / "dynamics_step_4").__enter__()
    for descriptor in held:
        os.close(descriptor)


@pytest.mark.requirement("S4")
def test_a_writer_is_not_disturbed_by_one_that_cleans_all_the_time(tmp_path: Path) -> None:
    with process(CLEANER, tmp_path) as cleaner:
        for number in range(300):
            final = tmp_path / f"dynamics_step_{number}"
            with UnfinishedFolder(final) as folder:
                (folder / "file").write_text("whole")
                folder.rename(final)
            assert (final / "file").read_text() == "whole"
        assert cleaner.poll() is None
        (tmp_path / "stop").touch()
        assert cleaner.wait(10) == 0


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("where", ["model_state", "optim_state"])
def test_a_checkpoint_that_cannot_fit_is_refused_before_anything_is_written(where: str, tmp_path: Path) -> None:
    """A view of one number as a tensor of 4 PiB: saved, it would take all of that."""
    earlier = write_ours(tmp_path, STAGE, 3)
    contents = {"model_state": {"output_mlp.weight": torch.ones(2, 2)}, "optim_state": optimizer_state()}
    contents[where] = {"huge": torch.zeros(1).expand(2**50)}
    with pytest.raises(
        CheckpointError,
        match=r"was not written: No space left on device: a checkpoint takes 4194304\.0 GiB, and [\d.]+ [GM]iB are "
        r"free on the disk of .*\. Earlier checkpoints are untouched; free space",
    ) as refusal:
        write_checkpoint(tmp_path, STAGE, 4, state={}, **contents)
    assert names_in(tmp_path) == ["dynamics_step_3"]
    assert verify_checkpoint(earlier.path) == earlier
    assert full_disk(f"[{STAGE}] error: {refusal.value}", []) is not None, "the loop stops, and does not retune"


def test_the_room_that_tensors_take_is_never_counted_too_high() -> None:
    shared = torch.zeros(1000)
    assert tensor_bytes({"a": shared, "b": [shared, (shared.view(10, 100),)]}) == 4000, "saved once"
    assert tensor_bytes([shared[:10], shared[:10], 3, "text", None]) == 80, "parts are saved one by one"
    assert tensor_bytes([torch.zeros(1000), torch.zeros(10, dtype=torch.int64)]) == 4080


@pytest.mark.parametrize("tied", [True, False])
def test_the_required_disk_space_is_about_the_size_of_the_files(tied: bool, tmp_path: Path) -> None:
    weight = torch.rand(1000, 300)
    model = {"output_mlp.weight": weight, "other": weight if tied else weight.clone()}
    optimizer = optimizer_state()
    ref = write_checkpoint(tmp_path, STAGE, 4, model_state=model, optim_state=optimizer, state={})
    taken = sum(file.stat().st_size for file in ref.path.glob("*.pt"))
    assert 0 <= taken - tensor_bytes([model, optimizer]) < 10_000
