"""What the parts that do not shard cost on this machine: hashing and reading frames, gathering clips, checkpoints.

python -m tests.helpers.cluster_costs        (docs/cluster.md computes from these rates)
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from tinyworlds_gate.checkpoints.integrity import sha256_of, verify_checkpoint
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.reference.data.clips import gather_clips
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.training.objectives import LatentActionsObjective, TokenizerObjective

SIDE, FRAMES, CLIPS, LENGTH = 128, 4000, 16, 4
PARAMETERS = 25_000_000
ROUNDS = 5
ZELDA = ModelSizes(
    patch_size=4,
    context_length=4,
    frame_size=SIDE,
    latent_dim=5,
    num_bins=4,
    n_actions=8,
    embed_dim=32,
    num_heads=8,
    hidden_dim=128,
    num_blocks=4,
)


def median_s(what: Callable[[int], object]) -> float:
    """Return the median duration of a few calls, seconds."""
    seconds = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        what(number)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "frames.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("frames", data=rng.integers(0, 256, (FRAMES, SIDE, SIDE, 3), np.uint8))
            file.create_dataset("episode", data=np.arange(FRAMES) // 100)
            file.attrs["fps"] = 60
        size = FRAMES * SIDE * SIDE * 3
        print(f"{size / FRAMES:.0f} bytes a frame of {SIDE} px")
        print(f"hash of the frames file: {size / median_s(lambda _: sha256_of(path)) / 1e6:.0f} MB/s")
        loaded = load_frames(path, frame_size=SIDE, stride=1)
        reading = median_s(lambda _: load_frames(path, frame_size=SIDE, stride=1))
        print(f"reading it into memory (cached by the system): {size / reading / 1e6:.0f} MB/s")
        starts = rng.integers(0, FRAMES - LENGTH, (ROUNDS, CLIPS))
        gathering = median_s(lambda number: gather_clips(loaded.frames, starts[number], LENGTH))
        print(f"gathering {CLIPS} clips of {LENGTH} frames: {CLIPS * LENGTH / gathering:.0f} frames/s")
        weights = {"weight": torch.randn(PARAMETERS)}
        moments = {"state": {0: {"exp_avg": torch.randn(PARAMETERS), "exp_avg_sq": torch.rand(PARAMETERS)}}}

        def save(number: int) -> None:
            write_checkpoint(
                folder / "checkpoints",
                "dynamics",
                number,
                model_state=weights,
                optim_state=moments,
                state={"step": number, "config": {}, "scheduler_state_dict": {}, "timestamp": 0.0},
            )

        bytes_saved = 12 * PARAMETERS
        print(f"writing a checkpoint (12 bytes a weight, synced): {bytes_saved / median_s(save) / 1e6:.0f} MB/s")
        last = folder / "checkpoints" / f"dynamics_step_{ROUNDS - 1}"
        verifying = median_s(lambda _: verify_checkpoint(last, expected_stage="dynamics"))
        print(f"verifying one: {bytes_saved / verifying / 1e6:.0f} MB/s")
    for objective in (TokenizerObjective(ZELDA), LatentActionsObjective(ZELDA)):
        count = sum(one.numel() for one in objective.model.parameters())
        print(f"{type(objective.model).__name__} at ZELDA sizes: {count} weights")


if __name__ == "__main__":
    main()
