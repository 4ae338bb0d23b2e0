"""The rendezvous of several machines: torchrun's arguments, and processes of another node.

pytest tests/unit/config/test_rendezvous.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.process_projects import make_project
from tinyworlds_gate.config.rendezvous import (
    Rendezvous,
    command_of_node,
    endpoint_problem,
    id_problem,
    nodes_problems,
    rendezvous_of,
    rendezvous_problems,
    with_node_options,
)
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.command import LaunchFiles, stage_command, stage_environment


@pytest.mark.parametrize(
    ("nnodes", "rank", "endpoint", "id", "nproc", "words"),
    [
        (
            *(2, 0, "127.0.0.1:29500", "job", 1),
            "--nnodes=2 --node_rank=0 --rdzv_backend=static --rdzv_endpoint=127.0.0.1:29500 --rdzv_id=job-chunk3 "
            "--nproc_per_node=1",
        ),
        (
            *(8, 7, "node-a.cluster:4000", "42", 8),
            "--nnodes=8 --node_rank=7 --rdzv_backend=static --rdzv_endpoint=node-a.cluster:4000 --rdzv_id=42-chunk3 "
            "--nproc_per_node=8",
        ),
        (
            *(2, 1, "[fe80::1]:1", "x", 2),
            "--nnodes=2 --node_rank=1 --rdzv_backend=static --rdzv_endpoint=[fe80::1]:1 --rdzv_id=x-chunk3 "
            "--nproc_per_node=2",
        ),
    ],
)
def test_torchrun_gets_the_rendezvous_of_this_chunk(
    tmp_path: Path, nnodes: int, rank: int, endpoint: str, id: str, nproc: int, words: str
) -> None:
    target, rendezvous = make_project(tmp_path), Rendezvous(nnodes, rank, endpoint, id)
    command = stage_command(target, "dynamics", nproc_per_node=nproc, rendezvous=rendezvous, chunk=3)
    assert command[1:3] == ["-m", "torch.distributed.run"]
    assert command[3 : command.index(str(target.stage_script("dynamics")))] == words.split()
    assert "--standalone" not in command
    assert "distributed.use_ddp=true" in command


def test_another_node_runs_node_0_s_command_with_its_own_rank(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    of = {
        rank: stage_command(target, "dynamics", nproc_per_node=2, rendezvous=Rendezvous(3, rank, "a:1", "job"), chunk=1)
        for rank in (0, 2)
    }
    assert command_of_node(of[0], 2) == of[2]


def test_a_command_of_one_machine_is_not_one_of_several(tmp_path: Path) -> None:
    command = stage_command(make_project(tmp_path), "dynamics", nproc_per_node=2)
    with pytest.raises(LaunchError, match=r"sets --node_rank=0 0 times instead of once.*Start all nodes with the same"):
        command_of_node(command, 1)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"nnodes": 1}, "--nnodes 1: a rendezvous needs at least 2 nodes"),
        ({"node_rank": 2}, "--node-rank 2 is out of range for 2 nodes; use 0 to 1"),
        ({"node_rank": -1}, "--node-rank -1 is out of range for 2 nodes"),
        ({"endpoint": "node-a"}, "--rdzv-endpoint node-a: 'node-a' is not host:port; give node 0's name or address"),
        ({"endpoint": "node-a:65536"}, "has the port 65536; use a port from 1 to 65535"),
        ({"id": "a/b"}, "--rdzv-id a/b: 'a/b' is not a valid name; use up to 100 letters"),
    ],
)
def test_wrong_node_options_are_refused_with_the_fix(place: dict[str, Any], said: str) -> None:
    right: dict[str, Any] = {"nnodes": 2, "node_rank": 0, "endpoint": "node-a:29500", "id": "job"}
    with pytest.raises(LaunchError, match=said):
        Rendezvous(**(right | place))


@pytest.mark.parametrize("text", ["localhost:1", "10.0.0.1:29500", "gpu-07.cluster.example:65535", "[::1]:29500"])
def test_hosts_with_a_port_are_endpoints(text: str) -> None:
    assert endpoint_problem(text) is None


@pytest.mark.parametrize("text", ["7", "job.42_a-b", "x" * 100])
def test_plain_names_name_a_rendezvous(text: str) -> None:
    assert id_problem(text) is None


@pytest.mark.parametrize(
    ("marker", "another"),
    [(None, False), ("", False), ("job/1", True), ("job/0", False), ("job/10", True), ("other/1", False)],
)
def test_only_processes_of_another_node_of_this_run_are_left_alone(marker: str | None, another: bool) -> None:
    assert Rendezvous(2, 0, "a:1", "job").is_another_node(marker) is another


def test_the_children_of_a_node_carry_its_marker_and_an_inherited_one_is_dropped(tmp_path: Path) -> None:
    target, files = make_project(tmp_path), LaunchFiles(tmp_path)
    inherited = {"TINYWORLDS_GATE_NODE": "old/3"}
    assert "TINYWORLDS_GATE_NODE" not in stage_environment(target, files, on_cpu=True, inherited=inherited)
    own = Rendezvous(2, 1, "a:1", "job")
    env = stage_environment(target, files, on_cpu=True, inherited=inherited, rendezvous=own)
    assert env["TINYWORLDS_GATE_NODE"] == "job/1"


WHOLE: dict[str, Any] = {"nnodes": 2, "rdzv_endpoint": "a:1", "rdzv_id": "job"}
SAME = (
    "the same on all nodes: the address at which node 0's torchrun listens (node-a:29500), and a name for this "
    "rendezvous (such as the job's name)."
)
ALONE = "has no effect on one machine; set --nnodes N for several, or leave it out."


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({}, []),
        ({"nnodes": 1}, []),
        ({"node_rank": 0, "rdzv_id": "x"}, [f"--node-rank 0 {ALONE}", f"--rdzv-id x {ALONE}"]),
        ({"nnodes": 1, "rdzv_endpoint": "a:1"}, [f"--rdzv-endpoint a:1 {ALONE}"]),
        (WHOLE, []),
        ({**WHOLE, "node_rank": 1}, []),
        ({"nnodes": 2}, [f"--nnodes 2 needs --rdzv-endpoint and --rdzv-id, {SAME}"]),
        ({"nnodes": 3, "rdzv_id": "x"}, [f"--nnodes 3 needs --rdzv-endpoint, {SAME}"]),
        ({"nnodes": 2, "rdzv_endpoint": "a:1", "node_rank": 1}, [f"--nnodes 2 needs --rdzv-id, {SAME}"]),
        ({**WHOLE, "target_repo": None}, []),
        (
            {**WHOLE, "target_repo": "x"},
            [
                "--nnodes 2 with --target-repo x: a checkout is trained on one machine; only the embedded reference "
                "supports several. Remove one of the two options."
            ],
        ),
        (
            {**WHOLE, "node_rank": 2},
            ["--node-rank 2 is out of range for 2 nodes; use 0 to 1, each on one machine."],
        ),
        (
            {**WHOLE, "rdzv_endpoint": "a:0", "rdzv_id": "a b"},
            [
                "--rdzv-endpoint a:0: 'a:0' has the port 0; use a port from 1 to 65535.",
                "--rdzv-id a b: 'a b' is not a valid name; use up to 100 letters, digits, '.', '_' and '-', the same "
                "on all nodes.",
            ],
        ),
    ],
)
def test_the_node_options_that_belong_together(options: dict[str, Any], problems: list[str]) -> None:
    assert nodes_problems(options) == problems


def test_a_rendezvous_is_made_of_the_options_of_several_nodes() -> None:
    assert rendezvous_of({}) is rendezvous_of({"nnodes": 1, "node_rank": 3}) is None
    assert rendezvous_of(WHOLE) == Rendezvous(2, 0, "a:1", "job")
    assert rendezvous_of({**WHOLE, "node_rank": 1}) == Rendezvous(2, 1, "a:1", "job")
    assert with_node_options({"seed": 1, "node_rank": 0}, {"node_rank": 1, "rdzv_id": "x", "seed": 2}) == {
        **{"seed": 1, "node_rank": 1, "rdzv_id": "x"}
    }
    only_rank = ["--node-rank 0 is out of range for 0 nodes; use 0 to -1, each on one machine."]
    assert rendezvous_problems(0, 1, "a:1", "x")[1:] == [only_rank[0].replace("rank 0", "rank 1")]
    assert len(rendezvous_problems(0, 0, "a:1", "x")) == len(rendezvous_problems(1, 0, "a:1", "x")) == 1


@pytest.mark.parametrize("text", ["a:0", "a:65536", "a", ":1", "-a:1", "a-:1", "a:1x", "[::1:1", "a:123456", "a b:1"])
def test_other_texts_are_no_endpoint(text: str) -> None:
    assert endpoint_problem(text) is not None


@pytest.mark.parametrize("text", ["", "-a", ".a", "a/b", "x" * 101])
def test_other_texts_name_no_rendezvous(text: str) -> None:
    assert id_problem(text) is not None


def test_a_command_with_two_ranks_is_shown_by_its_first_words() -> None:
    words = ["a", "b", "--node_rank=0", "d", "--node_rank=0", "f", "g"]
    said = "sets --node_rank=0 2 times instead of once, so it is not a multi-node command: a b --node_rank=0 d --node_r"
    with pytest.raises(LaunchError, match=f"{said}ank=0 f … Start all nodes with the same --nnodes"):
        command_of_node(words, 1)
    assert command_of_node(words[:4], 1) == ["a", "b", "--node_rank=1", "d"]
    assert command_of_node(["--node_rank=0"], 2) == ["--node_rank=2"]
