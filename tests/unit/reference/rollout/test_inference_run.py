"""The inference run in this process, on small untrained models: settings that reach the rollout, and what it writes.

pytest tests/unit/reference/rollout/test_inference_run.py
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.small_models import SMALL, world_models
from tests.unit.reference.rollout.test_measure import clip_set
from tinyworlds_gate.config.schema import InferenceConfig
from tinyworlds_gate.errors import TrainingError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.rollout import inference
from tinyworlds_gate.reference.rollout.generated_frames import read_generated
from tinyworlds_gate.reference.rollout.world_models import TrainedModels


class FlushedStream(io.StringIO):
    """A stream that counts its flushes."""

    flushes = 0

    def flush(self) -> None:
        self.flushes += 1


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """Replace checkpoints and clips by small ones, and the picture by its arguments; restore torch's state."""
    found = SimpleNamespace(resolved=[], pictured=[], devices=[], root=tmp_path)

    def choose(setting: str, local_rank: int) -> torch.device:
        found.devices.append((setting, local_rank))
        return torch.device("cpu")

    def resolve(path: Path, stage: str, *, require_optimizer: bool) -> SimpleNamespace:
        found.resolved.append((stage, path, require_optimizer))
        return SimpleNamespace(path=path)

    def load(paths: dict[str, Path]) -> TrainedModels:
        references: Any = {stage: SimpleNamespace(path=path, model_sha256=f"{stage}!") for stage, path in paths.items()}
        return TrainedModels(world_models(), references, dict.fromkeys(STAGES, SMALL), {})

    def picture(*arguments: Any) -> Path:
        found.pictured.append(arguments)
        return tmp_path / "inference_results" / "x.png"

    monkeypatch.setattr(inference, "choose_device", choose)
    monkeypatch.setattr(inference, "resolve_checkpoint", resolve)
    monkeypatch.setattr(inference, "load_trained", load)
    monkeypatch.setattr(inference, "draw_held_out", lambda config, root, trained: clip_set())
    monkeypatch.setattr(inference, "save_rollout_picture", picture)
    precision = torch.get_float32_matmul_precision()
    with torch.random.fork_rng(devices=[]):
        yield found
    torch.set_float32_matmul_precision(precision)


def config(**values: object) -> InferenceConfig:
    fixed = {f"{stage}_path": f"{stage}_step_3" for stage in STAGES}
    rest = {"dataset": "TINY", "device": "cpu", "generation_steps": 2, "decode_steps": 2, "batch_size": 2}
    return InferenceConfig.model_validate({**fixed, **rest, **values})


@pytest.mark.requirement("G5", "L8")
@pytest.mark.parametrize(("tf32", "precision"), [(True, "high"), (False, "highest")])
def test_the_settings_reach_torch_and_the_rollout(run: SimpleNamespace, tf32: bool, precision: str) -> None:
    path = run.root / "m.json"
    values = {"temperature": 0.5, "rollout": "pixels", "memory_window": 3, "token_choice": "mean", "seed": 7}
    named = {"teacher_forced": True, "clip_seed": 4, "clip_draw": 2, "prediction_horizon": 2}
    inference.run_inference(config(tf32=tf32, measures_path=str(path), **values, **named), run.root, None)
    assert torch.get_float32_matmul_precision() == precision
    assert torch.initial_seed() == 7
    assert run.devices == [("cpu", 0)]
    raw = json.loads(path.read_text())
    assert {key: raw[key] for key in (*values, *named)} == {**values, **named}
    assert (raw["decode_steps"], raw["generation_steps"], raw["device"]) == (2, 4, "cpu")
    assert raw["checkpoints"] == {stage: f"{stage}!" for stage in STAGES}
    assert (raw["picture"], raw["generated_frames"]) == ("inference_results/x.png", "m_frames.h5")
    assert 0 < raw["seconds"] < 60


def test_the_picture_shows_the_clip_of_the_median_error(run: SimpleNamespace) -> None:
    path = run.root / "m.json"
    inference.run_inference(config(measures_path=str(path)), run.root, None)
    errors = [np.mean(clip["rollout_mse"]) for clip in json.loads(path.read_text())["clips"]]
    ((folder, frames, predicted, context, measures, clip),) = run.pictured
    assert (folder, context, clip) == (run.root / "inference_results", 2, errors.index(sorted(errors)[1]))
    assert torch.equal(frames, clip_set().frames_BTCHW[clip])
    assert np.array_equal(predicted, read_generated(run.root / "m_frames.h5").predicted[clip])
    assert measures["clip_draw"] == 0


