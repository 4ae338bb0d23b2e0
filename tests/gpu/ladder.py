"""A project whose stage needs gigabytes per clip, to test the batch-size ladder on a nearly full GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from tests.gpu.chunks import Evidence, launched
from tests.helpers.config_files import copy_profile
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.launch.command import stage_command
from tinyworlds_gate.loop.stage_controller import StageController, StageResult
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.embedded import embedded_target

STAGE = "video_tokenizer"
UPDATES = 3
EPISODES, EPISODE_FRAMES = 12, 16
LARGE: dict[str, object] = {
    "frame_size": 256,
    "patch_size": 4,
    "context_length": 8,
    "embed_dim": 256,
    "num_heads": 8,
    "hidden_dim": 1024,
    "num_blocks": 8,
}
SMALL: dict[str, object] = {
    "frame_size": 16,
    "patch_size": 8,
    "context_length": 3,
    "embed_dim": 16,
    "num_heads": 2,
    "hidden_dim": 16,
    "num_blocks": 1,
}


@dataclass
class Ladder:
    """The project and the progress lines of its run."""

    root: Path
    configs: Path
    said: list[str]

    def probe(self, batch: int, gpus: int) -> Evidence:
        """Run one chunk with this batch size in a separate run, to measure its memory."""
        target = embedded_target(self.root, self.configs)
        layout = RunLayout(self.root, f"probe_{batch}").create()
        device = "cuda" if gpus else "cpu"
        overrides = {"n_updates": UPDATES, "batch_size_per_gpu": batch, "device": device, "schedule_end": UPDATES}
        command = stage_command(target, STAGE, nproc_per_node=1, overrides=overrides)
        return launched(target, layout, command, nproc=1, stage=STAGE)

    def train(self, gpus: int) -> tuple[StageResult, RunContext]:
        """Train the stage with `StageController`, starting with a batch of 8."""
        layout = RunLayout(self.root, "run_1").create()
        context = RunContext(
            settings=resolve_settings(self.configs, {}, project_root=self.root),
            target=embedded_target(self.root, self.configs),
            layout=layout,
            journal=Journal(layout.journal, project_root=layout.project_root),
            gpus=gpus,
            say=self.said.append,
            show_progress=lambda *_: None,
        )
        return StageController(context, STAGE, {}).train(UPDATES), context


def make_ladder(root: Path, sizes: dict[str, object]) -> Ladder:
    """Create settings, frames and folders below ``root``."""
    configs = copy_profile("smoke", root / "configs")
    _edit(configs / "profile.yaml", _lenient_profile)
    _edit(configs / "inference.yaml", lambda values: values.update(dataset="TINY"))
    _edit(configs / "training.yaml", lambda values: values.update(sizes, **_ONE_WORKER))
    _edit(
        configs / f"{STAGE}.yaml",
        lambda values: values.update(
            batch_size_per_gpu=8, gradient_accumulation_steps=1, n_updates=UPDATES, log_interval=UPDATES
        ),
    )
    side = int(str(sizes["frame_size"]))
    frames = np.random.default_rng(0).integers(0, 255, (EPISODES * EPISODE_FRAMES, side, side, 3), np.uint8)
    (root / "data").mkdir()
    with h5py.File(root / "data" / "tiny_frames.h5", "w") as file:
        file.create_dataset("frames", data=frames)
        file.create_dataset("episode", data=np.repeat(np.arange(EPISODES), EPISODE_FRAMES))
    return Ladder(root, configs, [])


_ONE_WORKER: dict[str, Any] = {
    "dataset": "TINY",
    "fps": 60,
    "nproc_per_node": 1,
    "distributed": {"use_ddp": False},
    "log_every": 1,
}


def _lenient_profile(profile: dict[str, Any]) -> None:
    profile["stages"][STAGE] = {"chunk": UPDATES, "target_updates": UPDATES}
    profile["max_train_retries"] = 5
    profile["thresholds"]["stage_gates"][STAGE] = {
        "continue_loss": 1e9,
        "watch_loss": 1e9,
        "late_over_middle": 1e9,
    }
    profile["watchdog"] = {"stall_s": 75.0, "chunk_deadline_s": 75.0}


def _edit(path: Path, change: Any) -> None:
    values = yaml.safe_load(path.read_text())
    change(values)
    path.write_text(yaml.safe_dump(values))
