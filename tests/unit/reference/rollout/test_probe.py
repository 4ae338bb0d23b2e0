"""The probe generates the measured frames again from context and codes alone, and other frames where anything differs.

pytest tests/unit/reference/rollout/test_probe.py
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import h5py
import numpy as np
import pytest
import torch

from tests.helpers.small_models import world_models
from tests.unit.reference.rollout.test_inference_run import FlushedStream
from tests.unit.reference.rollout.test_measure import CLIPS, CPU, SETTINGS, clip_set
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.measures.probe_plan import FOREIGN, PLAYED, PREDICTED, RANDOM, REPEATED, plan_probe
from tinyworlds_gate.reference.rollout import probe
from tinyworlds_gate.reference.rollout.clip_set import ClipSet
from tinyworlds_gate.reference.rollout.measure import Measurement, MeasureSettings, measure_clips
from tinyworlds_gate.reference.rollout.probe import generate, infer
from tinyworlds_gate.reference.rollout.probe_files import (
    ProbeRequest,
    ProbeResult,
    read_request,
    read_result,
    read_true_clips,
    write_request,
    write_result,
    write_true_clips,
)
from tinyworlds_gate.reference.rollout.world_models import TrainedModels


def bytes_of(clips: ClipSet) -> ClipSet:
    """Return clips whose frames are exactly those of uint8."""
    shown = ((clips.frames_BTCHW + 1) * 127.5).round()
    return replace(clips, frames_BTCHW=shown / 127.5 - 1)


def context_bytes(clips: ClipSet) -> np.ndarray:
    shown = ((clips.frames_BTCHW[:, : clips.context] + 1) * 127.5).round().to(torch.uint8)
    table: np.ndarray = shown.permute(0, 1, 3, 4, 2).numpy()
    return table


def asked(found: Measurement, clips: ClipSet, settings: MeasureSettings, path: Path) -> ProbeRequest:
    """Return the request of the gate for a measurement, through its file."""
    plan = plan_probe(
        found.raw, found.generated, context_bytes(clips), clips.episodes, asdict(settings), np.random.default_rng(0)
    )
    write_request(path, ProbeRequest(plan.groups, asdict(settings), CLIPS, {}, "cpu"))
    return read_request(path)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"space": "pixels"},
        {"memory": 3},
        {"prediction_horizon": 2},
        {"token_choice": "nearest_mean"},
        {"temperature": 1.0},
        {"temperature": 1.0, "batch_size": 1},
        {"generation_steps": 1},
    ],
    ids=str,
)
def test_the_same_frames_come_out_of_context_and_codes_alone(changes: dict[str, Any], tmp_path: Path) -> None:
    models, clips, settings = world_models(), bytes_of(clip_set()), replace(SETTINGS, **changes)
    found = measure_clips(models, clips, settings, CPU)
    request = asked(found, clips, settings, tmp_path / "request.h5")
    made = generate(models, request, CPU)
    rows = request.groups[PREDICTED].rows
    assert found.generated.random is not None
    assert np.array_equal(made[PREDICTED], found.generated.predicted[rows])
    assert np.array_equal(made[RANDOM], found.generated.random[rows])
    assert (REPEATED in made) is (settings.temperature == 0)
    if REPEATED in made:
        assert np.array_equal(made[REPEATED], made[PREDICTED])
    assert not np.array_equal(made[FOREIGN], found.generated.predicted[request.groups[FOREIGN].rows])


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("changes", [{}, {"memory": 3, "prediction_horizon": 1}, {"batch_size": 1}], ids=str)
def test_actions_and_reconstruction_errors_are_those_measured(changes: dict[str, Any], tmp_path: Path) -> None:
    models, clips, settings = world_models(), bytes_of(clip_set()), replace(SETTINGS, **changes)
    found = measure_clips(models, clips, settings, CPU)
    true = ((clips.frames_BTCHW + 1) * 127.5).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()
    write_true_clips(tmp_path / "clips.h5", true)
    codes, recon_mse = infer(models, read_true_clips(tmp_path / "clips.h5"), clips.context, settings, CPU)
    assert found.generated.codes is not None
    assert np.array_equal(codes, found.generated.codes)
    assert recon_mse == pytest.approx([clip["tokenizer_recon_mse"] for clip in found.raw["clips"]], rel=1e-5)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    "measured_with",
    [
        {"teacher_forced": True},
        {"decode_steps": 1},
        {"space": "pixels"},
        {"temperature": 1.0},
        {"token_choice": "mean"},
    ],
    ids=str,
)
def test_frames_of_other_settings_than_requested_differ(measured_with: dict[str, Any], tmp_path: Path) -> None:
    models, clips = world_models(), bytes_of(clip_set())
    found = measure_clips(models, clips, replace(SETTINGS, **measured_with), CPU)
    made = generate(models, asked(found, clips, SETTINGS, tmp_path / "request.h5"), CPU)
    assert (made[PREDICTED] != found.generated.predicted).mean() > 0.01


@pytest.mark.requirement("G5")
def test_the_request_holds_context_frames_and_codes_and_nothing_of_the_future(tmp_path: Path) -> None:
    models, clips = world_models(), bytes_of(clip_set())
    found = measure_clips(models, clips, SETTINGS, CPU)
    asked(found, clips, SETTINGS, tmp_path / "request.h5")
    with h5py.File(tmp_path / "request.h5") as file:
        for group in file.values():
            stored = group["context"]
            assert (stored.chunks, stored.compression_opts) == ((1, *stored.shape[1:]), 1)
        assert set(file) == {PREDICTED, REPEATED, RANDOM, FOREIGN, PLAYED}
        for name, group in file.items():
            assert set(group) == {"context", "rows"} | ({"codes"} if name != RANDOM else set())
            assert group["context"].shape[1] == clips.context
            if name == FOREIGN:
                assert not np.array_equal(group["context"], context_bytes(clips)[group["rows"][:]])
            else:
                assert np.array_equal(group["context"], context_bytes(clips)[group["rows"][:]])


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("tf32", "precision"), [(True, "high"), (False, "highest")])
def test_a_probe_writes_its_frames_and_with_true_clips_their_codes_and_errors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tf32: bool, precision: str
) -> None:
    models, clips, with_clips = world_models(), bytes_of(clip_set()), tf32

    def load(paths: dict[str, Path]) -> TrainedModels:
        assert paths == {"dynamics": Path("d_step_1")}
        return TrainedModels(models, {"dynamics": cast(Any, SimpleNamespace(model_sha256="d!"))}, {}, {})

    def choose(setting: str, local_rank: int) -> torch.device:
        assert (setting, local_rank) == ("cpu", 0)
        return CPU

    monkeypatch.setattr(probe, "choose_device", choose)
    monkeypatch.setattr(probe, "load_trained", load)
    request, result, true = (tmp_path / name for name in ("request.h5", "result.h5", "true.h5"))
    asked(measure_clips(models, clips, SETTINGS, CPU), clips, SETTINGS, request)
    named = replace(read_request(request), checkpoints={"dynamics": "d_step_1"}, tf32=tf32)
    write_request(request, named)
    pixels = ((clips.frames_BTCHW + 1) * 127.5).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()
    write_true_clips(true, pixels)
    before, stream = torch.get_float32_matmul_precision(), FlushedStream()
    try:
        monkeypatch.setattr(sys, "stdout", stream)
        probe.main([str(request), str(result), *(["--true-clips", str(true)] if with_clips else [])])
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    found, expected = read_result(result), generate(models, named, CPU)
    assert found.checkpoints == {"dynamics": "d!"}
    assert found.frames.keys() == expected.keys()
    assert all(np.array_equal(found.frames[name], expected[name]) for name in expected)
    codes, errors = infer(models, pixels, clips.context, SETTINGS, CPU) if with_clips else (None, None)
    assert np.array_equal(cast(Any, found.codes), cast(Any, codes))
    assert np.array_equal(cast(Any, found.recon_mse), cast(Any, errors))
    assert all(f"{name} {len(table)}" in stream.getvalue() for name, table in expected.items())
    assert stream.flushes == 1


def test_a_probe_that_cannot_run_ends_with_3_and_one_line_that_leaves_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stream = FlushedStream()
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(SystemExit) as ended:
        probe.main([str(tmp_path / "gone.h5"), str(tmp_path / "result.h5")])
    assert ended.value.code == 3
    assert stream.getvalue().startswith("[probe] error: ")
    assert (stream.getvalue().count("\n"), stream.flushes) == (1, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"no HDF5 at all"])
def test_files_that_are_missing_or_damaged_are_reported(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "probe.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="run inference again"):
        read_request(path)
    with pytest.raises(DataError, match="run inference again"):
        read_result(path)
    with pytest.raises(DataError, match="run inference again"):
        read_true_clips(path)


def test_frames_of_another_type_are_no_result(tmp_path: Path) -> None:
    frames = np.zeros((2, 3, 4, 4, 3), np.uint8)
    codes, recon_mse = np.ones((2, 3, 1), np.int16), np.array([0.1, 0.2])
    write_result(tmp_path / "probe.h5", ProbeResult({"predicted": frames}, {"dynamics": "d"}, codes, recon_mse))
    found = read_result(tmp_path / "probe.h5")
    assert set(found.frames) == {"predicted"}
    assert found.codes is not None
    assert np.array_equal(found.codes, codes)
    assert found.recon_mse is not None
    assert np.array_equal(found.recon_mse, recon_mse)
    assert (found.checkpoints, found.frames["predicted"].shape) == ({"dynamics": "d"}, frames.shape)
    with h5py.File(tmp_path / "probe.h5", "r+") as file:
        file["random"] = frames.astype(np.float32)
    with pytest.raises(DataError, match="random must be uint8 with 5 axes"):
        read_result(tmp_path / "probe.h5")
