"""Writing checkpoints on a real file system. ``pytest tests/unit/checkpoints/test_write.py``"""

from __future__ import annotations

import hashlib
import json
import re
import resource
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.checkpoint_files import (
    flip_byte,
    foreign_folder,
    names_in,
    optimizer_state,
    write_ours,
)
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import list_checkpoints, parse_folder_name
from tinyworlds_gate.checkpoints.read import read_model_state, read_optim_state, read_state
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.errors import CheckpointError


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """A real limit on the size of written files, as a full disk gives one: the kernel refuses the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_state(parent: Path, state: dict[str, Any], **more: Any) -> Path:
    given = {"model_state": {"output_mlp.weight": torch.ones(2, 2)}, "optim_state": optimizer_state()} | more
    return write_checkpoint(parent, "dynamics", 7, state=state, **given).path


@pytest.mark.requirement("S4")
def test_a_written_checkpoint_reads_back_bit_identical(tmp_path: Path) -> None:
    ref = write_ours(tmp_path / "run" / "dynamics" / "checkpoints", "dynamics", 41)
    source = read_model_state(foreign_folder("dynamics"))
    back = read_model_state(ref.path)
    assert list(back) == list(source)
    assert all(torch.equal(back[name], source[name]) for name in source)
    assert read_state(ref.path)["config"] == read_state(foreign_folder("dynamics"))["config"]
    assert read_optim_state(ref.path)["state"].keys() == optimizer_state()["state"].keys()


def test_the_manifest_records_hash_size_step_config_parameters_and_the_caller_s_entries(tmp_path: Path) -> None:
    ref = write_ours(tmp_path, "video_tokenizer", 41, manifest={"run": "2026_01_02_03_04_05"})
    manifest = json.loads((ref.path / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        data = (ref.path / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert sorted(manifest["files"]) == ["model_state_dict.pt", "optim_state_dict.pt", "state.pt"]
    assert (manifest["stage"], manifest["step"], manifest["run"]) == ("video_tokenizer", 41, "2026_01_02_03_04_05")
    assert manifest["parameters"] == ref.parameters == 138821, "quantizer.basis is a buffer and does not count"
    assert manifest["torch_version"] == torch.__version__
    assert len(manifest["config_sha256"]) == 64
    assert verify_checkpoint(ref.path) == ref


def test_the_config_hash_changes_with_the_config_only(tmp_path: Path) -> None:
    hashes = [
        json.loads((write_ours(tmp_path, "dynamics", step, learning_rate=rate).path / "manifest.json").read_text())[
            "config_sha256"
        ]
        for step, rate in ((1, 1e-3), (2, 1e-3), (3, 2e-3))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("file", ["model_state_dict.pt", "optim_state_dict.pt", "state.pt"])
def test_our_files_load_with_torch_s_safe_reader(file: str, tmp_path: Path) -> None:
    rng: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "ranks": [(1, 2.5, None, b"\x80", True)],
        "python": (3, (1, 2), None),
    }
    state = {"config": {"a": [1]}, "scheduler_state_dict": OrderedDict(last_epoch=3), "rng": rng}
    folder = write_state(tmp_path, state)
    loaded = torch.load(folder / file, weights_only=True)
    assert isinstance(loaded, dict)
    if file == "state.pt":
        assert loaded["step"] == 7
        assert loaded["rng"]["ranks"] == rng["ranks"]
        assert torch.equal(read_state(folder)["rng"]["torch"], rng["torch"])


def test_a_slice_of_a_big_tensor_stores_only_its_own_bytes(tmp_path: Path) -> None:
    folder = write_state(tmp_path, {"row": torch.zeros(1000, 1000)[3]})
    assert (folder / "state.pt").stat().st_size < 20_000


def peak_mib() -> float:
    """The most memory that this process has had since its peak was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":") for line in lines)["VmHWM"].split()[0]) / 1024


def test_a_checkpoint_goes_to_the_disk_as_it_is_made_and_takes_no_second_copy_in_memory(tmp_path: Path) -> None:
    weights = {f"output_mlp.{number}": torch.rand(2**20) for number in range(32)}  # 128 MiB
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = peak_mib()
    write_state(tmp_path, {}, model_state=weights)
    assert peak_mib() - before < 32


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.float64(1.0), "numpy.float64"),
        (np.zeros(2), "numpy.ndarray"),
        (Path("a"), "PosixPath"),
        (torch.float32, "torch.dtype"),
        ({1, 2}, "builtins.set"),
        (print, "builtin_function_or_method"),
    ],
)
def test_data_that_would_need_code_to_load_is_refused_before_anything_is_written(
    value: Any, kind: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=rf"state\['rng'\]\[0\] is a .*{kind}; a checkpoint holds"):
        write_state(tmp_path, {"rng": [value]})
    with pytest.raises(CheckpointError, match="key of type tuple"):
        write_state(tmp_path, {"rng": {(1, 2): 3}})
    assert names_in(tmp_path) == []


def test_an_empty_model_state_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="the model's state is empty"):
        write_state(tmp_path, {}, model_state={})
    assert names_in(tmp_path) == []


def test_a_state_of_another_step_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="state says step 6, the folder's name 7"):
        write_state(tmp_path, {"step": 6})


def test_manifest_entries_must_be_json_and_may_not_replace_the_writer_s_own(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"manifest entries \['files', 'step'\] are set by the writer"):
        write_state(tmp_path, {}, manifest={"step": 1, "files": {}})
    with pytest.raises(CheckpointError, match="must be JSON values"):
        write_state(tmp_path, {}, manifest={"x": torch.ones(1)})
    with pytest.raises(CheckpointError, match="must be JSON values"):
        write_state(tmp_path, {"config": {"x": b"bytes"}})


