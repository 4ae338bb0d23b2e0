"""Liveness of nodes, and merging the evidence of all nodes of a chunk.

pytest tests/unit/launch/test_nodes.py
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.launcher import ChunkResult, Worker
from tinyworlds_gate.launch.node_table import (
    LEFT,
    REFUSED,
    RUNNING,
    WAITING,
    NodeStatus,
    NodeTable,
    next_sighting,
    read_status,
)
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

ONE = NodeStatus(node=1, host="host-b", pid=7, session="s1", count=4)


class Clock:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def table(folder: Path, node: int, clock: Clock) -> NodeTable:
    folder.mkdir(exist_ok=True)
    return NodeTable(folder, node, 2, clock=clock)


def test_the_first_read_of_a_file_does_not_prove_a_live_node() -> None:
    first = next_sighting(None, ONE, 5.0)
    assert first is not None
    assert not first.alive
    again = next_sighting(first, ONE, 9.0)
    assert again is not None
    assert (again.alive, again.changed_at) == (False, 5.0)
    moved = next_sighting(again, replace(ONE, count=5), 11.0)
    assert moved is not None
    assert (moved.alive, moved.changed_at) == (True, 11.0)


def test_a_restarted_harness_counts_as_a_change_even_with_the_same_count() -> None:
    moved = next_sighting(next_sighting(None, ONE, 5.0), replace(ONE, session="s2"), 6.0)
    assert moved is not None
    assert moved.alive


def test_a_file_that_is_gone_for_a_moment_changes_nothing() -> None:
    first = next_sighting(None, ONE, 5.0)
    assert next_sighting(first, None, 6.0) == first
    assert next_sighting(None, None, 6.0) is None


def test_a_node_is_silent_since_its_count_last_changed(tmp_path: Path, clock: Clock) -> None:
    zero, one = table(tmp_path, 0, clock), table(tmp_path, 1, clock)
    assert zero.silent_s(1) == float("inf")
    for _ in range(2):
        one.tick()
        zero.tick()
    status = zero.status(1)
    assert status is not None
    assert (status.node, status.state) == (1, WAITING)
    clock.now += 7.0
    zero.tick()
    assert zero.silent_s(1) == 7.0
    one.tick()
    zero.tick()
    assert zero.silent_s(1) == 0.0


def test_a_pause_of_the_own_process_is_not_counted_as_silence_of_other_nodes(tmp_path: Path, clock: Clock) -> None:
    zero, one = table(tmp_path, 0, clock), table(tmp_path, 1, clock)
    for _ in range(2):
        one.tick()
        zero.tick()
    clock.now += 600.0  # stopped, with the whole machine
    zero.tick()
    assert zero.silent_s(1) == 0.0


def test_a_node_writes_its_state_at_once_and_its_end(tmp_path: Path) -> None:
    one = NodeTable(tmp_path / "nodes", 1, 2)
    one.start()
    one.set_state(RUNNING, chunk=3)
    status = read_status(tmp_path / "nodes", 1)
    assert status is not None
    assert (status.state, status.chunk) == (RUNNING, 3)
    one.leave("done")
    one.leave("not written twice")
    status = read_status(tmp_path / "nodes", 1)
    assert status is not None
    assert (status.state, status.message, status.chunk) == (LEFT, "done", 3)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"node": 1}'])
def test_an_incomplete_status_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "node_1.json").write_text(text)
    assert read_status(tmp_path, 1) is None


@pytest.mark.parametrize(
    ("status", "silent_s", "session", "expected"),
    [
        (ONE, 1.0, "s1", None),
        (
            ONE,
            30.0,
            "s1",
            "node 1 (host-b) gave no sign of life for 30 s: its harness, its machine or its disk is gone",
        ),
        (None, float("inf"), None, "node 1 gave no sign of life for 30 s"),
        (ONE, 1.0, "s0", "node 1 (host-b) was restarted during the chunk, so its launcher is gone"),
        (replace(ONE, state=LEFT, message="SIGTERM"), 1.0, "s1", "node 1 (host-b) left the chunk: SIGTERM"),
        (replace(ONE, state=REFUSED, message="no GPU"), 1.0, "s1", "node 1 (host-b) left the chunk: no GPU"),
    ],
)
def test_a_node_is_lost_if_it_is_silent_leaves_or_restarts(
    status: NodeStatus | None, silent_s: float, session: str | None, expected: str | None
) -> None:
    reason = lost_reason(1, status, silent_s, session, 30.0)
    assert reason is None if expected is None else (reason or "").startswith(expected)


def chunk(tmp_path: Path, cause: str = "ok", **changes: Any) -> ChunkResult:
    fields: dict[str, Any] = {
        "stage": "dynamics",
        "chunk": 2,
        "command": ("torchrun",),
        "exit_code": 0 if cause == "ok" else 1,
        "signal": None,
        "cause": cause,
        "wall_s": 3.0,
        "launcher_pid": 5,
        "workers": (Worker(0, 50, "GPU-0", 9, 1.0),),
        "dual_gpu_ok": True,
        "dual_gpu_reason": "2 GPUs busy together",
        "device_samples": tmp_path / "devices.jsonl",
        "peak_gpu_mem_gib": 3.0,
        "extra_launchers": (),
        "leftovers": (),
        "ended": (),
        "disk_problem": None,
        "last_step": 8,
        "stopped": None,
        "log": tmp_path / "chunk.log",
        "log_tail": (),
    }
    return ChunkResult(**(fields | changes))


def end(cause: str = "ok", told: str = "", **changes: Any) -> NodeEnd:
    worker = asdict(Worker(1, 60, "GPU-1", 9, 1.0))
    fields: dict[str, Any] = {
        "dual_gpu_ok": True,
        "dual_gpu_reason": "also busy",
        "workers": [worker],
        "peak_gpu_mem_gib": 4.0,
    }
    return NodeEnd(1, "host-b", cause, told, **(fields | changes))


@pytest.mark.parametrize(
    ("own", "other", "cause", "said"),
    [
        ("ok", end(), "ok", None),
        ("ok", end("followed", "ended with node 0"), "ok", None),
        ("runtime_error", end("followed", "x"), "runtime_error", None),
        (
            "runtime_error",
            end("node_lost", "node 1 (host-b) gave no sign"),
            "node_lost",
            "node 1 (host-b) gave no sign",
        ),
        ("runtime_error", end("killed", "rank 1 by SIGKILL"), "killed", "node 1 (host-b): rank 1 by SIGKILL"),
        ("runtime_error", end("out_of_memory", "oom"), "out_of_memory", "node 1 (host-b): oom"),
        ("out_of_memory", end("runtime_error", "peer gone"), "out_of_memory", None),
        ("killed", end("runtime_error", "peer gone"), "killed", None),
        ("killed", end("out_of_memory", "oom"), "out_of_memory", "node 1 (host-b): oom"),
        ("node_lost", end("timeout", "no step"), "timeout", "node 1 (host-b): no step"),
        ("timeout", end("runtime_error", "peer gone"), "timeout", None),
        ("ok", end("runtime_error", "crashed at the end"), "runtime_error", "node 1 (host-b): crashed at the end"),
    ],
)
@pytest.mark.requirement("T1", "T6")
def test_the_cause_is_that_of_the_node_that_failed_first(
    tmp_path: Path, own: str, other: NodeEnd, cause: str, said: str | None
) -> None:
    assert merge_causes(chunk(tmp_path, own), [other]) == (cause, said)


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("own", "other", "both"), [(True, True, True), (True, False, False), (None, True, None), (None, False, False)]
)
def test_the_devices_of_every_node_must_have_worked(
    tmp_path: Path, own: bool | None, other: bool | None, both: bool | None
) -> None:
    merged = merge_results(chunk(tmp_path, dual_gpu_ok=own), [end(dual_gpu_ok=other)], "node 0 (host-a)")
    assert merged.dual_gpu_ok is both
    assert merged.dual_gpu_reason == "node 0 (host-a): 2 GPUs busy together; node 1 (host-b): also busy"


def test_a_result_holds_the_workers_and_the_most_memory_of_all_nodes(tmp_path: Path) -> None:
    merged = merge_results(chunk(tmp_path), [end()], "node 0 (host-a)")
    assert [worker.rank for worker in merged.workers] == [0, 1]
    assert merged.peak_gpu_mem_gib == 4.0
    assert merged.journal_fields()["nodes"] == (end(),)


def test_evidence_is_read_back_and_incomplete_evidence_is_none(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path, "run_1")
    layout.nodes.mkdir(parents=True)
    assert read_evidence(layout, 2, 1) is None
    evidence_file(layout, 2, 1).write_text(json.dumps(asdict(end("killed", "x")))[:-5])
    assert read_evidence(layout, 2, 1) is None
    evidence_file(layout, 2, 1).write_text(json.dumps(asdict(end("killed", "x"))))
    found = read_evidence(layout, 2, 1)
    assert found is not None
    assert json.dumps(asdict(found)) == json.dumps(asdict(end("killed", "x")))


def nodes(tmp_path: Path, said: list[str], wait_s: float) -> Nodes:
    layout = RunLayout(tmp_path, "run_1")
    zero = NodeTable(layout.nodes, 0, 2, interval_s=0.05)
    zero.start()
    return Nodes(Rendezvous(2, 0, "127.0.0.1:1", "job"), zero, layout, 5.0, wait_s, said.append)


def test_a_run_waits_for_its_nodes_and_stops_with_the_fix_when_one_does_not_come(tmp_path: Path) -> None:
    said: list[str] = []
    run = nodes(tmp_path, said, wait_s=0.3)
    with pytest.raises(
        LaunchError, match=r"node 1 of 2 did not come within 0.3 s \(watchdog.node_wait_s\).*--resume-run"
    ):
        run.wait_until_ready()
    run.close()
    assert said == ["waiting for node 1 of 2 (rendezvous job)"]


def test_a_run_stops_with_the_reason_of_a_node_that_cannot_take_part(tmp_path: Path) -> None:
    run = nodes(tmp_path, [], wait_s=20.0)
    one = NodeTable(run.layout.nodes, 1, 2, interval_s=0.05)
    one.start()
    one.set_state(REFUSED, message="it has 0 NVIDIA GPUs")
    with pytest.raises(LaunchError, match=r"node 1 \(.*\) cannot take part: it has 0 NVIDIA GPUs"):
        run.wait_until_ready()
    one.leave()
    run.close()


def test_a_run_is_ready_once_every_node_waits(tmp_path: Path) -> None:
    run = nodes(tmp_path, [], wait_s=20.0)
    one = NodeTable(run.layout.nodes, 1, 2, interval_s=0.05)
    one.start()
    run.wait_until_ready()
    run.begin(4)
    assert run.problem(4) is None
    evidence_file(run.layout, 4, 1).write_text(json.dumps(asdict(end("killed", "rank 1 by SIGKILL"))))
    assert run.problem(4) == "node 1 (host-b): rank 1 by SIGKILL"
    one.leave("SIGTERM")
    run.close()
