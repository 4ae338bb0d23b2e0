"""Run the loop on one checkout as a user would, and read its row from the journal.

What the run needs and the checkout does not have is injected from outside, and the row names it. The checkout keeps
every file: frames are made if its dataset is missing, and settings go through ``--target-file`` and a copy of a stage's
settings file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.config_files import REPOSITORY
from tinyworlds_gate.config.alignment import CHECKPOINT_KEYS, CHECKPOINT_VALUE
from tinyworlds_gate.config.yaml_io import read_mapping
from tinyworlds_gate.names import BACKBONE_KEYS, SHORT_NAMES, STAGES
from tinyworlds_gate.reference.data.cut_held_out import hold_out
from tinyworlds_gate.reference.data.frames_file import check_frames_file
from tinyworlds_gate.targets.checkout import checkout_target

SMALL = {"frame_size": 64, "patch_size": 8, "embed_dim": 32, "num_heads": 4, "hidden_dim": 64, "num_blocks": 2}
"""Sizes of a run on the CPU; a run on GPUs keeps the checkout's own."""
FRAMES, EPISODE = 3200, 64
"""Of the Crafter frames that stand in for a dataset that is not there."""
BATCH, DYNAMICS_RATE = 8, "5e-4"
PROFILE = "checkout-check"


@dataclass(frozen=True)
class Wanted:
    """One run: the checkout, what to run it with, and where its outputs go.

    ``devices``: ``cpu`` or the number of GPUs. ``words``: further words of the pytest command line. ``overrides``:
    settings that every stage gets on its command line.
    """

    checkout: Path
    devices: str
    work: Path
    python: Path
    words: Sequence[str] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    injected: Sequence[str] = ()


@dataclass
class Injected:
    """What the run adds from outside: sentences for the row, and the words of the command line."""

    said: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def add(self, sentence: str, *words: str) -> None:
        self.said.append(sentence)
        self.words += words


def run_loop(wanted: Wanted) -> dict[str, Any]:
    """Run the loop and return what the terminal alone shows: command, exit status, seconds, what was injected.

    Raises:
        GateError: the folder is no TinyWorlds checkout.
    """
    injected = injections(wanted)
    words = ["validation/", "-m", "smoke", "--profile", PROFILE, *injected.words, *wanted.words]
    command = [sys.executable, "-m", "pytest", *words, "-p", "no:cacheprovider"]
    began = time.monotonic()
    with (wanted.work / "terminal.log").open("wb") as terminal:
        done = subprocess.run(
            command, cwd=REPOSITORY, env=_environment(wanted.devices), stdout=terminal, stderr=subprocess.STDOUT
        )
    return {
        "command": ["pytest", *words],
        "exit_status": done.returncode,
        "seconds": round(time.monotonic() - began),
        "injected": injected.said,
    }


def newest_journal(work: Path) -> Path | None:
    """Return the journal of the run that was started last below the folder of outputs."""
    return max((work / "output/results").glob("*/journal.jsonl"), key=lambda path: path.stat().st_mtime, default=None)


