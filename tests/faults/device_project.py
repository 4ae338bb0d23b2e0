"""A project whose two ranks use GPUs of a stand-in for NVML, under torchrun and the real controller.

The ranks are real processes with real heartbeats; the GPUs are those of ``tests/helpers/live_nvml.py``, and what a rank
does on which GPU is in ``devices.json``, one entry a life: ``gpus`` (by rank), ``beats``, ``seconds``, ``torn``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tests.faults.conftest import BeginScene
from tests.faults.runs import faulty_project
from tests.helpers.fake_stages import PROGRAM, FakeProject
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.findings.processes import devices
from tinyworlds_gate.loop.stage_controller import StageController, StageResult

STAGE = "video_tokenizer"

RANKS = r"""
import json, os, pathlib, sys, time
from contextlib import nullcontext
from tinyworlds_gate.run.heartbeat import Heartbeat

rank = int(os.environ["RANK"])
here = pathlib.Path(__file__).resolve().parent
(here / f"rank_{rank}_{os.getpid()}").touch()
life = len(list(here.glob(f"rank_{rank}_*"))) - 1
entries = json.loads((here / "devices.json").read_text())
entry = entries[min(life, len(entries) - 1)]
gpu = entry["gpus"][rank]
mark = here / f"gpu_{gpu}" / str(os.getpid())
mark.touch()
deadline = time.monotonic() + 30
(here / f"ready_{life}_{rank}").touch()
while not (here / f"ready_{life}_{1 - rank}").exists() and time.monotonic() < deadline:
    time.sleep(0.01)
end, step = time.monotonic() + entry["seconds"], 0
device = f"{entry['prefix']}-{gpu}"
with (Heartbeat.from_environment(rank, device) if entry["beats"] else nullcontext()) as heartbeat:
    while time.monotonic() < end:
        mark.touch()
        time.sleep(0.05)
        if heartbeat is not None:
            heartbeat.beat(step)
        step += 1
        if entry["torn"] and rank == 1 and step == 10:
            (own,) = pathlib.Path(os.environ["TINYWORLDS_GATE_HEARTBEATS"]).glob(f"rank_1_{os.getpid()}.jsonl")
            with open(own, "a") as file:
                file.write('{"rank": 1, "pid\n\0\0\0\n')
if entry["torn"] and rank == 1:
    with open(own, "a") as file:
        file.write('{"rank": 1, "pi')
if rank != 0:
    sys.exit(0)
"""


def on_gpus(
    *gpus: int, beats: bool = True, seconds: float = 2.5, torn: bool = False, prefix: str = "GPU"
) -> dict[str, Any]:
    """One try: the GPU of each rank, and how it is visible."""
    return {"gpus": gpus, "beats": beats, "seconds": seconds, "torn": torn, "prefix": prefix}


def device_project(root: Path, scene: BeginScene, *lives: dict[str, Any], gpus: int = 2) -> FakeProject:
    """Start a run with two workers and one chunk."""
    project = faulty_project(root, STAGE, scene, chunk=4, target=4, steps=[3, 7])
    for script in project.scripts.glob("train_*.py"):
        script.write_text(RANKS + PROGRAM)
    (project.scripts / "devices.json").write_text(json.dumps(lives))
    for gpu in (0, 1):
        (project.scripts / f"gpu_{gpu}").mkdir()
    configs = project.context.target.config_dir
    training = yaml.safe_load((configs / "training.yaml").read_text())
    training |= {"nproc_per_node": 2, "device": "auto", "distributed": {"use_ddp": True}}
    (configs / "training.yaml").write_text(yaml.safe_dump(training))
    settings = resolve_settings(configs, {}, project_root=root)
    project.context = replace(project.context, settings=settings, gpus=gpus)
    return project


def train(project: FakeProject) -> StageResult:
    """Train the stage to its target with the controller."""
    return StageController(project.context, STAGE, {}).train(4)


def finding(project: FakeProject, requirement: str) -> tuple[str, str]:
    """Return verdict and reason of L3 or H6 from the journal."""
    found = devices(list(project.context.journal.events()), project.context.gpus, 2, False)
    (one,) = [each for each in found if each.id == requirement]
    return one.verdict, one.reason
