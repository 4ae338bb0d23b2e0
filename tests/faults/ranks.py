"""A project in which two gloo workers really train under torchrun, and in which a rank meets a fault at a given update.

The stage scripts are the reference's own, behind a few lines that arm the fault: after an update's optimizer step a
rank runs the code that was armed for this launch, once, in its own process. Nothing of harness or trainer is replaced.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from tests.faults.conftest import BeginScene
from tests.faults.runs import begin_journal, hold_at_every_word
from tests.helpers.config_files import REPOSITORY
from tests.helpers.tiny_project import GAME, write_game, write_smoke_profile
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.gate.clip_plan import ClipPlan
from tinyworlds_gate.loop.stage_controller import StageController, StageResult
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.base import Target

STAGE = "video_tokenizer"
UPDATES, SAVED_EVERY = 24, 12
"""One chunk of 24 updates that saves after update 11 and at its end."""

SCRIPT = """\
import ctypes, json, os, pathlib, subprocess, sys, time
from tinyworlds_gate.reference.training.stage_main import main

here = pathlib.Path(__file__).resolve().parent
launch = len({path.name.split("_")[1] for path in here.glob("fault_*.done")})
armed = here / f"fault_{launch}_{os.environ.get('RANK', 0)}.json"
if armed.exists():
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook
    fault, updates = json.loads(armed.read_text()), 0

    def kill(signal_name, pid):
        subprocess.run(["kill", f"-{signal_name}", str(pid)], check=True)
        time.sleep(600)

    def after_step(optimizer, *_):
        global updates
        if updates == fault["update"]:
            armed.rename(armed.with_suffix(".done"))
            exec(fault["code"], globals() | {"weights": optimizer.param_groups[0]["params"][0]})
        updates += 1

    register_optimizer_step_post_hook(after_step)
main(STAGE)
"""


@dataclass
class RankProject:
    """Start a run of the project."""

    context: RunContext
    scripts: Path
    said: list[str]

    def arm(self, code: str, *, rank: int, update: int = SAVED_EVERY + 2, launch: int = 0) -> None:
        """Let a rank of a launch (0, 1, …) run ``code`` once.

        It runs after the optimizer step of the absolute 0-based ``update``. The first launch starts at update 0, a
        later one at ``SAVED_EVERY``. The code knows ``kill(signal_name, pid)`` (by another process), ``weights`` (the
        first parameter) and torch.
        """
        count = update - (SAVED_EVERY if launch else 0)
        (self.scripts / f"fault_{launch}_{rank}.json").write_text(json.dumps({"code": code, "update": count}))

    def train(self, target: int = UPDATES) -> StageResult:
        """Train the tokenizer to the target."""
        return StageController(self.context, STAGE, {}).train(target)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.context.journal.events() if event["event"] == name]

    @property
    def weights(self) -> str:
        """Return the SHA-256 of weights and optimizer after the last update."""
        folder = self.context.layout.checkpoint(STAGE, UPDATES - 1)
        files = (folder / "model_state_dict.pt", folder / "optim_state_dict.pt")
        return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def rank_project(root: Path, scene: BeginScene | None = None, *, stall_s: float = 100.0, batch: int = 4) -> RankProject:
    """Create a run of the tiny game with two gloo workers; with a scene unless it is a reference run."""
    configs, scripts = root / "configs", root / "scripts"
    write_smoke_profile(configs)
    write_game(root / "data" / f"{GAME.lower()}_frames.h5", episodes=8)
    _change(configs / "training.yaml", nproc_per_node=2, log_every=1000)
    _change(configs / f"{STAGE}.yaml", batch_size_per_gpu=batch, n_updates=UPDATES, log_interval=SAVED_EVERY)
    profile = yaml.safe_load((configs / "profile.yaml").read_text())
    profile["stages"][STAGE] = {"chunk": UPDATES, "target_updates": UPDATES}
    profile["max_train_retries"] = 5
    profile["watchdog"] = {"stall_s": stall_s, "chunk_deadline_s": 150.0, "inference_deadline_s": 100.0}
    (configs / "profile.yaml").write_text(yaml.safe_dump(profile))
    scripts.mkdir()
    paths = {stage: scripts / f"train_{stage}.py" for stage in STAGES}
    for stage, path in paths.items():
        path.write_text(SCRIPT.replace("STAGE", repr(stage)))
    layout = RunLayout(root, "run_1").create()
    said: list[str] = []
    context = RunContext(
        settings=resolve_settings(configs, {"monitor_interval_sec": 0.5}, project_root=root),
        target=Target(
            kind="test",
            root=root.resolve(),
            python=Path(sys.executable),
            stage_scripts=paths,
            inference_script=scripts / "run_inference.py",
            config_dir=configs,
            import_paths=(REPOSITORY,),
        ),
        layout=layout,
        journal=Journal(layout.journal, project_root=layout.project_root),
        gpus=0,
        say=said.append,
        show_progress=lambda *_: None,
        clips=ClipPlan(root / "data" / f"{GAME.lower()}_frames.h5"),
    )
    begin_journal(context)
    if scene is not None:
        hold_at_every_word(context, scene(root, paths[STAGE]))
    return RankProject(context, scripts, said)


def _change(path: Path, **values: object) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))
