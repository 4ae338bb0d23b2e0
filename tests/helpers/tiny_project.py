"""A temporary project whose closed loop takes seconds, and pytest sessions in it as real child processes.

The game: a white bar, one patch wide, that moves one patch a frame over a black picture of 16 px and wraps around.
Always black scores 0.25 on it, copying the last frame 0.5 and the mean frame 0.19, so that 0.03 is only passed by a
model that moves the bar. The stages learn that in less than a hundred updates; a handful of updates scores about 0.2.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import psutil

from tests.helpers.config_files import REPOSITORY, copy_profile

FRAME_SIZE, PATCH_SIZE = 16, 4
PASSED = r"PASS: the strict autoregressive \(\d+ steps fed back\) rollout error"
"""How the sentence of a run that passed begins, a regular expression."""
GAME = "BARS"
STAGES = ("video_tokenizer", "latent_actions", "dynamics")
JUNIT = "junit.xml"
STEP_SUMMARY = "results/step_summary.md"
GENERATED = ("data/", "given/", "results/", "Logs/", "inference_results/", "docs/action/", "__pycache__/", JUNIT)
TIMEOUT_S = 180.0

TRAINING = f"""\
dataset: {GAME}
fps: 60
patch_size: {PATCH_SIZE}
context_length: 4
frame_size: {FRAME_SIZE}
latent_dim: 3
num_bins: 4
n_actions: 2
embed_dim: 32
num_heads: 2
hidden_dim: 64
num_blocks: 1
device: cpu
nproc_per_node: 1
use_wandb: false
log_every: 50
"""
STAGE = """\
batch_size_per_gpu: 16
gradient_accumulation_steps: 1
learning_rate: {rate}
n_updates: {updates}
log_interval: 100
checkpoint: null
"""
DYNAMICS = "use_actions: true\nvideo_tokenizer_path: null\nlatent_actions_path: null\n"
INFERENCE = f"""\
dataset: {GAME}
fps: 60
device: cpu
use_latest_checkpoints: false
use_actions: true
use_gt_actions: true
generation_steps: 3
decode_steps: 4
temperature: 0
clips: 64
batch_size: 64
"""
PROFILE = """\
name: smoke
kind: smoke
description: "A loop of seconds for the harness's own tests."
seed: 0
stages:
  video_tokenizer: {chunk: 120, target_updates: 120}
  latent_actions: {chunk: 20, target_updates: 20}
  dynamics: {chunk: 60, target_updates: 120}
retry: {chunk: 120, init_learning_rate: 2.0e-3, lr_decay: 0.7, lr_floor: 1.0e-6, max: 2}
max_train_retries: 1
thresholds:
  max_mse: 0.03
  stage_gates:  # lenient: what these tests are about is the inference gate
    video_tokenizer: {continue_loss: 10.0, watch_loss: 10.0, late_over_middle: 10.0}
    latent_actions: {continue_loss: 10.0, watch_loss: 10.0, min_unique_actions: 1, min_action_entropy_nats: 0.0}
    dynamics: {diverged_loss: 100.0, continue_loss: 100.0, continue_late_over_middle: 10.0, continue_rise: 10.0}
data: {num_frames: 800, episode_length: 20, held_out_fraction: 0.25}
watchdog: {stall_s: 100, chunk_deadline_s: 150, inference_deadline_s: 100}
require_not_run_free: false
"""


@dataclass(frozen=True)
class Session:
    """One finished pytest session of a tiny project."""

    project: Path
    exit_status: int
    output: str
    seconds: float
    run_folder: Path | None = None

    @property
    def run(self) -> Path:
        """The run folder; by default the newest."""
        return self.run_folder or runs(self.project)[-1]

    @property
    def junit(self) -> Path:
        """The JUnit file."""
        return self.project / JUNIT

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the journal of the run, or its events of one name."""
        return read_journal(self.run, name)

    def report(self, id: str) -> str:
        """Return the text of A1, A2, A3, A5 or A6."""
        paths = [event["path"] for event in self.events("report_written") if event["id"] == id]
        return (self.project / paths[-1]).read_text(encoding="utf-8")

    @property
    def page(self) -> Path:
        """The HTML page (A8)."""
        return self.project / next(event["path"] for event in self.events("report_written") if event["id"] == "A8")

    def page_rows(self, test: str) -> list[tuple[str, str]]:
        """Return (result, log) of a test's rows on the page, in order."""
        blob = re.search(r'data-jsonblob="([^"]*)"', self.page.read_text(encoding="utf-8"))
        assert blob is not None, "the page holds no table of tests"
        tests: dict[str, list[dict[str, Any]]] = json.loads(html.unescape(blob[1]))["tests"]
        return [(row["result"], row["log"]) for name, rows in tests.items() if name.endswith(test) for row in rows]

    def cases(self) -> list[ElementTree.Element]:
        """The test cases of the JUnit file."""
        return list(ElementTree.parse(self.junit).iter("testcase"))

    def found(self, id: str) -> tuple[str, str]:
        """Return verdict and reason of a requirement."""
        event = next(event for event in self.events("requirement") if event["id"] == id)
        return event["verdict"], event["reason"]


