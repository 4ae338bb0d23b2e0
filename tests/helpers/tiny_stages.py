"""A temporary project whose models are so small that a stage trains in a second."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from tests.helpers.warm_python import Finished, run_script
from tests.helpers.workers import make_once
from tinyworlds_gate.launch.command import LaunchFiles, inference_command, stage_command, stage_environment
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.embedded import embedded_target

EPISODES, EPISODE_FRAMES, SIDE = 12, 16, 16
TRAINING: dict[str, object] = {
    "patch_size": 8,
    "context_length": 3,
    "frame_size": SIDE,
    "latent_dim": 2,
    "num_bins": 4,
    "n_actions": 4,
    "embed_dim": 16,
    "num_heads": 2,
    "hidden_dim": 16,
    "num_blocks": 1,
    "dataset": "TINY",
    "fps": 60,
    "device": "cpu",
    "nproc_per_node": 1,
    "distributed": {"use_ddp": False},
    "use_wandb": False,
    "log_every": 4,
    "held_out_fraction": 0.25,
}
STAGE: dict[str, object] = {
    "batch_size_per_gpu": 4,
    "gradient_accumulation_steps": 2,
    "n_updates": 12,
    "learning_rate": 1e-2,
    "log_interval": 6,
}
INFERENCE: dict[str, object] = {
    "dataset": "TINY",
    "fps": 60,
    "device": "cpu",
    "generation_steps": 3,
    "decode_steps": 4,
    "clips": 9,
    "batch_size": 4,
    "held_out_fraction": 0.25,
}


def moving_squares(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return frames uint8 [N, S, S, 3] of a bright square that moves over a dim texture, and their episodes."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 60, (EPISODES, 1, SIDE, SIDE, 3), np.uint8).repeat(EPISODE_FRAMES, axis=1)
    for episode in range(EPISODES):
        column, direction = int(rng.integers(0, SIDE - 4)), int(rng.choice([-2, 2]))
        for step in range(EPISODE_FRAMES):
            frames[episode, step, 6:10, column : column + 4] = 230
            if not 0 <= column + direction <= SIDE - 4:
                direction = -direction
            column += direction
    return frames.reshape(-1, SIDE, SIDE, 3), np.repeat(np.arange(EPISODES), EPISODE_FRAMES)


@dataclass(frozen=True)
class TinyStages:
    """The project's folder with its configs and frames, driven by the commands that the harness builds."""

    root: Path
    target: Target

    def run_root(self, run: str) -> Path:
        return self.root / "results" / run

    def checkpoint(self, run: str, stage: str, step: int) -> Path:
        return self.run_root(run) / stage / "checkpoints" / f"{stage}_step_{step}"

    def checkpoints(self, run: str, step: int, *stages: str) -> dict[str, Path]:
        """Return checkpoints as the overrides ``<stage>_path``."""
        return {f"{stage}_path": self.checkpoint(run, stage, step) for stage in stages}

    def history(self, run: str, stage: str) -> Path:
        return self.root / "Logs" / f"{stage}_history_{run}.csv"

    def environment(self, run: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        return stage_environment(self.target, LaunchFiles(self.run_root(run)), on_cpu=True) | dict(extra or {})

    def train(
        self,
        stage: str,
        run: str,
        overrides: Mapping[str, object] | None = None,
        *,
        workers: int = 1,
        extra: Mapping[str, str] | None = None,
    ) -> Finished:
        """Train one stage, started as by the harness: one process, or torchrun with gloo workers."""
        command = stage_command(self.target, stage, nproc_per_node=workers, overrides=overrides)
        if workers == 1:
            return self.run(command, run, extra)
        began, log = time.monotonic(), self.root / f"output_{run}.log"
        with log.open("wb") as file:
            done = subprocess.run(
                command,
                cwd=self.root,
                env=self.environment(run, extra),
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=500,
                check=False,
            )
        return Finished(done.returncode, log.read_text(encoding="utf-8"), time.monotonic() - began)

    def infer(self, run: str, overrides: Mapping[str, object]) -> Finished:
        """Run inference."""
        return self.run(inference_command(self.target, overrides), run)

    def run(self, command: list[str], run: str, extra: Mapping[str, str] | None = None) -> Finished:
        """Run a command of one Python process in the environment that the harness sets."""
        python, script, *arguments = command
        assert python == str(self.target.python)
        log = self.root / f"output_{run}.log"
        return run_script(Path(script), arguments, cwd=self.root, env=self.environment(run, extra), log=log)


def make_tiny_stages(root: Path) -> TinyStages:
    """Write configs and frames below ``root``."""
    (root / "configs").mkdir(parents=True)
    files = {"training": TRAINING, "inference": INFERENCE}
    files |= dict.fromkeys(("video_tokenizer", "latent_actions", "dynamics"), STAGE)
    for name, values in files.items():
        (root / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(values))
    frames, episode = moving_squares()
    (root / "data").mkdir()
    with h5py.File(root / "data" / "tiny_frames.h5", "w") as file:
        file.create_dataset("frames", data=frames)
        file.create_dataset("episode", data=episode)
    return TinyStages(root, embedded_target(root, Path("configs")))


def trained_stages(factory: pytest.TempPathFactory) -> TinyStages:
    """Return a project whose run ``whole`` has the three stages after 12 updates; made once a session, then copied.

    Dynamics was trained by torchrun with two gloo workers, the others by one process.
    """
    root = factory.getbasetemp() / "tiny_stages"
    if not root.exists():
        shutil.copytree(make_once(factory, "trained_stages", _train_stages), root, symlinks=True)
    return TinyStages(root, embedded_target(root, Path("configs")))


def _train_stages(folder: Path) -> Path:
    project = make_tiny_stages(folder / "tiny_stages")
    for stage in ("video_tokenizer", "latent_actions"):
        done = project.train(stage, "whole")
        assert done.exit_code == 0, done.output
    paths = project.checkpoints("whole", 11, "video_tokenizer", "latent_actions")
    done = project.train("dynamics", "whole", paths, workers=2)
    assert done.exit_code == 0, done.output
    (project.root / "dynamics.log").write_text(done.output, encoding="utf-8")
    return project.root
