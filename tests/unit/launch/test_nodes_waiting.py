"""Node 0 waits for the other nodes by a clock that the test sets; results of several nodes are merged.

pytest tests/unit/launch/test_nodes_waiting.py
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.launch.test_nodes import ONE, chunk, end
from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch import nodes as module
from tinyworlds_gate.launch.node_table import REFUSED, RUNNING, WAITING, NodeStatus
from tinyworlds_gate.launch.nodes import (
    NodeEnd,
    Nodes,
    evidence_file,
    lost_reason,
    merge_causes,
    merge_results,
    read_evidence,
)
from tinyworlds_gate.run.layout import RunLayout


class Table:
    """Statuses of nodes set by the test."""

    def __init__(self) -> None:
        self.statuses: dict[int, NodeStatus | None] = {1: ONE, 2: None}
        self.silent = {1: 0.0, 2: 0.0}
        self.states: list[Any] = []

    def status(self, node: int) -> NodeStatus | None:
        return self.statuses[node]

    def silent_s(self, node: int) -> float:
        return self.silent[node]

    def set_state(self, state: str, *, chunk: int | None = None) -> None:
        self.states.append((state, chunk))

    def leave(self, message: str) -> None:
        self.states.append(message)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    found = SimpleNamespace(now=1000.0, at={})

    def sleep(seconds: float) -> None:
        found.now += seconds
        for moment in [one for one in found.at if one <= found.now]:
            found.at.pop(moment)()

    monkeypatch.setattr(module, "_POLL_S", 0.5)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: found.now, sleep=sleep))
    return found


def of(tmp_path: Path, said: list[str], *, silence_s: float = 5.0, wait_s: float = 7.0, nnodes: int = 2) -> Nodes:
    layout = RunLayout(tmp_path, "run_1")
    layout.nodes.mkdir(parents=True)
    rendezvous = Rendezvous(nnodes, 0, "127.0.0.1:1", "job")
    return Nodes(rendezvous, cast(Any, Table()), layout, silence_s, wait_s, said.append)


def table(nodes: Nodes) -> Table:
    return cast(Table, nodes.table)


def test_node_0_waits_for_every_node_and_says_once_for_which(tmp_path: Path, clock: SimpleNamespace) -> None:
    said: list[str] = []
    run = of(tmp_path, said, nnodes=3)
    table(run).statuses[1] = None

    def come(node: int) -> None:
        table(run).statuses[node] = NodeStatus(node, "host", 7, "s")

    clock.at = {1002.0: lambda: come(1), 1003.5: lambda: come(2)}
    run.wait_until_ready()
    assert said == [
        "waiting for node 1, node 2 of 3 (rendezvous job)",
        "waiting for node 2 of 3 (rendezvous job)",
    ]
    assert clock.now == 1003.5


@pytest.mark.parametrize(
    ("state", "silent_s", "ready"), [(WAITING, 4.9, True), (WAITING, 5.0, False), (RUNNING, 0.0, False)]
)
def test_a_node_is_ready_while_it_waits_and_gives_signs_of_life(
    tmp_path: Path, clock: SimpleNamespace, state: str, silent_s: float, ready: bool
) -> None:
    run = of(tmp_path, [])
    table(run).statuses[1] = NodeStatus(1, "host-b", 7, "s1", state=state)
    table(run).silent[1] = silent_s
    if ready:
        run.wait_until_ready()
        assert clock.now == 1000.0
    else:
        with pytest.raises(LaunchError, match=r"node 1 of 2 did not come within 7 s"):
            run.wait_until_ready()
        assert clock.now == 1007.0
    table(run).statuses[1] = NodeStatus(1, "host-b", 7, "s1", state=REFUSED, message="no GPU")
    with pytest.raises(LaunchError, match=r"node 1 \(host-b\) cannot take part: no GPU"):
        run.wait_until_ready()


@pytest.mark.parametrize(("silence_s", "waited_s"), [(5.0, 60.0), (100.0, 200.0)])
def test_a_live_node_has_a_minute_or_twice_the_silence_for_its_evidence(
    tmp_path: Path, clock: SimpleNamespace, silence_s: float, waited_s: float
) -> None:
    run = of(tmp_path, [], silence_s=silence_s)
    run.begin(4)
    merged = run.merge(chunk(tmp_path), 4)
    assert merged.cause == "node_lost"
    assert merged.node_problem == "node 1 left no evidence of its part of the chunk"
    assert clock.now == 1000.0 + waited_s
    assert table(run).states == [("running", 4), ("closing", 4), ("waiting", 4)]
    (lost,) = merged.nodes
    assert lost == NodeEnd(1, "host-b", "node_lost", "node 1 left no evidence of its part of the chunk")


def test_a_node_that_is_lost_in_the_last_moment_is_reported_as_lost(tmp_path: Path, clock: SimpleNamespace) -> None:
    run = of(tmp_path, [])
    run.begin(4)
    clock.at = {1060.0: lambda: table(run).silent.update({1: 5.0})}
    assert "gave no sign of life" in str(run.merge(chunk(tmp_path), 4).node_problem)
    assert lost_reason(1, None, 4.9, None, 5.0) is None


def test_evidence_that_comes_late_counts_and_a_lost_node_is_not_waited_for(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    run = of(tmp_path, [])
    file = evidence_file(run.layout, 4, 1)
    file.write_text("of an earlier try")
    run.begin(4)
    assert not file.exists()
    assert run.problem(4) is None
    clock.at = {1003.0: lambda: file.write_text(json.dumps(asdict(end())))}
    assert run.merge(chunk(tmp_path), 4).cause == "ok"
    assert run.problem(4) is None
    file.write_text(json.dumps(asdict(end("followed"))))
    assert run.problem(4) is None
    file.unlink()
    clock.now, table(run).silent[1] = 2000.0, 5.0
    assert (
        run.problem(4) == "node 1 (host-b) gave no sign of life for 5 s: its harness, its machine or its disk is gone"
    )
    assert run.merge(chunk(tmp_path), 4).cause == "node_lost"
    assert clock.now == 2000.0
    table(run).statuses[1] = None
    (lost,) = run.merge(chunk(tmp_path), 4).nodes
    assert lost.host == "unknown host"
    run.close()
    assert table(run).states[-1] == "its run ended"


def test_a_node_that_restarted_since_the_chunk_began_is_lost(tmp_path: Path, clock: SimpleNamespace) -> None:
    run = of(tmp_path, [])
    run.begin(4)
    table(run).statuses[1] = NodeStatus(1, "host-b", 8, "s2")
    assert run.problem(4) == "node 1 (host-b) was restarted during the chunk, so its launcher is gone"


@pytest.mark.requirement("T1", "T6")
@pytest.mark.parametrize(
    ("own", "ends", "expected"),
    [
        ("node_lost", [], ("runtime_error", None)),
        ("node_lost", [end()], ("runtime_error", None)),
        ("node_lost", [end("timeout", "t"), end("runtime_error", "r")], ("timeout", "node 1 (host-b): t")),
        ("ok", [end("timeout", "t"), end("runtime_error", "r")], ("timeout", "node 1 (host-b): t")),
        ("node_lost", [end("node_lost", "gone")], ("node_lost", "gone")),
        ("killed", [end("node_lost", "gone")], ("node_lost", "gone")),
        ("out_of_memory", [end("out_of_memory", "oom")], ("out_of_memory", None)),
        ("ok", [end("killed", "a"), end("out_of_memory", "b")], ("out_of_memory", "node 1 (host-b): b")),
        ("ok", [end("killed", "a"), end("killed", "b")], ("killed", "node 1 (host-b): a; node 1 (host-b): b")),
        ("ok", [end("followed"), end("timeout", "t")], ("timeout", "node 1 (host-b): t")),
        ("runtime_error", [end("timeout", "t")], ("runtime_error", None)),
    ],
)
def test_the_cause_of_a_chunk_is_the_one_that_came_first(
    tmp_path: Path, own: str, ends: list[NodeEnd], expected: tuple[str, str | None]
) -> None:
    assert merge_causes(chunk(tmp_path, own), ends) == expected


def test_a_full_disk_and_the_memory_of_another_node_are_those_of_the_chunk(tmp_path: Path) -> None:
    merged = merge_results(chunk(tmp_path), [end("disk_full", "no space", peak_gpu_mem_gib=None)], "node 0")
    assert (merged.cause, merged.disk_problem) == ("disk_full", "node 1 (host-b): no space")
    assert merged.peak_gpu_mem_gib == 3.0
    own = chunk(tmp_path, "disk_full", disk_problem="own disk", peak_gpu_mem_gib=None)
    merged = merge_results(own, [end(peak_gpu_mem_gib=None)], "node 0")
    assert (merged.disk_problem, merged.node_problem, merged.peak_gpu_mem_gib) == ("own disk", None, None)
    assert merge_results(chunk(tmp_path), [end("killed", "x")], "node 0").disk_problem is None


@pytest.mark.parametrize("followed", [False, True])
def test_the_evidence_of_a_node_is_that_of_its_launch(tmp_path: Path, followed: bool) -> None:
    layout = RunLayout(tmp_path, "run_1")
    result = chunk(tmp_path, "killed", exit_code=None, signal="SIGKILL")
    found = NodeEnd.of(1, "host-b", result, layout, followed=followed)
    assert (found.cause, found.name) == ("followed" if followed else "killed", "node 1 (host-b)")
    assert found.told.startswith("it was ended by SIGKILL after 3.0 s")
    assert (found.log, found.device_samples, found.signal) == ("chunk.log", "devices.jsonl", "SIGKILL")
    assert found.workers == result.workers
    assert NodeEnd.of(1, "host-b", chunk(tmp_path), layout, followed=False).told == ""
    assert evidence_file(layout, 7, 2) == layout.nodes / "chunk_007_node_2.json"
    assert read_evidence(layout, 7, 2) is None