def injections(wanted: Wanted) -> Injected:
    """Write what the run adds from outside into the folder of outputs, and return it.

    Raises:
        GateError: the folder is no TinyWorlds checkout.
    """
    wanted.work.mkdir(parents=True, exist_ok=True)
    target = checkout_target(wanted.checkout)
    if target is None:
        raise SystemExit(f"{wanted.checkout} is a project of this harness, no TinyWorlds checkout.")
    on_cpu, training = wanted.devices == "cpu", read_mapping(target.training_config)
    overrides: dict[str, Any] = {"preload_ratio": 1.0}
    injected = Injected([*wanted.injected])
    injected.words += ["--target-repo", str(wanted.checkout), "--target-python", str(wanted.python)]
    (wanted.work / "output").mkdir(exist_ok=True)
    injected.words += ["--output-root", str(wanted.work / "output")]
    if on_cpu:
        overrides |= {"device": "cpu", **SMALL}
        injected.said.append(f"small sizes: {', '.join(f'{key} {value}' for key, value in SMALL.items())}")
    else:
        injected.words += ["--nproc-per-node", wanted.devices]
    if float(training.get("preload_ratio") or 1.0) < 1.0:
        injected.said.append(f"preload_ratio 1 instead of {training['preload_ratio']}")
    overrides |= wanted.overrides
    injected.said += [f"{key}: {json.dumps(value)} for every stage" for key, value in wanted.overrides.items()]
    if wanted.words:
        injected.said.append(f"options: {' '.join(wanted.words)}")
    if not _aligned([read_mapping(target.stage_config(stage)) for stage in STAGES], {**training, **overrides}):
        injected.add("--align-backbone inject: the stages' own files disagree (C2)", "--align-backbone", "inject")
    for short, stage in SHORT_NAMES.items():
        _free_of_checkpoints(target.stage_config(stage), wanted.work, short, injected)
    injected.add(f"batch {BATCH} on each worker", "--init-batch-size", str(BATCH))
    rate = read_mapping(target.stage_config("dynamics")).get("learning_rate")
    if rate is not None and float(rate) > float(DYNAMICS_RATE):
        injected.add(
            f"learning rate of dynamics {DYNAMICS_RATE} instead of {rate}",
            "--dynamics-init-learning-rate",
            DYNAMICS_RATE,
        )
    frames = target.frames_file(training["dataset"])
    _make_frames(frames, int(overrides.get("frame_size", training["frame_size"])), wanted.work, injected)
    described = wanted.work / "target.yaml"
    described.write_text(yaml.safe_dump({"kind": target.kind, "overrides": {"training": overrides}}))
    injected.words += ["--target-file", str(described)]
    return injected


def _aligned(stages: Sequence[Mapping[str, Any]], shared: Mapping[str, Any]) -> bool:
    return all(key in shared or len({stage.get(key) for stage in stages}) == 1 for key in BACKBONE_KEYS)


def _free_of_checkpoints(file: Path, work: Path, short: str, injected: Injected) -> None:
    """Replace a stage's settings file that names a checkpoint by a copy without (C3)."""
    values = read_mapping(file)
    named = [
        key
        for key, value in values.items()
        if isinstance(value, str)
        and (CHECKPOINT_VALUE.search(value) or any(word in key.lower() for word in CHECKPOINT_KEYS))
    ]
    if named:
        copy = work / file.name
        copy.write_text(yaml.safe_dump({**values, **dict.fromkeys(named)}))
        why = f"a copy of {file.name} without the checkpoints that it hard-codes ({', '.join(named)}; C3)"
        injected.add(why, f"--{short}-config", str(copy))


def _make_frames(frames: Path, size: int, work: Path, injected: Injected) -> None:
    held_out = frames.with_name(frames.name.replace("_frames.h5", "_held_out_frames.h5"))
    injected.said.append(f"Crafter frames of {size} px under the name {frames.name}, and held-out frames beside them")
    if frames.is_file() and held_out.is_file() and check_frames_file(frames).height == size:
        return
    whole = work / f"crafter_{size}px.h5"
    if not whole.is_file():
        words = ["data", "make", "crafter", "--frame-size", str(size), "--num-frames", str(FRAMES)]
        words += ["--episode-length", str(EPISODE), "--output", str(whole)]
        subprocess.run([sys.executable, "-m", "tinyworlds_gate", *words], cwd=REPOSITORY, check=True)
    frames.parent.mkdir(exist_ok=True)
    for file in (frames, held_out):  # of an earlier run at another size
        if file.is_file() and check_frames_file(file).attrs.get("game") == "crafter":
            file.unlink()
    hold_out(whole, frames, held_out, fraction=0.1)


def _environment(devices: str) -> dict[str, str]:
    """Hide the GPUs that are not wanted."""
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    if devices == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif "CUDA_VISIBLE_DEVICES" not in os.environ:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in range(int(devices)))
    return environment
