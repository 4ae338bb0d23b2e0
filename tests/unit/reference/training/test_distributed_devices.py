"""Devices, backends and random states of a worker, with the CUDA functions replaced.

pytest tests/unit/reference/training/test_distributed_devices.py
"""

from __future__ import annotations

import gc
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tinyworlds_gate.errors import TrainingError
from tinyworlds_gate.reference.training.distributed import (
    Worker,
    choose_device,
    restore_rng,
    rng_state,
    seed_worker,
    worker_session,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)


@pytest.mark.parametrize(
    ("gpus", "setting", "rank", "device"),
    [
        (0, "cpu", 0, "cpu"),
        (2, "cpu", 1, "cpu"),
        (0, "auto", 3, "cpu"),
        (1, "auto", 0, "cuda:0"),
        (2, "auto", 1, "cuda:1"),
        (2, "cuda", 1, "cuda:1"),
    ],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_a_worker_gets_the_gpu_of_its_rank_or_the_cpu(setting: str, rank: int, device: str) -> None:
    assert choose_device(setting, rank) == torch.device(device)


@pytest.mark.requirement("L3")
@pytest.mark.parametrize(
    ("gpus", "setting", "rank", "said"),
    [
        (0, "cuda", 0, r"device=cuda: worker 0 needs .* but 0 are visible; use nproc_per_node=1 or device=cpu"),
        (1, "auto", 1, r"device=auto: worker 1 needs .* but 1 are visible; use nproc_per_node=1 or device=cpu"),
        (2, "cuda", 2, r"worker 2 needs .* but 2 are visible; use nproc_per_node=2 or device=cpu"),
    ],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_a_worker_without_a_gpu_of_its_own_is_refused(setting: str, rank: int, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        choose_device(setting, rank)


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record what a session does to the process group, as rank 1 of 4."""
    calls: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(device))
    monkeypatch.setattr(dist, "init_process_group", lambda *backend, **named: calls.append((*backend, named)))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append("destroyed"))
    monkeypatch.setattr(dist, "barrier", lambda: calls.append("barrier"))
    monkeypatch.setattr(gc, "collect", lambda: calls.append("collected"))
    for name, value in {"RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return calls


LEFT = ["collected", "destroyed", "collected"]
MINUTES = timedelta(minutes=10)


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize(
    ("setting", "local_rank", "device", "begin"),
    [
        ("cpu", None, CPU, [("gloo", {"timeout": MINUTES})]),
        ("cuda", None, CUDA, [CUDA, ("nccl", {"timeout": MINUTES, "device_id": CUDA})]),
        ("cuda", "0", torch.device("cuda", 0), None),
    ],
)
def test_a_session_joins_the_group_of_its_backend_and_leaves_it(
    group: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    local_rank: str | None,
    device: torch.device,
    begin: list[Any] | None,
    failing: bool,
) -> None:
    """After an error a worker on a GPU leaves at once: NCCL could wait forever for the other ranks."""
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    try:
        with worker_session(use_ddp=True, device_setting=setting) as worker:
            assert worker == Worker(1, 4, device)
            assert not worker.is_main
            if begin is not None:
                assert group == begin
            group.clear()
            if failing:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert failing
    assert group == ([] if failing and setting == "cuda" else LEFT)


def test_without_ddp_there_is_no_group_and_without_torchrun_no_ddp(
    group: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with worker_session(use_ddp=False, device_setting="auto") as worker:
        assert worker == Worker(0, 1, torch.device("cuda", 0))
        assert worker.is_main
        worker.barrier()
    assert group == []
    Worker(0, 2, CPU).barrier()
    assert group == ["barrier"]
    monkeypatch.delenv("RANK")
    with (
        pytest.raises(TrainingError, match=r"use_ddp=true needs torchrun"),
        worker_session(use_ddp=True, device_setting="cpu"),
    ):
        pass


@pytest.mark.parametrize(("seed", "rank", "number"), [(0, 0, 17), (2, 0, 2_000_023), (2, 3, 2_023_780)])
def test_the_seed_of_a_rank_is_that_of_every_version(seed: int, rank: int, number: int) -> None:
    with torch.random.fork_rng(devices=[]):
        seed_worker(seed, rank)
        assert torch.initial_seed() == number


def test_the_random_state_of_a_gpu_is_saved_and_restored_where_it_was_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu, restored = torch.tensor([5], dtype=torch.uint8), []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: on_gpu if device == CUDA else None)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: restored.append((state.tolist(), device)))
    assert set(rng_state(CPU)) == {"cpu"}
    state = rng_state(CUDA)
    assert (set(state), state["cuda"]) == ({"cpu", "cuda"}, on_gpu)
    for device, saved in ((CPU, state), (CUDA, {"cpu": state["cpu"]}), (CUDA, state)):
        assert restored == []
        restore_rng(saved, device)
    assert restored == [([5], CUDA)]
