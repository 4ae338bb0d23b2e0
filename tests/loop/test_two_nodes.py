"""Two torchrun agents on loopback, two "nodes" of one gloo worker each: trained together, saved once, one killed.

python -m pytest tests/loop/test_two_nodes.py
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.helpers import tiny_project
from tests.helpers.two_nodes import STAGE, NodeProject, free_port, node_project, other_node, wait_for
from tinyworlds_gate.checkpoints.layout import list_checkpoints
from tinyworlds_gate.run.heartbeat import HeartbeatReader

UPDATES, SAVED_EVERY = 12, 6


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> NodeProject:
    """A chunk that two nodes trained; their harnesses have ended."""
    root = tmp_path_factory.mktemp("two_nodes")
    run = node_project(root, nnodes=2, nproc=1, updates=UPDATES, saved_every=SAVED_EVERY)
    with run as project, other_node(project) as node:
        result = project.train(UPDATES)
        assert result.verdict == "PASS", (project.said, node.output())
        assert project.context.nodes is not None
        project.context.nodes.close()
        assert node.process.wait(30) == 0, node.output()
    return project


@pytest.mark.requirement("P2", "H6")
def test_two_nodes_train_one_chunk_together(together: NodeProject) -> None:
    started, finished = together.events("chunk_started")[-1], together.events("chunk_finished")[-1]
    assert (started["nnodes"], started["nproc_per_node"], started["effective_batch"]) == (2, 1, 8)
    assert "--node_rank=0" in started["command"]
    assert finished["cause"] == "ok"
    assert [worker["rank"] for worker in finished["workers"]] == [0, 1]
    assert len({worker["pid"] for worker in finished["workers"]}) == 2
    assert [worker["steps"] for worker in finished["workers"]] == [UPDATES, UPDATES]
    assert [(end["node"], end["cause"], end["exit_code"]) for end in finished["nodes"]] == [(1, "ok", 0)]
    assert finished["extra_launchers"] == []  # the other node's workers run on this machine and are no intruders


def test_each_node_leaves_its_own_heartbeats_and_device_evidence(together: NodeProject) -> None:
    layout, finished = together.context.layout, together.events("chunk_finished")[-1]
    assert {beat.rank for beat in HeartbeatReader(layout.chunk_heartbeats(1)).poll()} == {0}
    assert {beat.rank for beat in HeartbeatReader(layout.chunk_heartbeats(1, 1)).poll()} == {1}
    assert (layout.project_root / finished["nodes"][0]["device_samples"]).stat().st_size > 0
    assert "node 0 (" in finished["dual_gpu_reason"]
    assert "node 1 (" in finished["dual_gpu_reason"]


def test_only_rank_0_saves(together: NodeProject) -> None:
    layout = together.context.layout
    saved = [step for step, _ in list_checkpoints(layout.checkpoints(STAGE), STAGE)]
    assert saved == [SAVED_EVERY - 1, UPDATES - 1]
    own, other = (layout.chunk_log(1, STAGE, node).read_text() for node in (0, 1))
    assert own.count("checkpoint saved") == 2
    assert "checkpoint saved" not in other
    assert len(list(layout.visualizations(STAGE).glob("*.png"))) == 2


@pytest.mark.slow
def test_two_nodes_train_to_the_bit_as_one_node_with_two_workers(together: NodeProject, tmp_path: Path) -> None:
    with node_project(tmp_path, nnodes=1, nproc=2, updates=UPDATES, saved_every=SAVED_EVERY) as one:
        assert one.train(UPDATES).verdict == "PASS", one.said
    assert together.losses() == one.losses()
    digests = [project.events("chunk_finished")[-1]["checkpoint"]["sha256"] for project in (together, one)]
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_a_killed_node_ends_the_chunk_with_its_name_and_the_run_goes_on_once_it_is_back(tmp_path: Path) -> None:
    updates, saved_every = 400, 100
    with node_project(tmp_path, nnodes=2, nproc=1, updates=updates, saved_every=saved_every, silence_s=4.0) as project:
        results = []
        trainer = threading.Thread(target=lambda: results.append(project.train(updates)))
        with other_node(project) as node:
            trainer.start()
            saved = project.context.layout.checkpoint(STAGE, saved_every - 1)
            wait_for(saved.exists, "the first checkpoint")
            node.kill()
        wait_for(lambda: bool(project.events("chunk_finished")), "the end of the chunk on node 0")
        with other_node(project, "node_1_again") as node:
            trainer.join(120)
            assert results, (project.said, node.output())
            assert results[0].verdict == "PASS", (project.said, node.output())
    first, second = project.events("chunk_finished")
    assert first["cause"] == "node_lost"
    assert "node 1 (" in first["failure"]["reason"]
    assert "gave no sign of life for 4 s" in first["failure"]["reason"]
    retune = project.events("retune")[-1]
    assert (retune["id"], retune["changes"]) == ("T6", {})
    start = project.events("chunk_started")[-1]["start_update"]
    assert start >= saved_every
    assert start == first["continue_from"]["step"] + 1
    assert second["cause"] == "ok"
    assert [int(row) for row in steps(project)] == list(range(updates))


def steps(project: NodeProject) -> list[str]:
    return [line.split(",")[0] for line in project.context.layout.history(STAGE).read_text().splitlines()[1:]]


@pytest.mark.slow
def test_two_pytest_sessions_are_one_run(tmp_path: Path) -> None:
    root = tiny_project.make_project(tmp_path / "project")
    place = ("--nnodes", "2", "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-id", "job")
    own = ("--train-stage", "video_tokenizer", "--video-target-updates", "20", "--monitor-interval-sec", "0.5")
    with tiny_project.started(root, "validation/", *place, "--node-rank", "1") as other:
        session = tiny_project.run_pytest(root, "validation/", "-m", "smoke", *place, *own, timeout_s=280)
        output, _ = other.communicate(timeout=60)
    assert other.returncode == 0, output
    assert "[node 1] chunk 1: ok" in output
    (finished,) = session.events("chunk_finished")
    assert finished["cause"] == "ok", session.output
    assert [worker["rank"] for worker in finished["workers"]] == [0, 1]
    assert session.events("stage_finished")[0]["verdict"] == "PASS"
    assert session.found("P2")[0] == "PASS", session.found("P2")
    assert "[gate]" not in output  # no loop of its own
    assert len(tiny_project.runs(root)) == 1
