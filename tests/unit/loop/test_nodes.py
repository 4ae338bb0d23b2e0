"""The harness of another node: whom it follows, when it ends, and what it refuses. (`test_two_nodes.py` trains.)

pytest tests/unit/loop/test_nodes.py
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.config_files import copy_profile
from tests.helpers.two_nodes import ID, NodeProject, node_project, wait_for
from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.node_table import CLOSING, REFUSED, RUNNING, WAITING, NodeStatus, NodeTable, read_status
from tinyworlds_gate.loop import nodes as nodes_module
from tinyworlds_gate.loop.nodes import NodeFollower, open_nodes, pointer_file
from tinyworlds_gate.run.layout import RunLayout

PLACE = Rendezvous(2, 1, "127.0.0.1:1", ID)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[NodeProject]:
    """Node 0's run, opened, without a chunk."""
    with node_project(tmp_path, nnodes=2, nproc=1, updates=12, saved_every=6) as project:
        yield project


def follower(root: Path, said: list[str], wait_s: float = 30.0) -> NodeFollower:
    return NodeFollower(root, PLACE, said.append, wait_s)


def test_a_node_that_nobody_calls_says_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(
        LaunchError, match=r"node 0 opened no run under --rdzv-id loopback within 0\.3 s\. Start it with"
    ):
        follower(tmp_path, [], wait_s=0.3).follow()


def test_a_node_whose_node_0_is_gone_stops_with_the_way_to_go_on(tmp_path: Path) -> None:
    copy_profile("smoke", RunLayout(tmp_path, "run_1").create().configs)
    point_to(tmp_path, "run_1")
    with pytest.raises(LaunchError, match=r"node 0 gave no sign of life in results/run_1 for 1 s.*--resume-run"):
        follower(tmp_path, [], wait_s=1.0).follow()


def point_to(root: Path, run: str) -> None:
    pointer_file(root, ID).parent.mkdir(parents=True, exist_ok=True)
    pointer_file(root, ID).write_text(json.dumps({"run": run, "session": "old"}))


def test_a_node_leaves_the_run_of_an_earlier_job_for_the_one_that_node_0_opens_now(tmp_path: Path) -> None:
    RunLayout(tmp_path, "run_0").create()
    point_to(tmp_path, "run_0")
    said: list[str] = []
    follows = threading.Thread(target=follower(tmp_path, said).follow)
    follows.start()
    wait_for(lambda: bool(said), "the earlier run")
    with node_project(tmp_path, nnodes=2, nproc=1, updates=12, saved_every=6) as project:
        assert project.context.nodes is not None
        project.context.nodes.wait_until_ready()
    follows.join(20)
    assert not follows.is_alive()
    assert [line.split(" (")[0] for line in said[:2]] == ["following results/run_0", "following results/run_1"]
    assert said[-1] == "node 0 has ended its run: its run ended"


@pytest.mark.parametrize(
    ("command", "nproc", "said"),
    [
        (["/another/python", "--node_rank=0", "device=cpu"], 1, "runs another Python than this node"),
        (["PYTHON", "--node_rank=0", "device=cpu"], 1, "runs another script than this node"),
        (
            ["PYTHON", "SCRIPT", "--node_rank=0", "device=cuda"],
            8,
            "nproc_per_node=8, but this node has 1 NVIDIA GPUs; give node 0 --nproc-per-node 1",
        ),
    ],
)
def test_a_machine_that_cannot_take_part_says_why_to_node_0_and_ends(
    project: NodeProject, monkeypatch: pytest.MonkeyPatch, command: list[str], nproc: int, said: str
) -> None:
    monkeypatch.setattr(nodes_module, "gpu_count", lambda: 1)
    context = project.context
    own = {"PYTHON": str(context.target.python), "SCRIPT": str(context.target.stage_script("dynamics"))}
    raised: list[LaunchError] = []

    def follow() -> None:
        with pytest.raises(LaunchError, match=said) as caught:
            follower(project.root, []).follow()
        raised.append(caught.value)

    follows = threading.Thread(target=follow)
    follows.start()
    nodes = context.nodes
    assert nodes is not None
    nodes.wait_until_ready()
    words = [own.get(word, word) for word in command]
    context.journal.append(
        "chunk_started", chunk=1, stage="dynamics", command=words, nproc_per_node=nproc, start_update=0, end_update=12
    )
    nodes.begin(1)
    wait_for(lambda: nodes.problem(1) is not None, "node 1's refusal")
    assert "left the chunk" in str(nodes.problem(1))
    follows.join(20)
    assert len(raised) == 1


def test_only_node_0_opens_a_run_and_only_for_the_embedded_reference(project: NodeProject) -> None:
    with pytest.raises(LaunchError, match="--node-rank 1: only node 0 runs the loop"):
        open_nodes(project.context, PLACE)
    project.context.target = replace(project.context.target, kind="tinyworlds")
    with pytest.raises(LaunchError, match=r"a tinyworlds target is driven on one machine only.*leave --nnodes out"):
        open_nodes(project.context, replace(PLACE, node_rank=0))


class Leader(NodeTable):
    """A table that shows a node 0 which a test moves."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 1, 2)
        self.shown: NodeStatus | None = NodeStatus(0, "host-a", 1, "s1", 1, RUNNING, 3)
        self.silence = 0.0

    def status(self, node: int) -> NodeStatus | None:
        return self.shown

    def silent_s(self, node: int) -> float:
        return self.silence


@pytest.mark.parametrize(
    ("changes", "silent_s", "said"),
    [
        ({}, 0.0, None),
        ({}, 31.0, "node 0 gave no sign of life for 30 s"),
        ({"session": "s2"}, 0.0, "node 0's harness was started anew"),
        ({"state": CLOSING}, 0.0, None),
        ({"state": "left"}, 0.0, "node 0's launcher has ended"),
        ({"state": WAITING, "chunk": 3}, 0.0, None),
        ({"state": RUNNING, "chunk": 4}, 0.0, "node 0's launcher has ended"),
    ],
)
def test_a_launcher_is_ended_when_node_0_no_longer_runs_its_chunk(
    tmp_path: Path, changes: dict[str, Any], silent_s: float, said: str | None
) -> None:
    table = Leader(tmp_path)
    assert table.shown is not None
    watch = nodes_module._LeaderWatch(table, table.shown, 30.0)
    table.shown, table.silence = replace(table.shown, **changes), silent_s
    assert watch() == said


def test_a_launcher_has_some_seconds_to_end_by_itself_once_node_0_s_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Leader(tmp_path)
    assert table.shown is not None
    watch = nodes_module._LeaderWatch(table, table.shown, 30.0)
    table.shown = replace(table.shown, state=CLOSING)
    assert watch() is None
    monkeypatch.setattr(nodes_module, "_GRACE_S", 0.0)
    assert watch() == "node 0's launcher has ended"


def test_a_refusal_is_recorded_in_the_node_s_file(project: NodeProject) -> None:
    table = NodeTable(project.context.layout.nodes, 1, 2)
    table.start()
    table.set_state(REFUSED, message="no GPU")
    status = read_status(project.context.layout.nodes, 1)
    assert status is not None
    assert (status.state, status.message) == (REFUSED, "no GPU")
    table.leave()
