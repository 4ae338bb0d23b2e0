"""What a chunk's launch passes to `run_chunk`, on one machine and on several.

The process itself is that of test_chunk.py (launch); tests/loop and tests/faults launch whole chunks.

pytest tests/unit/stages/test_chunk_launch.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.helpers.config_files import REPOSITORY
from tests.helpers.process_projects import make_project
from tests.unit.launch.test_nodes import chunk as ended
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.launch.chunk_watch import ChunkSettings
from tinyworlds_gate.launch.launcher import ChunkResult
from tinyworlds_gate.launch.nodes import Nodes
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages import chunk_launch
from tinyworlds_gate.stages.chunk_launch import Chunk, launch_chunk

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
