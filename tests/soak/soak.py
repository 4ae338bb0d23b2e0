"""Run the closed loop, kill its processes at random moments, and resume it until it has ended."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults.resumed_runs import Outcome, is_over, outcome_of
from tests.faults.scene import left_running, processes_below
from tests.helpers.tiny_project import STAGES, read_journal, runs, started
from tinyworlds_gate.checkpoints.layout import list_checkpoints
from tinyworlds_gate.launch.processes.find import own_ancestry
from tinyworlds_gate.reports.effective_time import EffectiveTime, effective_time

SESSION_S = 3600.0
_POLL_S = 0.1
_RETRY_S = 0.5
AT_START = 0.25
"""The share of the kills that may hit a harness that is still starting, which on a slow machine is most of the time."""
LOOP = ("validation", "-m", "smoke")


@dataclass(frozen=True)
class Kill:
    """Which process got SIGKILL, and when."""

    what: str
    second: float
    harness: bool


@dataclass
class Soaked:
    """A run with the kills that it took; ``problem`` is None if it came to its end."""

    run: Path
    seconds: float
    sessions: int
    kills: list[Kill] = field(default_factory=list)
    problem: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every stage has left a checkpoint."""
        return all(list_checkpoints(self.run / stage / "checkpoints", stage) for stage in STAGES)

    @property
    def outcome(self) -> Outcome:
        return outcome_of(self.run)

    @property
    def effective(self) -> EffectiveTime | None:
        return effective_time(read_journal(self.run))


def soak(project: Path, words: Sequence[str], *, kills: int, every_s: float, seed: int = 0) -> Soaked:
    """Run the loop to its end with ``kills`` SIGKILLs, each to a random process of it: the harness, its watchdog
    process, the launcher, a worker or the inference process. A run whose harness was killed is resumed.

    Args:
        words: further arguments for pytest.
        every_s: mean seconds between two kills, which are between half and one and a half of it.
    """
    rng, began, done = random.Random(seed), time.monotonic(), list[Kill]()
    due, sessions = began + every_s * rng.uniform(0.5, 1.5), 0
    at_start = rng.random() < AT_START
    while True:
        known = runs(project)
        resumed = ["--resume-run", f"results/{known[-1].name}"] if known else []
        sessions += 1
        with started(project, *LOOP, *words, *resumed) as process:
            session_end = time.monotonic() + SESSION_S
            while (ended := _wait(process)) is None:
                now = time.monotonic()
                assert now < session_end, "a session of the soak did not end within an hour"
                if now < due or len(done) >= kills or not _has_begun(project):
                    continue
                kill = _kill(project, process.pid, rng, now - began, at_start=at_start)
                if kill is not None:
                    done.append(kill)
                    at_start = rng.random() < AT_START
                due = now + (_RETRY_S if kill is None else every_s * rng.uniform(0.5, 1.5))
            output, code = ended, process.returncode
        (run,) = runs(project)[-1:] or [project]
        soaked = Soaked(run, time.monotonic() - began, sessions, done)
        if code == 0 or (run != project and is_over(run)):
            if code > 0:
                soaked.problem = f"session {sessions} ended with exit status {code}: {output[-3000:]}"
            break
        if code >= 0 or sessions > 2 * kills + 2:
            soaked.problem = f"session {sessions} ended with exit status {code}: {output[-3000:]}"
            break
    if left := left_running(project.resolve()):
        soaked.problem = f"left running: {'; '.join(left)}"
    return soaked


def _has_begun(project: Path) -> bool:
    return any(read_journal(run, "run_started") for run in runs(project))


def _wait(process: subprocess.Popen[str]) -> str | None:
    """Return the output of a session that has ended, else None after a moment."""
    with suppress(subprocess.TimeoutExpired):
        return process.communicate(timeout=_POLL_S)[0]
    return None


def _kill(project: Path, harness: int, rng: random.Random, second: float, *, at_start: bool) -> Kill | None:
    """Kill a random process; unless ``at_start``, only when the harness has started others."""
    never = own_ancestry()
    others = sorted((one for one in processes_below(project) if one.pid not in never), key=lambda one: one.pid)
    if not others or (not at_start and all(one.pid == harness for one in others)):
        return None
    chosen = rng.choice(others)
    with suppress(psutil.Error):
        what = "harness" if chosen.pid == harness else " ".join(Path(word).name for word in chosen.cmdline()[:5])
        chosen.kill()
        return Kill(what, round(second, 1), chosen.pid == harness)
    return None