def make_project(root: Path) -> Path:
    """Build the project: our conftest.py, pytest.ini and validation/, tiny settings, frames, one commit."""
    root.mkdir(parents=True)
    for name in ("conftest.py", "pytest.ini"):
        shutil.copy(REPOSITORY / name, root / name)
    shutil.copytree(REPOSITORY / "validation", root / "validation", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests").mkdir()
    (root / "tests" / "test_nothing.py").write_text("def test_one_and_one_make_two():\n    assert 1 + 1 == 2\n")
    copy_profile("baseline", root / "configs")
    copy_profile("longrun", root / "configs/profiles/longrun")
    write_smoke_profile(root / "configs/profiles/smoke")
    write_game(root / "data" / f"{GAME.lower()}_frames.h5")
    (root / ".gitignore").write_text("\n".join(GENERATED) + "\n")
    commit(root)
    return root


def write_smoke_profile(folder: Path) -> None:
    """The six settings files of the tiny profile."""
    folder.mkdir(parents=True)
    files = {
        "training": TRAINING,
        "video_tokenizer": STAGE.format(rate=3.0e-3, updates=120),
        "latent_actions": STAGE.format(rate=1.0e-3, updates=20),
        "dynamics": STAGE.format(rate=3.0e-3, updates=120) + DYNAMICS,
        "inference": INFERENCE,
        "profile": PROFILE,
    }
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def write_game(path: Path, episodes: int = 40, length: int = 20, *, seed: int = 0, white: int = 255) -> Path:
    """Write bars that move left or right by a patch a frame, wrapping around; an episode has one direction."""
    rng = np.random.default_rng(seed)
    columns = FRAME_SIZE // PATCH_SIZE
    frames = np.zeros((episodes, length, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    for episode in frames:
        at, step = rng.integers(columns), rng.choice([-1, 1])
        for frame in episode:
            frame[:, at * PATCH_SIZE : (at + 1) * PATCH_SIZE] = white
            at = (at + step) % columns
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames.reshape(-1, FRAME_SIZE, FRAME_SIZE, 3))
        file.create_dataset("episode", data=np.repeat(np.arange(episodes), length))
        file.attrs["fps"] = 60
    return path


def write_evaluation_set(path: Path) -> Path:
    """Write 24 clips of the same game with slightly darker bars, so that no frame is in the training data."""
    write_game(path, episodes=12, seed=1, white=250)
    with h5py.File(path, "r+") as file:
        file["clip_starts"] = np.sort(np.concatenate([np.arange(12) * 20, np.arange(12) * 20 + 9])).astype(np.int32)
    return path


def commit(root: Path) -> None:
    """Make the folder a git repository with one commit, whatever git's configuration on this machine is."""
    name = ["-c", "user.name=Tiny", "-c", "user.email=tiny@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*name, "commit", "-q", "-m", "A tiny project"]):
        subprocess.run(["git", *words], cwd=root, check=True, env=environment(), capture_output=True, timeout=30)


def environment() -> dict[str, str]:
    """Return the environment of a user's shell, without variables of this pytest session or of a CI job."""
    others = ("PYTEST_", "GIT_", "COV_", "GITHUB_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    paths = [str(REPOSITORY), *env.get("PYTHONPATH", "").split(os.pathsep)]
    return env | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "OMP_NUM_THREADS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }


def run_pytest(
    project: Path, *words: str | Path, timeout_s: float = TIMEOUT_S, variables: Mapping[str, str] | None = None
) -> Session:
    """Run `python -m pytest …` in the project to its end, with a JUnit file and without a terminal."""
    began = time.monotonic()
    with started(project, *words, variables=variables) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            end(process)
            raise AssertionError(f"pytest took more than {timeout_s:g} s:\n{process.communicate()[0]}") from None
    return Session(project, process.returncode, output, time.monotonic() - began)


@contextmanager
def started(
    project: Path, *words: str | Path, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start `python -m pytest …` and end it with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", f"--junit-xml={JUNIT}", *map(str, words)],
        cwd=project,
        env={**environment(), **(variables or {})},
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end(process)
        if process.stdout is not None:
            process.stdout.close()


def end(process: subprocess.Popen[str]) -> None:
    """Send Ctrl-C, which also ends the stages; then SIGKILL if needed."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], what: str) -> None:
    """Wait for a condition during a running session; fail if the session ends first or it takes too long."""
    deadline = time.monotonic() + 300.0
    while not condition():
        if process.poll() is not None:
            raise AssertionError(f"pytest ended before {what}:\n{process.communicate()[0]}")
        assert time.monotonic() < deadline, f"waited too long for: {what}"
        time.sleep(0.05)


def runs(project: Path) -> list[Path]:
    """Return the run folders of a project, oldest first."""
    return sorted((path.parent for path in project.glob("results/*/journal.jsonl")), key=lambda path: path.name)


def read_journal(run: Path, name: str | None = None) -> list[dict[str, Any]]:
    """Return the events of a run's journal, or those of one name."""
    lines = (run / "journal.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event for event in events if name is None or event["event"] == name]


def checkpoint_options(session: Session, *stages: str) -> list[str]:
    """Return `--video-checkpoint …` and so on, with the checkpoints of a finished session."""
    words: list[str] = []
    for stage in stages or STAGES:
        words += [f"--{stage.split('_')[0]}-checkpoint", str(session.run / stage / "checkpoints")]
    return words


def processes_of(project: Path) -> list[psutil.Process]:
    """Return live processes whose working folder is in the project."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(project.resolve()):
                found.append(process)
    return found


def no_checkpoint_in(project: Path) -> bool:
    """Whether no stage has written a checkpoint, whole or in part."""
    return not list(project.glob("results/*/*/checkpoints/*"))
