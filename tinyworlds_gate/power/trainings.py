"""Lamp-world models trained from other initial weights, with the gate's verdict on each.

Not all of them are healthy: the latent-action model often merges two of the five lights (docs/gate-power.md).
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.launch.child import run_child
from tinyworlds_gate.launch.command import LaunchFiles, stage_command, stage_environment
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.power.scene import HERE, Trial, healthy, try_gate
from tinyworlds_gate.power.world import GAME, write_world
from tinyworlds_gate.targets.embedded import embedded_target

DEADLINE_S = 600.0


@dataclass(frozen=True)
class Training:
    """One training from a seed and the gate's verdict on it."""

    seed: int
    verdict: str
    sentence: str
    measures: dict[str, float | None]
    seconds: float


MEASURES = (
    *("mse", "mse_low", "mse_high", "skill", "skill_low", "skill_strongest", "skill_strongest_low"),
    *("delta_psnr_db", "action_codes_used"),
)
"""What the record keeps of the gate's measures."""


def train_and_try(seed: int, root: Path) -> Training:
    """Train the three stages of the lamp world from this seed with the real stage scripts, and run the gate on them.

    ``root`` must not exist; the checkpoints take the place of a scene's healthy ones.

    Raises:
        GateError: a stage fails; its log is named.
    """
    began = time.monotonic()
    train(seed, root)
    trial = try_gate(root)
    return training_of(seed, trial, time.monotonic() - began)


def training_of(seed: int, trial: Trial, seconds: float) -> Training:
    """Return the record of one training."""
    measures, verdict = trial.attempt.measures, trial.attempt.verdict
    values = {name: getattr(measures, name) if measures else None for name in MEASURES}
    return Training(seed, verdict.verdict, verdict.sentence, values, seconds)


def train(seed: int, root: Path) -> None:
    """Train the three stages in a new project; see :func:`train_and_try`."""
    root.mkdir(parents=True)
    shutil.copytree(HERE / "settings", root / "settings")
    write_world(root / "data" / f"{GAME.lower()}_frames.h5")
    target = embedded_target(root, Path("settings"))
    split = resolve_settings(root / "settings", {}, project_root=root).training
    run_root = root / "results" / "healthy"
    for stage in STAGES:
        overrides: dict[str, object] = {
            "seed": seed,
            "held_out_fraction": split.held_out_fraction,
            "split_seed": split.split_seed,
        }
        if stage == "dynamics":
            overrides |= {f"{one}_path": healthy(root, one) for one in STAGES[:2]}
        log = root / "Logs" / f"{stage}.log"
        log.parent.mkdir(exist_ok=True)
        child = run_child(
            stage_command(target, stage, nproc_per_node=1, overrides=overrides),
            cwd=root,
            env=stage_environment(target, LaunchFiles(run_root), on_cpu=True),
            log_path=log,
            deadline_s=DEADLINE_S,
        )
        if not child.ok:
            raise GateError(f"training {stage} from seed {seed} failed; its log: {log}")
        _keep_newest(run_root / stage / "checkpoints", stage)


def _keep_newest(folder: Path, stage: str) -> None:
    found = sorted(folder.glob(f"{stage}_step_*"), key=lambda path: int(path.name.rsplit("_", 1)[1]))
    for path in found[:-1]:
        shutil.rmtree(path)
