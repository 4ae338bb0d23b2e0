"""Stage programs that follow the command-line contract without training, and a run for the stage controller.

A plan file beside the program says what each launch does; without an entry the launch succeeds. Its checkpoints are
real: it copies prepared ones, because writing them needs torch, which takes seconds to import.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.checkpoint_files import foreign_folder, write_ours
from tests.helpers.config_files import copy_profile
from tinyworlds_gate.checkpoints.describe import describe_checkpoint
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.base import Target

RUN = "run_1"

PROGRAM = r"""
import csv, json, os, pathlib, shutil, sys, time
from tinyworlds_gate.reference.training.schedule import Schedule
from tinyworlds_gate.reference.training.history import HistoryFile

here = pathlib.Path(__file__).resolve().parent
stage = pathlib.Path(__file__).stem.removeprefix("train_")
given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
life = len(list(here.glob(f"life_{stage}_*.json")))
(here / f"life_{stage}_{life}.json").write_text(json.dumps(given))
with (here / "wandb_ids.txt").open("a") as file:
    print(os.environ.get("WANDB_RUN_ID"), os.environ.get("WANDB_RESUME"), file=file)
plans = json.loads((here / "plan.json").read_text()).get(stage, [])
plan = plans[life] if life < len(plans) else {}
run = pathlib.Path(os.environ["NG_RUN_ROOT_DIR"])
start = int(given["checkpoint"].rsplit("_", 1)[1]) + 1 if given.get("checkpoint", "null") != "null" else 0
end = int(given["n_updates"])
peak = float(given["learning_rate"]) * plan.get("rate_factor", 1.0)
schedule = Schedule(peak, int(given["schedule_start"]), int(given["schedule_end"]))
losses = plan.get("losses") or [0.005]

def save(step):
    source, target = here / "stock" / f"{stage}_step_{step}", run / stage / "checkpoints" / f"{stage}_step_{step}"
    if target.exists():
        print(f"{target} exists already", file=sys.stderr)
        sys.exit(3)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target)

def write(step, killed_before=None):
    # By the real writer, which imports torch; it kills itself before a boundary: [kind, name].
    from tests.helpers.killed_writers import Job, wrap_calls
    if killed_before:
        wrap_calls(here / "boundaries.log", tuple(killed_before))
    resumed = given.get("checkpoint", "null")
    protect = () if resumed == "null" else (pathlib.Path(resumed),)
    Job(run / stage / "checkpoints", stage, step, plan.get("keep", 3), run.name, gate=None, protect=protect).do()

history = HistoryFile(pathlib.Path("Logs") / f"{stage}_history_{run.name}.csv", start)
for update in range(start, end):
    if update == plan.get("die_at"):
        history.close()
        print(plan["last_words"], file=sys.stderr)
        sys.exit(plan.get("exit_code", 1))
    if update not in plan.get("skip_rows", []):
        loss = losses[min(update - start, len(losses) - 1)]
        history.write(update, {"train/loss": loss, "learning_rate/group_0": schedule.rate_at(update),
                               "unique_actions": 4, "action_entropy": 1.3})
    saves = plan.get("save_at", [])
    if update + 1 == end or update in (saves if isinstance(saves, list) else [saves]):
        history.flush()
        if str(update) in plan.get("write", {}):
            write(update, plan["write"][str(update)])
        elif not plan.get("no_checkpoint") and "-probe_" not in run.name:
            save(update)
    if update == plan.get("kill_at"):
        if "tear" in plan:  # the end of the last row never reaches the disk, as a power cut leaves it
            history.flush()
            table = pathlib.Path("Logs") / f"{stage}_history_{run.name}.csv"
            os.truncate(table, table.stat().st_size - plan["tear"])
        os.kill(os.getpid(), 9)
history.close()
if not plan.get("no_picture"):
    pictures = run / stage / "visualizations"
    pictures.mkdir(parents=True, exist_ok=True)
    name = plan.get("picture", f"{stage}_step_{end - 1}.png")
    (pictures / name).write_bytes((here / "picture.png").read_bytes()[: plan.get("picture_bytes")])
