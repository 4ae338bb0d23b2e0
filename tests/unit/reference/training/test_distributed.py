"""The ranks of a training: what they average, gather and draw, over a real process group of two processes.

pytest tests/unit/reference/training/test_distributed.py
"""

from __future__ import annotations

import multiprocessing
import os
import socket
from multiprocessing.connection import Connection
from typing import Any

import pytest
import torch

from tests.helpers.warm_python import LIMIT_S, PRELOADED
from tinyworlds_gate.reference.training.distributed import Worker, restore_rng, rng_state, seed_worker, worker_session

RANKS = 2


def _rank(rank: int, port: int, sink: Connection) -> None:
    """Join the group as this rank and send what it sees."""
    group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": RANKS, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in group.items()}
    torch.set_num_threads(1)
    with worker_session(use_ddp=True, device_setting="cpu") as worker:
        own = torch.tensor([1.0, 10.0]) * (rank + 1)
        mean = worker.mean(own)
        worker.barrier()
        sink.send((worker.rank, worker.is_main, mean.tolist(), own.tolist(), worker.gather(f"rank {rank}")))


@pytest.fixture(scope="module")
def ranks() -> list[tuple[Any, ...]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes = [context.Pipe(duplex=False) for _ in range(RANKS)]
    processes = [context.Process(target=_rank, args=(rank, port, pipes[rank][1])) for rank in range(RANKS)]
    for process in processes:
        process.start()
    try:
        assert all(source.poll(LIMIT_S) for source, _ in pipes), "a rank sent nothing"
        found = [source.recv() for source, _ in pipes]
        for process in processes:
            process.join(LIMIT_S)
        assert [process.exitcode for process in processes] == [0] * RANKS
    finally:
        for process in processes:
            process.kill()
            process.join()
            process.close()
    return found


@pytest.mark.requirement("L3")
def test_a_mean_is_that_of_all_ranks_and_leaves_their_own_values_as_they_were(ranks: list[tuple[Any, ...]]) -> None:
    assert [mean for _, _, mean, _, _ in ranks] == [[1.5, 15.0]] * RANKS
    assert [own for _, _, _, own, _ in ranks] == [[1.0, 10.0], [2.0, 20.0]]


@pytest.mark.requirement("L3")
def test_every_rank_gathers_the_values_of_all_in_the_order_of_the_ranks(ranks: list[tuple[Any, ...]]) -> None:
    assert [gathered for *_, gathered in ranks] == [["rank 0", "rank 1"]] * RANKS
    assert [(rank, is_main) for rank, is_main, *_ in ranks] == [(0, True), (1, False)]


def test_a_single_process_is_its_own_mean_and_gathers_itself() -> None:
    worker = Worker(0, 1, torch.device("cpu"))
    assert worker.mean(torch.tensor([3.0])).tolist() == [3.0]
    assert worker.gather("x") == ["x"]


def test_each_rank_and_seed_has_a_random_stream_of_its_own_that_can_be_restored() -> None:
    before = torch.get_rng_state()
    try:
        drawn = {}
        for seed in range(3):
            for rank in range(3):
                seed_worker(seed, rank)
                drawn[seed, rank] = tuple(torch.rand(4).tolist())
        assert len(set(drawn.values())) == 9
        seed_worker(1, 2)
        state = rng_state(torch.device("cpu"))
        assert tuple(torch.rand(4).tolist()) == drawn[1, 2]
        restore_rng(state, torch.device("cpu"))
        assert tuple(torch.rand(4).tolist()) == drawn[1, 2]
    finally:
        torch.set_rng_state(before)
