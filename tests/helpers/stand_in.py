"""A stand-in for a TinyWorlds checkout in a temporary folder: it really trains tiny models.

The game: a bright bar, one patch wide, that moves one patch a frame over a dark background and wraps around; each
episode has its own colours, so that each clip occurs in one episode only. `hold_out` splits the frames into two files:
the checkout trains on one, the trusted gate measures on the other.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import yaml

from tests.helpers import stand_in_sources as sources
from tests.helpers.config_files import REPOSITORY
from tests.helpers.tiny_project import FRAME_SIZE, PATCH_SIZE, PROFILE, Session, commit, run_pytest
from tinyworlds_gate.reference.data.cut_held_out import hold_out

GAME = "BARS"
KINDS = ("tinyworlds", "tinyworlds-fork")
SIZES = {
    "patch_size": PATCH_SIZE,
    "context_length": 4,
    "frame_size": FRAME_SIZE,
    "latent_dim": 3,
    "num_bins": 4,
    "n_actions": 2,
}
BACKBONE = {"embed_dim": 32, "num_heads": 2, "hidden_dim": 64, "num_blocks": 1}
STAGES = {"video_tokenizer": (150, 3.0e-3), "latent_actions": (20, 1.0e-3), "dynamics": (120, 3.0e-3)}
"""Stage → updates, learning rate."""


def make_stand_in(root: Path, kind: str, *hazards: str, workers: int = 1, **more: object) -> Path:
    """Write the checkout with its frames and one commit; ``more`` is added to its ``stand_in.json``."""
    write_sources(root, kind, *hazards, workers=workers, **more)
    frames = root / "data" / f"{GAME.lower()}_frames.h5"
    everything = write_bars(root.parent / f"{root.name}_all_frames.h5")
    hold_out(everything, frames, frames.with_name(f"{GAME.lower()}_held_out_frames.h5"), fraction=0.25)
    (root / ".gitignore").write_text("results/\ndata/\nLogs/\ninference_results/\nwandb/\ndocs/action/\n")
    commit(root)
    return root


def write_sources(root: Path, kind: str, *hazards: str, workers: int = 1, **more: object) -> Path:
    """Write only its scripts, modules and configs."""
    for name, text in _files(kind, hazards).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
    for folder in ("models", "datasets", "utils"):
        (root / folder / "__init__.py").touch()
    (root / "results").mkdir(exist_ok=True)
    (root / "stand_in.json").write_text(json.dumps({"kind": kind, "hazards": hazards, **more}))
    for name, values in _configs(kind, workers).items():
        (root / "configs").mkdir(exist_ok=True)
        (root / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return root


def write_bars(path: Path, episodes: int = 60, length: int = 16) -> Path:
    """Write frames and episodes of the whole game."""
    rng = np.random.default_rng(0)
    columns = FRAME_SIZE // PATCH_SIZE
    frames = np.zeros((episodes, length, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    for episode in frames:
        at, step = rng.integers(columns), rng.choice([-1, 1])
        episode[:] = rng.integers(0, 40, 3)
        bar = rng.integers(215, 256, 3)
        for frame in episode:
            frame[:, at * PATCH_SIZE : (at + 1) * PATCH_SIZE] = bar
            at = (at + step) % columns
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames.reshape(-1, FRAME_SIZE, FRAME_SIZE, 3))
        file.create_dataset("episode", data=np.repeat(np.arange(episodes), length))
        file.attrs["fps"] = 60
    return path


def make_harness(root: Path, profile: str = PROFILE) -> Path:
    """Create the folder in which pytest is started: our conftest.py, pytest.ini, validation/ and a quick profile."""
    root.mkdir(parents=True)
    for name in ("conftest.py", "pytest.ini"):
        shutil.copy(REPOSITORY / name, root / name)
    shutil.copytree(REPOSITORY / "validation", root / "validation", ignore=shutil.ignore_patterns("__pycache__"))
    folder = root / "profile"
    shutil.copytree(REPOSITORY / "configs/profiles/smoke", folder)
    text = profile
    for stage, (updates, _) in STAGES.items():
        text = _with_plan(text, stage, updates)
    (folder / "profile.yaml").write_text(text)
    gate = yaml.safe_load((folder / "inference.yaml").read_text())
    gate |= {"clips": 32, "batch_size": 32, "generation_steps": 3, "decode_steps": 4, "dataset": GAME, "tf32": False}
    (folder / "inference.yaml").write_text(yaml.safe_dump(gate))
    return root


def run_loop(harness: Path, checkout: Path, *words: str, variables: Mapping[str, str] | None = None) -> Session:
    """Run `pytest validation -m smoke --target-repo …` to its end."""
    options = ["--profile", str(harness / "profile"), "--target-repo", str(checkout)]
    quiet = ["-p", "no:cacheprovider"]
    done = run_pytest(
        harness, "validation", "-m", "smoke", *quiet, *options, *words, timeout_s=400, variables=variables
    )
    return Session(checkout, done.exit_status, done.output, done.seconds)


def set_config(checkout: Path, name: str, **values: object) -> None:
    """Change keys of a settings file and commit."""
    path = checkout / "configs" / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))


def _with_plan(profile: str, stage: str, updates: int) -> str:
    lines = []
    for line in profile.splitlines():
        plan = f"  {stage}: {{chunk: {updates}, target_updates: {updates}}}"
        lines.append(plan if line.startswith(f"  {stage}: {{chunk") else line)
    return "\n".join(lines) + "\n"


def _files(kind: str, hazards: Sequence[str] = ()) -> dict[str, str]:
    files = {
        "utils/config.py": sources.CONFIG,
        "utils/stage.py": sources.STAGE,
        "datasets/clips.py": sources.CLIPS,
        "models/world.py": sources.MODELS,
        "scripts/run_inference.py": sources.INFERENCE,
    }
    for stage in STAGES:
        remark = "# goes on at start_step" if kind == "tinyworlds-fork" else "# begins anew"
        files[f"scripts/train_{stage}.py"] = (
            sources.TRAIN.replace("{file}", f"train_{stage}").replace("{stage}", stage).replace("{remark}", remark)
        )
    if "folders_are_missing" in hazards:
        files["scripts/run_inference.py"] = sources.INFERENCE.replace("os.path.exists", "os.path.isfile")
    if "resumes_dynamics" in hazards:
        files["scripts/train_dynamics.py"] += sources.RESUMING
    if kind == "tinyworlds":
        files["scripts/run_inference.py"] = files["scripts/run_inference.py"].replace(sources.ERROR_WITH_CONTEXT, "")
        files |= dict.fromkeys(("models/muon.py", "utils/optimizer_utils.py"), '"""Nothing here."""\n')
    return files


def _configs(kind: str, workers: int) -> dict[str, dict[str, object]]:
    fork = kind == "tinyworlds-fork"
    training: dict[str, object] = {
        **SIZES,
        "dataset": GAME,
        "fps": 60,
        "device": "auto",
        "nproc_per_node": workers,
        "standalone": True,
        "use_wandb": True,
        "wandb_project": "stand-in",
        "preload_ratio": 1.0,
        "distributed": {"use_ddp": workers > 1, "offload_policy": None},
    }
    training |= BACKBONE if fork else {"use_moe": False}
    stages: dict[str, dict[str, object]] = {}
    for stage, (updates, rate) in STAGES.items():
        stages[stage] = {
            "batch_size_per_gpu": 16,
            "gradient_accumulation_steps": 1,
            "n_updates": updates,
            "learning_rate": rate,
            "log_interval": 50,
            "checkpoint": None,
            **({} if fork else BACKBONE),
        }
    stages["dynamics"] |= {"use_actions": True, "video_tokenizer_path": None, "latent_actions_path": None}
    inference: dict[str, object] = {"dataset": GAME, "use_latest_checkpoints": True, "teacher_forced": False}
    inference |= {"decode_steps": 16, "seed": 0, "sample_index": None} if fork else {"use_gt_actions": True}
    return {"training": training, **stages, "inference": inference}