"""


@dataclass
class FakeProject:
    """A project whose stages run ``PROGRAM``, and a started run of it."""

    context: RunContext
    scripts: Path
    said: list[str] = field(default_factory=list)

    def plan(self, stage: str, *lives: Mapping[str, Any]) -> None:
        """Set what the first, second, … launch of the stage's program does."""
        (self.scripts / "plan.json").write_text(json.dumps({stage: list(lives)}))

    def lives(self, stage: str) -> list[dict[str, str]]:
        """Return the overrides of each launch of the stage's program."""
        paths = sorted(self.scripts.glob(f"life_{stage}_*.json"), key=lambda path: int(path.stem.rsplit("_", 1)[1]))
        return [json.loads(path.read_text()) for path in paths]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.context.journal.events() if event["event"] == name]


def small_picture(path: Path) -> Path:
    """Return a PNG of one colour."""
    from matplotlib.image import imsave

    imsave(path, [[[0.1, 0.5, 0.9]]])
    return path


def stock_of(folder: Path, stage: str, steps: Sequence[int]) -> None:
    """Prepare real checkpoints of these updates for the program to copy."""
    for step in steps:
        write_ours(folder / "stock", stage, step, manifest={"run": RUN})


def write_profile(root: Path, stage: str, *, chunk: int, target: int, retries: int, batch: int) -> Path:
    """Write the smoke profile with one worker and small numbers for one stage."""
    folder = copy_profile("smoke", root / "configs")
    profile = yaml.safe_load((folder / "profile.yaml").read_text())
    profile["stages"][stage] = {"chunk": chunk, "target_updates": target}
    profile["max_train_retries"] = retries
    profile["thresholds"]["stage_gates"][stage] = {}
    profile["watchdog"] = {"stall_s": 60.0, "chunk_deadline_s": 60.0}
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
    config = yaml.safe_load((folder / f"{stage}.yaml").read_text())
    config |= {"batch_size_per_gpu": batch, "gradient_accumulation_steps": 2, "learning_rate": 1e-3}
    (folder / f"{stage}.yaml").write_text(yaml.safe_dump(config))
    training = yaml.safe_load((folder / "training.yaml").read_text())
    training |= {"nproc_per_node": 1, "device": "cpu"} | describe_checkpoint(foreign_folder("dynamics")).known()
    training["distributed"]["use_ddp"] = False
    (folder / "training.yaml").write_text(yaml.safe_dump(training))
    return folder


def fake_project(
    root: Path,
    stage: str,
    *,
    chunk: int = 4,
    target: int = 8,
    retries: int = 5,
    batch: int = 8,
    steps: Sequence[int] = (),
) -> FakeProject:
    """A started run of a project in ``root``; ``steps`` are the updates whose checkpoints the program can write."""
    configs = write_profile(root, stage, chunk=chunk, target=target, retries=retries, batch=batch)
    scripts = root / "scripts"
    scripts.mkdir()
    paths = {name: scripts / f"train_{name}.py" for name in STAGES}
    for path in [*paths.values(), scripts / "run_inference.py"]:
        path.write_text(PROGRAM)
    small_picture(scripts / "picture.png")
    stock_of(scripts, stage, sorted({*steps} or {chunk - 1, target - 1}))
    target_project = Target(
        kind="test",
        root=root.resolve(),
        python=Path(sys.executable),
        stage_scripts=paths,
        inference_script=scripts / "run_inference.py",
        config_dir=configs,
        import_paths=(Path(__file__).resolve().parents[2],),
    )
    layout = RunLayout(root, RUN).create()
    said: list[str] = []
    context = RunContext(
        settings=resolve_settings(configs, {}, project_root=root),
        target=target_project,
        layout=layout,
        journal=Journal(layout.journal, project_root=layout.project_root),
        gpus=0,
        say=said.append,
        show_progress=lambda *_: None,
    )
    project = FakeProject(context, scripts, said)
    project.plan(stage)
    return project
