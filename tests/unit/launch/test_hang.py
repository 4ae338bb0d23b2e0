"""Which rank keeps the others waiting.

pytest tests/unit/launch/test_hang.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.helpers.process_projects import first_line, running
from tinyworlds_gate.launch.hang import RankState, who_hangs
from tinyworlds_gate.launch.processes import python_stack
from tinyworlds_gate.launch.processes.python_stack import Frame
from tinyworlds_gate.launch.processes.rank_state import sample_ranks
from tinyworlds_gate.run.identity import ProcessIdentity, identify

SITE = "/env/lib/python3.12/site-packages/"
STEP = Frame("/project/scripts/train.py", "step")
COLLECTIVE = (
    Frame(f"{SITE}torch/distributed/distributed_c10d.py", "all_reduce"),
    Frame(f"{SITE}torch/distributed/c10d_logger.py", "wrapper"),
    STEP,
)
BARRIER = (Frame(f"{SITE}torch/distributed/distributed_c10d.py", "barrier"), *COLLECTIVE[1:])
BACKWARD = (
    Frame(f"{SITE}torch/autograd/graph.py", "_engine_run_backward"),
    Frame(f"{SITE}torch/_tensor.py", "backward"),
    STEP,
)
DEVICE = (Frame(f"{SITE}torch/cuda/streams.py", "synchronize"), STEP)
LOADS = (Frame("/project/data/clips.py", "load"), STEP)
LOCKED = (Frame("/env/lib/python3.12/threading.py", "wait"), *LOADS)


def state(rank: int, stack: tuple[Frame, ...] | None, running: float = 0.0, **more: bool | None) -> RankState:
    return RankState(rank, 100 + rank, more.get("alive") is not False, running, stack, more.get("gpu_busy"))


@pytest.mark.requirement("T1", "L2")
@pytest.mark.parametrize("waiting", [COLLECTIVE, BARRIER, BACKWARD, DEVICE], ids=lambda stack: stack[0].name)
@pytest.mark.parametrize(("stack", "place"), [(LOADS, "load in data/clips.py"), (LOCKED, "load in data/clips.py")])
@pytest.mark.parametrize(("share", "verb"), [(0.0, "sleeps"), (1.0, "computes")])
def test_the_rank_outside_the_collective_is_named(
    waiting: tuple[Frame, ...], stack: tuple[Frame, ...], place: str, share: float, verb: str
) -> None:
    for rank in (0, 1):
        states = [state(rank, stack, share), state(1 - rank, waiting)]
        assert who_hangs(states) == f"rank {rank} {verb} in {place}, and rank {1 - rank} waits"


def test_a_backward_pass_that_computes_is_no_waiting() -> None:
    said = who_hangs([state(0, COLLECTIVE), state(1, BACKWARD, 1.0)])
    assert said == "rank 1 computes in step in scripts/train.py, and rank 0 waits"


def test_a_rank_that_is_gone_left() -> None:
    said = who_hangs([state(0, LOADS), state(1, None, alive=False)])
    assert said == "rank 1 left with exit code 0 before its peers"


def test_ranks_in_different_collectives_wait_for_each_other() -> None:
    said = who_hangs([state(0, BACKWARD), state(1, BARRIER)])
    assert said == "the ranks wait for each other in different calls: rank 0 in backward, rank 1 in barrier"
    assert who_hangs([state(0, BACKWARD), state(1, BARRIER)], all_ranks=False) is None, "or for a rank elsewhere"
    assert who_hangs([state(0, COLLECTIVE), state(1, COLLECTIVE)]) is None
    assert who_hangs([state(0, COLLECTIVE), state(1, DEVICE)]) is None, "the device may hang"


def test_on_gpus_the_rank_without_gpu_work_is_named() -> None:
    idle, spins = state(0, LOADS, gpu_busy=False), state(1, (STEP,), 1.0, gpu_busy=True)
    assert who_hangs([idle, spins]) == "rank 0 sleeps in load in data/clips.py, and rank 1 waits"
    assert who_hangs([state(0, LOADS), spins]) is None
    assert who_hangs([idle, state(1, (STEP,), 1.0, gpu_busy=False)]) is None


def test_every_rank_in_the_same_place_is_no_single_rank() -> None:
    assert who_hangs([state(0, LOADS), state(1, LOADS)]) == "every rank sleeps in load in data/clips.py"
    assert who_hangs([state(0, LOADS), state(1, (STEP,))]) is None


def test_without_stacks_the_only_rank_that_runs_on_a_cpu_is_named() -> None:
    assert who_hangs([state(0, None), state(1, None, 1.0)]) == "rank 1 computes, and rank 0 waits"
    assert who_hangs([state(0, None), state(1, None)]) is None
    assert who_hangs([state(0, None, gpu_busy=True), state(1, None, 1.0, gpu_busy=True)]) is None
    assert who_hangs([]) is None


@pytest.mark.skipif(python_stack._layout() is None, reason="the layout of this Python is not known")
def test_real_processes_are_sampled_by_their_main_thread(tmp_path: Path) -> None:
    code = (
        "import threading, time\n"
        "def naps(): time.sleep(60)\n"
        "def spins():\n    while True: pass\n"
        "threading.Thread(target=OTHER, daemon=True).start()\n"
        "print('ready', flush=True)\nMAIN()\n"
    )
    naps = [sys.executable, "-c", code.replace("MAIN", "naps").replace("OTHER", "naps")]
    spins = [sys.executable, "-c", code.replace("MAIN", "spins").replace("OTHER", "naps")]
    with running(naps, cwd=tmp_path) as first, running(spins, cwd=tmp_path) as second:
        for process in (first, second):
            first_line(process)
        found = sample_ranks({0: identity_of(first.pid), 1: identity_of(second.pid)}, {})
    assert [one.doing for one in found] == ["sleeps in naps in <string>", "computes in spins in <string>"]
    assert [one.alive for one in found] == [True, True]


def test_a_process_that_has_ended_is_not_alive(tmp_path: Path) -> None:
    with running(["sleep", "60"], cwd=tmp_path) as process:
        identity = identity_of(process.pid)
    assert [one.alive for one in sample_ranks({0: identity}, {})] == [False]


def identity_of(pid: int) -> ProcessIdentity:
    identity = identify(pid)
    assert identity is not None
    return identity
