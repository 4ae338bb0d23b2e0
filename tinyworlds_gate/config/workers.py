"""How many worker processes train, and how many clips an update then sees (P2)."""

from __future__ import annotations

from tinyworlds_gate.errors import ConfigError


def effective_batch(batch: int, accumulation: int, nproc: int, nodes: int = 1) -> int:
    """P2: clips that one update sees."""
    return batch * accumulation * nproc * nodes


def resolve_nproc(requested: int, given: bool, gpus: int, device: str) -> tuple[int, str]:
    """The worker processes to start on this machine, and a note when they are fewer than asked for.

    On CPU (``device`` cpu, or auto without a GPU) any number is kept: the workers talk over gloo.

    Args:
        requested: ``nproc_per_node`` as resolved.
        given: whether a person gave it on the command line.
        gpus: NVIDIA GPUs present.
        device: training's ``device``.

    Raises:
        ConfigError: more than the GPUs present were asked for explicitly, or CUDA was asked for and there is no GPU.
    """
    if device == "cpu" or (device == "auto" and gpus == 0):
        return requested, ""
    if gpus == 0:
        raise ConfigError(f"device is {device!r}, but this machine has no NVIDIA GPU; set device to auto or cpu.")
    if requested <= gpus:
        return requested, ""
    if given:
        raise ConfigError(
            f"--nproc-per-node {requested} needs {requested} NVIDIA GPUs, found {gpus}; give at most {gpus}, or leave "
            "it out to use all of them."
        )
    return gpus, f"nproc_per_node is {gpus}, the GPUs present, instead of {requested}; H6 is then NOT-RUN."
