"""The files of a probe: what is written comes back, and a file of another layout is refused.

pytest tests/unit/reference/rollout/test_probe_files.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.rollout.probe_files import (
    ProbeGroup,
    ProbeRequest,
    ProbeResult,
    read_request,
    read_result,
    read_true_clips,
    write_request,
    write_result,
    write_true_clips,
)

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4, 3), np.uint8)
CODES, ROWS, ERRORS = np.array([[[0, -1]], [[3, 2]]], np.int16), np.array([5, 7]), np.array([0.5, 0.25])
REQUEST = ProbeRequest(
    {"a": ProbeGroup(FRAMES, CODES, ROWS, 3), "b": ProbeGroup(FRAMES[:1], None, ROWS[:1], 4)},
    {"generation_steps": 2},
    9,
    {"dynamics": "d"},
)


def edited(path: Path, edit: Callable[[Any], object]) -> Path:
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("device", "tf32"), [("auto", True), ("cpu", False)])
def test_a_request_comes_back_as_it_was(tmp_path: Path, device: str, tf32: bool) -> None:
    assert (REQUEST.device, REQUEST.tf32) == ("auto", True)
    write_request(tmp_path / "r.h5", ProbeRequest(**vars(REQUEST) | {"device": device, "tf32": tf32}))
    found = read_request(tmp_path / "r.h5")
    assert (found.settings, found.clips, found.checkpoints) == ({"generation_steps": 2}, 9, {"dynamics": "d"})
    assert (found.device, found.tf32) == (device, tf32)
    assert list(found.groups) == ["a", "b"]
    for name, group in REQUEST.groups.items():
        again = found.groups[name]
        assert again.seed == group.seed
        for one, other in ((again.context, group.context), (again.codes, group.codes), (again.rows, group.rows)):
            assert (one is None) is (other is None)
            assert np.array_equal(one if one is not None else 0, other if other is not None else 0)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("codes", [None, CODES])
@pytest.mark.parametrize("recon_mse", [None, ERRORS])
def test_a_result_comes_back_as_it_was(tmp_path: Path, codes: np.ndarray | None, recon_mse: np.ndarray | None) -> None:
    write_result(tmp_path / "r.h5", ProbeResult({"a": FRAMES, "b": FRAMES[:1]}, {"dynamics": "d"}, codes, recon_mse))
    found = read_result(tmp_path / "r.h5")
    assert (list(found.frames), found.checkpoints) == (["a", "b"], {"dynamics": "d"})
    assert np.array_equal(found.frames["b"], FRAMES[:1])
    for one, other in ((found.codes, codes), (found.recon_mse, recon_mse)):
        assert (one is None) is (other is None)
        assert one is None or np.array_equal(one, other if other is not None else 0)
    with h5py.File(tmp_path / "r.h5") as file:
        assert (file["a"].chunks, file["a"].compression, file["a"].compression_opts) == ((1, 3, 4, 4, 3), "gzip", 1)


def test_true_clips_come_back_as_they_were(tmp_path: Path) -> None:
    write_true_clips(tmp_path / "c.h5", FRAMES)
    assert np.array_equal(read_true_clips(tmp_path / "c.h5"), FRAMES)
    with pytest.raises(DataError, match="run inference again"):
        read_true_clips(edited(tmp_path / "c.h5", lambda file: file.pop("true_clips")))


@pytest.mark.parametrize(
    "edit",
    [
        lambda file: file.attrs.pop("request"),
        lambda file: file.attrs.create("request", "no JSON"),
        lambda file: file.attrs.create("request", "[]"),
        lambda file: file.attrs.create("request", json.dumps({"unknown": 1})),
        lambda file: file["a"].pop("context"),
        lambda file: file["a"].pop("rows"),
        lambda file: file["a"].attrs.pop("seed"),
    ],
)
def test_a_request_of_another_layout_is_refused(tmp_path: Path, edit: Callable[[Any], object]) -> None:
    write_request(tmp_path / "r.h5", REQUEST)
    with pytest.raises(DataError, match=r"r\.h5.*run inference again"):
        read_request(edited(tmp_path / "r.h5", edit))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda file: file.attrs.pop("checkpoints"), "run inference again"),
        (lambda file: file.attrs.create("checkpoints", "no JSON"), "run inference again"),
        (lambda file: file.attrs.create("checkpoints", "[]"), "run inference again"),
        (lambda file: file.create_dataset("b", data=FRAMES[0]), "b must be uint8 with 5 axes"),
        (lambda file: file.create_dataset("b", data=FRAMES.astype(np.int16)), "b must be uint8 with 5 axes"),
    ],
)
def test_a_result_of_another_layout_is_refused(tmp_path: Path, edit: Callable[[Any], object], said: str) -> None:
    write_result(tmp_path / "r.h5", ProbeResult({"a": FRAMES}, {"dynamics": "d"}))
    with pytest.raises(DataError, match=said):
        read_result(edited(tmp_path / "r.h5", edit))
    with pytest.raises(DataError, match="the probe wrote no frames"):
        read_result(tmp_path / "gone.h5")
