"""A run of the tiny game whose two workers report each update to whoever listens, and do what the answer says.

The stage scripts are the reference's own. Before each update a worker sends its rank and the update to a socket and
waits for the answer: nothing, or code to execute in its own process. The plan is nowhere in this folder.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from tests.faults.runs import begin_journal
from tests.helpers.config_files import REPOSITORY
from tests.helpers.tiny_project import GAME, STAGES, write_game, write_smoke_profile
from tests.helpers.untrained_checkpoints import write_untrained
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.config.run_copy import copy_settings
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.gate.clip_plan import ClipPlan
from tinyworlds_gate.names import SHARED_KEYS
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.base import Target

UPDATES, SAVED_EVERY = 24, 12
"""One chunk of 24 updates that saves after update 11 and at its end."""

SCRIPT = """\
import json, os, socket, sys
from tinyworlds_gate.reference.training.schedule import Schedule
from tinyworlds_gate.reference.training.stage_main import main

rank = int(os.environ.get("RANK", 0))
wire = socket.socket(socket.AF_UNIX)
wire.connect(ADDRESS)
lines = wire.makefile("rw", encoding="utf-8")

def report(moment, trainer=None):
    print(json.dumps({"pid": os.getpid(), "parent": os.getppid(), "rank": rank, "moment": moment}), file=lines)
    lines.flush()
    code = json.loads(lines.readline())
    if code:
        exec(code, {"trainer": trainer, "rank": rank, "report": report})

def rate_at(schedule, update, plain=Schedule.rate_at):
    report(update, sys._getframe(1).f_locals["self"])
    return plain(schedule, update)

Schedule.rate_at = rate_at
report(-1)
main(STAGE)
report(UPDATES)
"""


@dataclass(frozen=True)
class Watchdog:
    """Seconds without a step, and for a whole chunk."""

    stall_s: float
    deadline_s: float


def address_of(root: Path) -> str:
    """Return the socket's name in Linux' abstract namespace; a path could be too long for one."""
    return f"\0updates-of-{sha256(str(root.resolve()).encode()).hexdigest()[:16]}"


def build(root: Path, stage: str, watchdog: Watchdog, *, on_gpus: bool) -> None:
    """Write settings, frames and stage scripts, and for dynamics the two models that it is trained on."""
    configs, scripts = root / "configs", root / "scripts"
    write_smoke_profile(configs)
    write_game(root / "data" / f"{GAME.lower()}_frames.h5", episodes=8)
    device = {"device": "cuda", "compile": False} if on_gpus else {}
    _change(configs / "training.yaml", nproc_per_node=2, log_every=1000, **device)
    _change(configs / f"{stage}.yaml", batch_size_per_gpu=4, n_updates=UPDATES, log_interval=SAVED_EVERY)
    profile = yaml.safe_load((configs / "profile.yaml").read_text())
    profile["stages"][stage] = {"chunk": UPDATES, "target_updates": UPDATES}
    profile["max_train_retries"] = 0
    profile["watchdog"] = {
        "stall_s": watchdog.stall_s,
        "chunk_deadline_s": watchdog.deadline_s,
        "inference_deadline_s": 100.0,
    }
    (configs / "profile.yaml").write_text(yaml.safe_dump(profile))
    scripts.mkdir()
    texts = {"ADDRESS": repr(address_of(root)), "STAGE": repr(stage), "UPDATES": str(UPDATES)}
    script = SCRIPT
    for name, value in texts.items():
        script = script.replace(name, value)
    for name in STAGES:
        (scripts / f"train_{name}.py").write_text(script)
    if stage == "dynamics":
        training = yaml.safe_load((configs / "training.yaml").read_text())
        write_untrained(root / "inputs", ModelSizes(**{key: training[key] for key in SHARED_KEYS}))


def open_run(root: Path) -> tuple[RunContext, Mapping[str, CheckpointRef]]:
    """Return the context of a new run of the project and the checkpoints that the stage is trained on."""
    configs, scripts = root / "configs", root / "scripts"
    layout = RunLayout(root, "run_1").create()
    settings = resolve_settings(configs, {"monitor_interval_sec": 0.5}, project_root=root)
    context = RunContext(
        settings=settings,
        target=Target(
            kind="test",
            root=root.resolve(),
            python=Path(sys.executable),
            stage_scripts={name: scripts / f"train_{name}.py" for name in STAGES},
            inference_script=scripts / "run_inference.py",
            config_dir=copy_settings(settings, layout.configs),
            import_paths=(REPOSITORY,),
        ),
        layout=layout,
        journal=Journal(layout.journal, project_root=layout.project_root),
        gpus=2 if settings.training.device == "cuda" else 0,
        say=print,
        show_progress=lambda *_: None,
        clips=ClipPlan(root / "data" / f"{GAME.lower()}_frames.h5"),
    )
    begin_journal(context)
    inputs = root / "inputs"
    names = STAGES[:2] if inputs.is_dir() else ()
    return context, {name: verify_checkpoint(inputs / name / "checkpoints" / f"{name}_step_0") for name in names}


def _change(path: Path, **values: Any) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))