def test_of_an_even_number_of_clips_the_picture_shows_the_upper_median(
    run: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = clip_set()
    two = replace(three, frames_BTCHW=three.frames_BTCHW[:2], starts=three.starts[:2], episodes=three.episodes[:2])
    monkeypatch.setattr(inference, "draw_held_out", lambda config, root, trained: two)
    path = run.root / "m.json"
    inference.run_inference(config(measures_path=str(path)), run.root, None)
    errors = [np.mean(clip["rollout_mse"]) for clip in json.loads(path.read_text())["clips"]]
    assert run.pictured[0][-1] == errors.index(max(errors))


def test_without_a_path_no_measures_are_written(run: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    inference.run_inference(config(), run.root, None)
    assert list(run.root.iterdir()) == []
    printed = capsys.readouterr().out
    assert printed.startswith("".join(f"Using {stage} checkpoint: {stage}_step_3\n" for stage in STAGES))
    assert "[Data] x.h5: 3 held-out clips of 3 episodes, digest dddddddddddddddd, device cpu\n" in printed
    assert (
        "Inferring frame 1/2 (batch 1/2)\nInferring frame 2/2 (batch 1/2)\nInferring frame 1/2 (batch 2/2)" in printed
    )


@pytest.mark.requirement("L6")
def test_each_line_of_progress_leaves_the_process_at_once(
    run: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness watches the log: a line in a buffer would be lost with a process that is ended."""
    late: list[str] = []

    class Log(io.StringIO):
        flushed = ""

        def write(self, text: str) -> int:
            if text != "\n" and self.getvalue() != self.flushed:
                late.append(text)
            return super().write(text)

        def flush(self) -> None:
            self.flushed = self.getvalue()

    log = Log()
    monkeypatch.setattr(sys, "stdout", log)
    inference.run_inference(config(), run.root, None)
    assert late[0] == "Total frames generated: 6", "only the statistics are written together"
    assert log.flushed == log.getvalue(), "the last line too"
    assert "Inferring frame 2/2 (batch 2/2)" in log.flushed


@pytest.mark.requirement("G2")
@pytest.mark.parametrize(
    ("latest", "run_root", "allowed"), [(True, "results/r", True), (True, None, False), (False, "results/r", False)]
)
def test_a_checkpoint_without_a_path_is_the_newest_of_this_run_on_request_only(
    run: SimpleNamespace, latest: bool, run_root: str | None, allowed: bool
) -> None:
    settings = config(dynamics_path=None, use_latest_checkpoints=latest)
    if not allowed:
        with pytest.raises(TrainingError, match="dynamics_path is not set; set dynamics_path=<"):
            inference.run_inference(settings, run.root, run_root)
        return
    inference.run_inference(settings, run.root, run_root)
    assert run.resolved == [
        ("video_tokenizer", Path("video_tokenizer_step_3"), False),
        ("latent_actions", Path("latent_actions_step_3"), False),
        ("dynamics", Path("results/r/dynamics/checkpoints"), False),
    ]


def test_measures_may_hold_numbers_that_are_not_finite(tmp_path: Path) -> None:
    inference._write_measures(tmp_path / "m.json", {"mse": [math.nan, math.inf]})
    assert (tmp_path / "m.json").read_text() == '{\n "mse": [\n  NaN,\n  Infinity\n ]\n}\n'


def test_the_skill_against_a_baseline_without_error_is_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    others = {"mean_frame_mse": [0.1], "random_action_mse": [0.2], "tokenizer_recon_mse": 0.3}
    clip = {"rollout_mse": [2e-12, 4e-12], "copy_last_mse": [0.0, 0.0], **others}
    inference._print_stats({"clips": [clip, clip], "context": 2, "generation_steps": 2})
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Inference stats:",
        "Total frames generated: 4",
        "Mode: strict autoregressive (1 step fed back), actions inferred from the true frames",
        "Mean Squared Error (GT vs Pred): 0.00000000",
        "Mean Squared Error by step: 0.000000 0.000000",
        "Copy-last MSE: 0.00000000",
        "Mean-frame MSE: 0.10000000",
        "Random-action MSE: 0.20000000",
        "Tokenizer reconstruction MSE: 0.30000000",
        "Skill against copy-last: -2.0000",
        "Context window (non-generated frames): 2",
    ]


def test_the_command_line_names_the_config_its_overrides_and_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(inference, "run_inference", lambda *arguments: calls.append(arguments))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NG_RUN_ROOT_DIR", "results/r")
    for path, arguments in (("configs/inference.yaml", []), ("other.yaml", ["--config", "other.yaml"])):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("dataset: TINY\nclips: 5\n")
        inference.main([*arguments, "--", "clips=6"])
    assert [(found.clips, root, run_root) for found, root, run_root in calls] == [(6, tmp_path, "results/r")] * 2


def test_an_error_is_one_line_that_leaves_at_once_and_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stream = FlushedStream()
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(SystemExit) as ended:
        inference.main(["--config", str(tmp_path / "gone.yaml")])
    assert ended.value.code == 3
    assert stream.getvalue().startswith("[inference] error: ")
    assert (stream.getvalue().count("\n"), stream.flushes) == (1, 1)
