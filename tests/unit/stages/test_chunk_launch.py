"""What a chunk's launch passes to `run_chunk`, on one machine and on several.

The process itself is that of test_chunk.py (launch); tests/loop and tests/faults launch whole chunks.

pytest tests/unit/stages/test_chunk_launch.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.helpers.config_files import REPOSITORY
from tests.helpers.process_projects import make_project
from tests.helpers.stand_in import write_sources
from tests.unit.launch.test_nodes import chunk as ended
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.launch.chunk_watch import ChunkSettings
from tinyworlds_gate.launch.launcher import ChunkResult
from tinyworlds_gate.launch.nodes import Nodes
from tinyworlds_gate.names import BACKBONE_KEYS
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages import chunk_launch
from tinyworlds_gate.stages.chunk_launch import Chunk, announcement, chunk_command, injected_backbone, launch_chunk
from tinyworlds_gate.targets.checkout import checkout_target

CHUNK = Chunk(3, "dynamics", 10, 20, 40, 0, "planned")
SETTINGS: Settings = resolve_settings("smoke", {}, project_root=REPOSITORY)
RENDEZVOUS = Rendezvous(nnodes=2, node_rank=0, endpoint="host-a:29400", id="run-1")


class FakeNodes:
    """The other node of a run, which answers at once."""

    rendezvous = RENDEZVOUS

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def begin(self, chunk: int) -> None:
        self.calls.append(("begin", chunk))

    def problem(self, chunk: int) -> str:
        return f"problem of chunk {chunk}"

    def merge(self, result: ChunkResult, chunk: int) -> tuple[str, ChunkResult]:
        self.calls.append(("merge", chunk))
        return "merged", result


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """The arguments of each launch, whose process is not started."""
    found: list[dict[str, Any]] = []

    def run_chunk(target: Any, layout: Any, settings: ChunkSettings, **named: Any) -> ChunkResult:
        found.append({"settings": settings, **named})
        return ended(tmp_path)

    monkeypatch.setattr(chunk_launch, "run_chunk", run_chunk)
    return found


@pytest.mark.requirement("L2", "L3")
def test_a_launch_on_one_machine_has_no_rendezvous_and_waits_for_no_other(
    launched: list[dict[str, Any]], tmp_path: Path
) -> None:
    target, layout = make_project(tmp_path), RunLayout(tmp_path, "a").create()
    result = launch_chunk(target, layout, SETTINGS, CHUNK, ["train"], on_cpu=True)
    assert result == ended(tmp_path)
    (call,) = launched
    options, watchdog = SETTINGS.options, SETTINGS.profile.watchdog
    assert call["settings"] == ChunkSettings(
        nproc=SETTINGS.training.nproc_per_node,
        monitor_interval_s=options.monitor_interval_sec,
        gpu_util_threshold=options.gpu_util_threshold,
        gpu_required_samples=options.gpu_required_samples,
        cleanup_extra=options.cleanup_extra_processes,
        deadline_s=watchdog.chunk_deadline_s,
        stall_s=watchdog.stall_s,
        rendezvous=None,
    )
    assert (call["stage"], call["chunk"], call["command"]) == ("dynamics", 3, ["train"])
    assert (call["start"], call["updates"], call["others"]) == (10, 20, None)


@pytest.mark.requirement("L2", "L3")
def test_a_launch_on_several_machines_announces_watches_and_merges_the_chunk(
    launched: list[dict[str, Any]], tmp_path: Path
) -> None:
    target, layout, nodes = make_project(tmp_path), RunLayout(tmp_path, "a").create(), FakeNodes()
    result = launch_chunk(
        target, layout, SETTINGS, CHUNK, ["train"], on_cpu=True, nodes=cast(Nodes, nodes), progress=None
    )
    assert cast(Any, result) == ("merged", ended(tmp_path))
    assert nodes.calls == [("begin", 3), ("merge", 3)]
    (call,) = launched
    assert call["settings"].rendezvous == RENDEZVOUS
    assert call["others"]() == "problem of chunk 3"


MODELS: Any = {stage: SimpleNamespace(path=Path(f"{stage}_step_9")) for stage in ("video_tokenizer", "latent_actions")}


def resolved(**changes: Any) -> Settings:
    return resolve_settings("smoke", changes, project_root=REPOSITORY)


@pytest.mark.requirement("P1", "C2")
@pytest.mark.parametrize("stage", ["latent_actions", "dynamics"])
@pytest.mark.parametrize("align", [None, "inject"])
def test_the_command_of_a_checkout_has_its_inputs_and_an_injected_backbone(
    tmp_path: Path, stage: str, align: str | None
) -> None:
    target = checkout_target(write_sources(tmp_path / "checkout", "tinyworlds-fork"))
    assert target is not None
    settings = resolved(**({"align_backbone": align} if align else {}))
    chunk = dataclasses.replace(CHUNK, stage=stage)
    words = chunk_command(target, settings, chunk, cast(Any, SimpleNamespace(path=Path("s"))), MODELS, on_cpu=True)
    paths = [word for word in words if "_step_9" in word]
    assert len(paths) == (2 if stage == "dynamics" else 0)
    assert [word for word in words if word.endswith("checkpoint=s")]
    assert "n_updates=20" in words
    assert bool([word for word in words if word.startswith("embed_dim=")]) is (align is not None)
    assert injected_backbone(settings) == (
        {key: getattr(settings.training, key) for key in BACKBONE_KEYS} if align else None
    )


@pytest.mark.requirement("P1", "P2")
@pytest.mark.parametrize(("on_cpu", "device"), [(True, "cpu"), (False, "cuda")])
@pytest.mark.parametrize("stage", ["latent_actions", "dynamics"])
def test_the_command_of_the_reference_names_every_setting_of_the_chunk(
    tmp_path: Path, stage: str, on_cpu: bool, device: str
) -> None:
    target, config, training = make_project(tmp_path), SETTINGS.stages[stage], SETTINGS.training
    chunk = dataclasses.replace(CHUNK, stage=stage)
    start: Any = SimpleNamespace(path=Path("start_step_9"))
    words = chunk_command(target, SETTINGS, chunk, start, MODELS, on_cpu=on_cpu, frames=Path("f.h5"))
    values = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("--"))
    inputs = {f"{name}_path": f"{name}_step_9" for name in MODELS} if stage == "dynamics" else {}
    assert values == inputs | {
        "n_updates": "20",
        "batch_size_per_gpu": str(config.batch_size_per_gpu),
        "learning_rate": repr(config.learning_rate),
        "gradient_accumulation_steps": str(config.gradient_accumulation_steps),
        "log_interval": str(config.log_interval),
        "keep_checkpoints": str(config.keep_checkpoints),
        "schedule_start": "0",
        "schedule_end": "40",
        "seed": str(training.seed),
        "device": device,
        "held_out_fraction": str(training.held_out_fraction),
        "split_seed": str(training.split_seed),
        "use_wandb": str(training.use_wandb).lower(),
        "nproc_per_node": "2",
        "distributed.use_ddp": "true",
        "data_path": "f.h5",
        "checkpoint": "start_step_9",
    }
    bare = chunk_command(target, SETTINGS, chunk, None, MODELS, on_cpu=on_cpu)
    assert not [word for word in bare if word.startswith(("data_path=", "checkpoint="))]


@pytest.mark.requirement("P1", "P2")
def test_the_announcement_of_a_chunk_has_its_parameters_and_their_sources(tmp_path: Path) -> None:
    layout, config = RunLayout(tmp_path, "a"), SETTINGS.stages["dynamics"]
    found = announcement(layout, SETTINGS, CHUNK, ["train"])
    params = {key: getattr(config, key) for key in found["params"]}
    assert set(params) == {"batch_size_per_gpu", "gradient_accumulation_steps", "learning_rate", "log_interval"}
    assert found == {
        "chunk": 3,
        "reason": "planned",
        "command": ["train"],
        "log": layout.chunk_log(3, "dynamics"),
        "start_update": 10,
        "end_update": 20,
        "target_updates": 40,
        "schedule_start": 0,
        "params": params,
        "param_sources": {key: SETTINGS.source_of("dynamics", key) for key in params},
        "nproc_per_node": SETTINGS.training.nproc_per_node,
        "nnodes": 1,
        "effective_batch": SETTINGS.effective_batch("dynamics"),
        "wandb": None,
    }
