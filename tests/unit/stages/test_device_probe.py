"""The probe for device evidence: how many updates it takes, and what the journal says of it.

pytest tests/unit/stages/test_device_probe.py
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.helpers.process_projects import make_project
from tests.unit.launch.test_nodes import chunk
from tests.unit.stages.test_chunk_launch import SETTINGS
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages import device_probe
from tinyworlds_gate.stages.chunk_launch import Chunk
from tinyworlds_gate.stages.device_probe import (
    FEWEST_UPDATES,
    PROBE_SECONDS,
    ProbeInputs,
    probe_devices,
    probe_event,
    probe_layout,
    probe_updates,
)


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("updates", "wall_s", "updates_per_s", "expected"),
    [
        (100, 50.0, None, round(2 * PROBE_SECONDS)),
        (100, 0.5, None, round(200 * PROBE_SECONDS)),
        (100, 1.0, 3.0, round(3 * PROBE_SECONDS)),
        (100, 50.0, 0.0, round(2 * PROBE_SECONDS)),
        (100, 0.0, None, FEWEST_UPDATES),
        (100, 1000.0, None, FEWEST_UPDATES),
        (100, 1000.0, 1.07, round(1.07 * PROBE_SECONDS)),
    ],
)
def test_a_probe_trains_for_twenty_seconds_at_the_pace_of_the_chunk_before_it(
    updates: int, wall_s: float, updates_per_s: float | None, expected: int
) -> None:
    assert probe_updates(updates, wall_s, updates_per_s) == expected
    assert (FEWEST_UPDATES, PROBE_SECONDS) == (20, 20.0)


def test_the_probe_of_each_chunk_has_a_scratch_run_of_its_own(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path, "run_1")
    scratch = probe_layout(layout, 7)
    assert scratch.root == layout.root / "probes" / "results" / "run_1-probe_007"
    assert scratch.history("dynamics").name != layout.history("dynamics").name
    assert probe_layout(layout, 8).root != scratch.root


@pytest.mark.requirement("H6")
def test_the_event_of_a_probe_that_failed_says_so(tmp_path: Path) -> None:
    well = probe_event(chunk(tmp_path), 40, {})
    assert (well["chunk"], well["updates"], well["cause"], well["exit_code"]) == (2, 40, "ok", 0)
    assert (well["dual_gpu_ok"], well["dual_gpu_reason"]) == (True, "2 GPUs busy together")
    assert (well["log"], well["device_samples"]) == (tmp_path / "chunk.log", tmp_path / "devices.jsonl")
    lost = probe_event(chunk(tmp_path, "out_of_memory", dual_gpu_ok=None, dual_gpu_reason="unknown"), 40, {})
    assert (lost["cause"], lost["exit_code"], lost["dual_gpu_ok"]) == ("out_of_memory", 1, None)
    assert lost["dual_gpu_reason"] == "unknown (the probe itself ended with out_of_memory)"


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("trained_s", "own", "probe", "stands"),
    [
        (1.1, None, True, True),
        (2.99, None, True, True),
        (3.0, None, True, False),
        (60.0, None, True, False),
        (None, None, True, False),
        (1.1, False, True, False),
        (1.1, None, None, False),
        (1.1, None, False, False),
    ],
)
def test_a_probe_stands_for_a_chunk_that_was_too_short_to_be_sampled(
    tmp_path: Path, trained_s: float | None, own: bool | None, probe: bool | None, stands: bool
) -> None:
    end = {"trained_s": trained_s, "dual_gpu_ok": own}
    assert probe_event(chunk(tmp_path, dual_gpu_ok=probe), 40, end)["stands_for_chunk"] is stands


@pytest.mark.requirement("H6")
@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("with_history", [False, True])
def test_a_probe_trains_from_new_weights_and_leaves_its_history_and_no_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: bool, with_history: bool
) -> None:
    target, layout = make_project(tmp_path), RunLayout(tmp_path, "run_1").create()
    scratch = probe_layout(layout, 2)
    (scratch.root / "old").mkdir(parents=True)
    launches: list[Any] = []
    history = layout.histories / scratch.history("dynamics").name

    def launch(target: Any, of: Any, settings: Settings, chunk: Any, command: list[str], *, on_cpu: bool) -> Any:
        launches.append((of.root, settings, chunk, command, on_cpu))
        scratch.checkpoint("dynamics", 9).mkdir(parents=True)
        if with_history:
            history.parent.mkdir(exist_ok=True)
            history.write_text("rows")
        if failing:
            raise LaunchError("no torchrun")
        return "ended"

    monkeypatch.setattr(device_probe, "launch_chunk", launch)
    models: Any = {stage: SimpleNamespace(path=Path(stage)) for stage in ("video_tokenizer", "latent_actions")}
    inputs = ProbeInputs(target, layout, SETTINGS, "dynamics", 2, models, Path("f.h5"))
    if failing:
        with pytest.raises(LaunchError):
            probe_devices(inputs, 30)
    else:
        assert probe_devices(inputs, 30) == cast(Any, "ended")
    ((root, settings, chunk, command, on_cpu),) = launches
    assert (root, on_cpu) == (scratch.root, False)
    assert chunk == Chunk(2, "dynamics", 0, 30, 30, 0, "device probe")
    assert (settings.options.monitor_interval_sec, settings.training.use_wandb) == (0.2, False)
    assert {"n_updates=30", "device=cuda", "data_path=f.h5", "video_tokenizer_path=video_tokenizer"} <= set(command)
    assert not (scratch.root / "old").exists()
    assert not scratch.checkpoints("dynamics").exists()
    assert not history.exists()
    assert (scratch.root / history.name).exists() is with_history
