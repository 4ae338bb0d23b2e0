"""Frames, checkpoints and a copy of the harness for tries that cheat; and `tinyworlds-gate budget` as a process."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil

from tests.helpers.commands import REPOSITORY
from tests.helpers.small_models import SMALL, sizes
from tests.helpers.untrained_checkpoints import write_untrained
from tests.unit.budget import cheats
from tinyworlds_gate.budget.leaderboard import read_tries
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.run.journal import Event

SIDE, EPISODES, LENGTH = SMALL.frame_size, 60, 14
SECONDS = 6


@dataclass(frozen=True)
class Outcome:
    """One try as its user sees it: exit code, the printed result or None, and the log of the command."""

    exit_code: int
    result: dict[str, Any] | None
    errors: str
    log: str
    folder: Path


@dataclass(frozen=True)
class World:
    """A folder with all that a cheat needs."""

    root: Path

    @property
    def board(self) -> Path:
        return self.root / "budget"

    @property
    def mark(self) -> Path:
        """Exists when planted code has run."""
        return self.root / "ran"

    def tries(self) -> list[Event]:
        return read_tries(self.board)

    def run(self, cheat: str, *options: str, landlock: bool = True, seconds: float = SECONDS) -> Outcome:
        """Run a try with a command of `cheats`, and check what holds for every try."""
        words = ["budget", "--folder", str(self.board), "--seconds", str(seconds), "--max-output", "16"]
        words += ["--data", str(self.root / "data/all.h5"), "--held-out-fraction", "0.5"]
        words += ["--clips", "24", "--context", "3", "--steps", "3", "--decode-steps", "2", "--device", "cpu"]
        words += [] if landlock else ["--without-landlock"]
        script = Path(cheats.__file__)
        command = [
            sys.executable,
            "-P",
            "-m",
            "tinyworlds_gate",
            *words,
            *options,
            "--",
            sys.executable,
            str(script),
            cheat,
        ]
        number = len(list(self.board.glob("try-*"))) + 1
        process = subprocess.Popen(
            command, cwd=self.root, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            printed, errors = process.communicate(timeout=300)
        finally:
            process.kill()
        folder = self.board / f"try-{number:04d}"
        log = "".join(path.read_text() for path in sorted(folder.glob("*.log")))
        lines = printed.splitlines()
        assert len(lines) <= 1, "the command's output reached the terminal of the harness"
        result = json.loads(lines[0]) if lines else None
        return Outcome(process.returncode, result, errors, log, folder)

    def environment(self) -> dict[str, str]:
        """The user's shell: the copy of the harness comes first in the import path."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TINYWORLDS_"))}
        paths = {"PYTHONPATH": str(self.root / "code"), "HOME": str(self.root / "home"), "CHEAT_FOLDER": str(self.root)}
        return {**kept, **paths, "OMP_NUM_THREADS": "1"}

    def install_anew(self) -> None:
        """Replace the copy of the harness, which a cheat changed."""
        shutil.rmtree(self.root / "code")
        shutil.copytree(self.root / "whole_code", self.root / "code")

    def end_strays(self) -> list[str]:
        """End the processes that a try left although it was over; return their command lines."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if f"{self.root}/other" in line and process.pid != os.getpid():
                    found.append(line)
                    process.send_signal(signal.SIGKILL)
        return found


def make_world(root: Path) -> World:
    """Write frames of one coloured bar an episode, checkpoints of untrained models, and a copy of the harness."""
    write_frames(root / "data/all.h5")
    _checkpoints(root)
    (root / "home").mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("tinyworlds_gate", "configs"):
        shutil.copytree(REPOSITORY / name, root / "code" / name, ignore=ignored)
    compileall.compile_dir(root / "code", quiet=1)
    shutil.copytree(root / "code", root / "whole_code")
    # Change times of what was copied just now and of what a cheat changes differ for certain.
    time.sleep(0.05)
    return World(root)


def write_frames(path: Path, *, seed: int = 0) -> Path:
    """Write episodes of a bar that moves by a patch a frame, each over a background of its own that scrolls down."""
    rng = np.random.default_rng(seed)
    frames = np.empty((EPISODES, LENGTH, SIDE, SIDE, 3), np.uint8)
    columns, width = SIDE // SMALL.patch_size, SMALL.patch_size
    for episode in frames:
        background = rng.integers(0, 120, (SIDE, SIDE, 3), np.uint8)
        at, step = int(rng.integers(columns)), int(rng.choice([-1, 1]))
        for time_step, frame in enumerate(episode):
            # Nothing repeats: in a game that does, the context can show the future.
            frame[:] = np.roll(background, time_step, axis=0)
            frame[:, at * width : (at + 1) * width] = rng.integers(150, 256, 3)
            at = (at + step) % columns
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["frames"] = frames.reshape(-1, SIDE, SIDE, 3)
        file["episode"] = np.repeat(np.arange(EPISODES), LENGTH)
        file["actions"] = rng.integers(0, 2, EPISODES * LENGTH, np.uint8)
    return path


def _checkpoints(root: Path) -> None:
    import torch

    write_untrained(root / "honest", SMALL)
    write_untrained(root / "many_codes", sizes(n_actions=64))
    write_untrained(root / "small_frames", sizes(frame_size=8))
    for name, change in (("other", 0.9), ("nan", float("nan"))):
        shutil.copytree(root / "honest", root / name)
        for path in (root / name).rglob(cheats.MODEL):
            state = torch.load(path, weights_only=True)
            changed = {key: one * change if one.is_floating_point() else one for key, one in state.items()}
            torch.save(changed, path)
            manifest = json.loads((path.parent / "manifest.json").read_text())
            manifest["files"][cheats.MODEL] = {"sha256": sha256_of(path), "size": path.stat().st_size}
            (path.parent / "manifest.json").write_text(json.dumps(manifest))