@pytest.mark.parametrize(("stage", "step"), [("dynamics", -1), ("vqvae", 1)])
def test_an_unknown_stage_or_a_negative_step_is_refused(stage: str, step: int, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"unknown stage 'vqvae'; allowed|cannot have step -1"):
        write_checkpoint(tmp_path, stage, step, model_state={"w": torch.ones(1)}, optim_state={}, state={})


@pytest.mark.requirement("S4")
def test_a_valid_checkpoint_is_never_overwritten(tmp_path: Path) -> None:
    first = write_ours(tmp_path, "dynamics", 5)
    said = (
        f"{first.path} exists and is valid (SHA-256 of its weights {first.model_sha256[:12]}…); a checkpoint is never "
        "overwritten. Resume from it, or give another run folder"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(said)}$"):
        write_ours(tmp_path, "dynamics", 5, learning_rate=1.0)
    assert verify_checkpoint(first.path) == first
    assert names_in(tmp_path) == ["dynamics_step_5"]


def test_an_invalid_folder_of_the_same_step_is_moved_aside_and_kept(tmp_path: Path) -> None:
    for expected in ([".rejected-dynamics_step_5-1"], [".rejected-dynamics_step_5-1", ".rejected-dynamics_step_5-2"]):
        damaged = write_ours(tmp_path, "dynamics", 5).path
        flip_byte(damaged / "model_state_dict.pt", 5000)
        written = write_ours(tmp_path, "dynamics", 5)
        assert verify_checkpoint(written.path) == written
        assert names_in(tmp_path) == [*expected, "dynamics_step_5"]
        (tmp_path / "dynamics_step_5").rename(tmp_path.parent / f"{tmp_path.name}-{len(expected)}")
    assert names_in(tmp_path / ".rejected-dynamics_step_5-1") == [
        "manifest.json",
        "model_state_dict.pt",
        "optim_state_dict.pt",
        "state.pt",
    ]


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("room", [0.0, 0.01, 0.5, 0.9999])
def test_a_write_that_the_kernel_refuses_leaves_earlier_checkpoints_and_no_leftover(
    room: float, tmp_path: Path
) -> None:
    earlier = write_ours(tmp_path, "dynamics", 5)
    limit = int(room * (earlier.path / "model_state_dict.pt").stat().st_size)
    with (
        files_at_most(limit),
        pytest.raises(CheckpointError, match=r"not written: File too large.*Earlier checkpoints"),
    ):
        write_ours(tmp_path, "dynamics", 6)
    assert names_in(tmp_path) == ["dynamics_step_5"]
    assert verify_checkpoint(earlier.path) == earlier


def test_a_parent_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"was not written: Not a directory|was not written: File exists"):
        write_ours(tmp_path / "file" / "checkpoints", "dynamics", 5)


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("dynamics_step_0", ("dynamics", 0)),
        ("video_tokenizer_step_1099", ("video_tokenizer", 1099)),
        ("latent_actions_step_10", ("latent_actions", 10)),
        ("dynamics_step_", None),
        ("dynamics_step_-1", None),
        ("dynamics_step_01", None),
        ("dynamics_step_1.tmp", None),
        (".dynamics_step_1.tmp-12-ab", None),
        ("dynamics_step_١", None),
        ("vqvae_step_1", None),
    ],
)
def test_only_stage_step_n_names_a_checkpoint(name: str, parsed: tuple[str, int] | None) -> None:
    assert parse_folder_name(name) == parsed


def test_listing_sorts_by_number_and_ignores_files_other_stages_and_unfinished_folders(tmp_path: Path) -> None:
    for name in ("dynamics_step_9", "dynamics_step_10", "latent_actions_step_3", ".dynamics_step_11.tmp-1-ab"):
        (tmp_path / name).mkdir()
    (tmp_path / "dynamics_step_12").touch()
    assert [step for step, _ in list_checkpoints(tmp_path, "dynamics")] == [9, 10]
    assert list_checkpoints(tmp_path / "absent", "dynamics") == []


def test_a_link_that_leads_nowhere_is_moved_aside_too(tmp_path: Path) -> None:
    (tmp_path / "dynamics_step_7").symlink_to(tmp_path / "gone")
    folder = write_state(tmp_path, {"step": 7})
    assert verify_checkpoint(folder).step == 7
    assert names_in(tmp_path) == [".rejected-dynamics_step_7-1", "dynamics_step_7"]


def test_the_manifest_of_a_small_checkpoint(tmp_path: Path) -> None:
    manifest = json.loads((write_state(tmp_path, {}, manifest={"run": "a"}) / "manifest.json").read_bytes())
    assert (manifest["schema"], manifest["tensors"], manifest["parameters"]) == (1, 1, 4)
    assert (manifest["config_sha256"], manifest["run"]) == (None, "a")
    assert read_state(tmp_path / "dynamics_step_7")["step"] == 7
    with pytest.raises(CheckpointError, match=r"optim_state\['a'\] is a"):
        write_state(tmp_path / "b", {}, optim_state={"a": {1, 2}})
    with pytest.raises(CheckpointError, match=r"model_state\['a'\] is a"):
        write_state(tmp_path / "b", {}, model_state={"a": {1, 2}})
    assert not (tmp_path / "b").exists()
