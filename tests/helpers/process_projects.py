"""Temporary projects with small Python programs as stage scripts, and real processes that run them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.base import Target

WAIT_S = 20.0
SLEEPER = "import time\nprint('ready', flush=True)\ntime.sleep(60)\n"
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)\n"
)
PARENT_OF_SESSIONS = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
    "print('ready', child.pid, flush=True)\n"
    "time.sleep(60)\n"
)


def make_project(root: Path, script: str = SLEEPER, *, shared_scripts: Path | None = None) -> Target:
    """Create a project with one program for all three stages; ``shared_scripts`` are outside it, as if installed."""
    scripts = shared_scripts or root / "scripts"
    scripts.mkdir(parents=True, exist_ok=True)
    (root / "configs").mkdir(parents=True, exist_ok=True)
    paths = {stage: scripts / f"train_{stage}.py" for stage in STAGES}
    for path in [*paths.values(), scripts / "run_inference.py"]:
        path.write_text(script)
    for name in (*STAGES, "training", "inference"):
        (root / "configs" / f"{name}.yaml").write_text("{}\n")
    return Target(
        kind="test",
        root=root.resolve(),
        python=Path(sys.executable),
        stage_scripts=paths,
        inference_script=scripts / "run_inference.py",
        config_dir=root / "configs",
        stage_modules={stage: f"scripts.train_{stage}" for stage in STAGES},
        shared_scripts=shared_scripts is not None,
    )


@contextmanager
def running(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a real process that is always ended with the block."""
    process = subprocess.Popen(
        [str(word) for word in command], cwd=cwd, env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def stage_running(
    target: Target, stage: str = "dynamics", *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A stage process of ``target`` that has printed its first line."""
    with running([sys.executable, target.stage_script(stage)], cwd=cwd or target.root, env=env) as process:
        first_line(process)
        yield process


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; a test that waits too long fails with what it waited for."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_S:g} s for {what}"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
