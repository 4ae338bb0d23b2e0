"""P2 and the number of worker processes."""

from __future__ import annotations

import pytest

from tests.helpers.config_files import REPOSITORY
from tinyworlds_gate.config.load import effective_batch, resolve_nproc, resolve_settings
from tinyworlds_gate.errors import ConfigError


@pytest.mark.requirement("P2")
@pytest.mark.parametrize(
    ("batch", "accumulation", "nproc", "nodes", "clips"), [(16, 2, 2, 1, 64), (1, 1, 1, 1, 1), (4, 2, 8, 3, 192)]
)
def test_the_effective_batch_is_the_product(batch: int, accumulation: int, nproc: int, nodes: int, clips: int) -> None:
    assert effective_batch(batch, accumulation, nproc, nodes) == clips


@pytest.mark.parametrize(
    ("requested", "given", "gpus", "device", "workers"),
    [
        (2, False, 2, "auto", 2),
        (2, True, 4, "cuda", 2),
        (2, True, 0, "auto", 2),
        (2, False, 0, "auto", 2),
        (3, True, 1, "cpu", 3),
        (2, False, 1, "auto", 1),
        (8, False, 4, "cuda", 4),
    ],
)
def test_workers_fit_the_machine(requested: int, given: bool, gpus: int, device: str, workers: int) -> None:
    assert resolve_nproc(requested, given, gpus, device)[0] == workers


@pytest.mark.requirement("H6")
def test_fewer_gpus_than_the_default_are_noted() -> None:
    assert "H6 is then NOT-RUN" in resolve_nproc(2, False, 1, "auto")[1]
    assert resolve_nproc(2, False, 2, "auto")[1] == ""


@pytest.mark.requirement("H6")
def test_more_workers_than_gpus_on_the_command_line_are_refused() -> None:
    with pytest.raises(ConfigError, match="--nproc-per-node 2 needs 2 NVIDIA GPUs, found 1; set it to at most 1"):
        resolve_nproc(2, True, 1, "auto")


def test_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="device is 'cuda', but this machine has no NVIDIA GPU"):
        resolve_nproc(2, False, 0, "cuda")


@pytest.mark.requirement("P1", "P2")
def test_settings_take_the_workers_that_fit_with_source_and_note() -> None:
    settings = resolve_settings("smoke", {}, project_root=REPOSITORY)
    one = settings.with_gpus(1)
    assert one.training.nproc_per_node == 1
    assert one.training.distributed.use_ddp is False
    assert one.provenance["training.nproc_per_node"] == "the 1 GPUs present"
    assert len(one.notes) == len(settings.notes) + 1
    assert one.effective_batch("dynamics") * 2 == settings.effective_batch("dynamics")
    assert settings.with_gpus(2) == settings


@pytest.mark.requirement("P2")
def test_the_effective_batch_counts_all_nodes() -> None:
    one, four = (resolve_settings("smoke", {"nnodes": n}, project_root=REPOSITORY) for n in (1, 4))
    assert four.effective_batch("dynamics") == 4 * one.effective_batch("dynamics")


def test_one_worker_on_each_of_two_nodes_still_averages_gradients() -> None:
    options = {"nnodes": 2, "nproc_per_node": 1}
    settings = resolve_settings("smoke", options, project_root=REPOSITORY)
    assert settings.training.distributed.use_ddp is True
    lowered = resolve_settings("smoke", {"nnodes": 2}, project_root=REPOSITORY).with_gpus(1)
    assert (lowered.training.nproc_per_node, lowered.training.distributed.use_ddp) == (1, True)


def test_settings_refuse_explicit_workers_that_do_not_fit() -> None:
    settings = resolve_settings("smoke", {"nproc_per_node": 4}, project_root=REPOSITORY)
    with pytest.raises(ConfigError, match="found 2"):
        settings.with_gpus(2)
