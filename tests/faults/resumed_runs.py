"""Kill and resume whole loops, and compare their results."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.faults.scene import processes_below
from tests.helpers.tiny_project import STAGES, Session, run_pytest, runs, started
from tinyworlds_gate.checkpoints.layout import list_checkpoints
from tinyworlds_gate.launch.processes.find import own_ancestry

SELDOM_S = 0.05
DRAWN_AT_RANDOM = ("seconds", "past", "played")
"""Measurements of the probe, which draws its clips and codes at random, and the duration."""


@dataclass(frozen=True)
class Outcome:
    """The results that two equal runs have in common, with or without interruptions."""

    weights: dict[str, tuple[int, str]]
    """Stage → (step, SHA-256 of the weights) of its newest checkpoint."""
    verdicts: list[tuple[str, dict[str, Any]]]
    """Verdict and measurements of each attempt and of the final verdict, without DRAWN_AT_RANDOM."""
    status: str


def outcome_of(run: Path) -> Outcome:
    """Read the outcome from the run's folder."""
    events = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    weights = {}
    for stage in STAGES:
        step, folder = list_checkpoints(run / stage / "checkpoints", stage)[-1]
        manifest = json.loads((folder / "manifest.json").read_text())
        weights[stage] = (step, manifest["files"]["model_state_dict.pt"]["sha256"])
    judged = {(event["attempt"], event["draw"]): event for event in events if event["event"] == "gate_verdict"}
    verdicts = [
        (event["verdict"], {key: value for key, value in event["measures"].items() if key not in DRAWN_AT_RANDOM})
        for event in judged.values()
    ]
    return Outcome(weights, verdicts, [e["status"] for e in events if e["event"] == "run_finished"][-1])


@dataclass(frozen=True)
class Kill:
    """Which process was killed, when, and whether it was the harness."""

    what: str
    after_s: float
    harness: bool


def is_over(run: Path) -> bool:
    """Return whether the journal has the session's last event, the page."""
    events = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return any(event["event"] == "report_written" and event["id"] == "A8" for event in events)


def kill_something(
    project: Path, words: Sequence[str], moment_s: float, *, seed: int, spare: int
) -> tuple[Kill | None, Session]:
    """Start the loop, kill a random process of it ``moment_s`` after its first journal line, and let it end.

    ``spare`` is the PID of the bystander.

    Returns:
        The kill (None: the loop was over before), and the session.
    """
    kill: Kill | None = None
    before = set(runs(project))
    with started(project, *words) as process:
        while not set(runs(project)) - before and process.poll() is None:
            time.sleep(SELDOM_S)
        deadline = time.monotonic() + moment_s
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(SELDOM_S)
        with suppress(psutil.NoSuchProcess):  # the loop was over before
            harness = psutil.Process(process.pid)
            chosen = random.Random(seed).choice([harness, *_others(project, {harness.pid, spare})])
            words_of_it = " ".join(Path(word).name for word in chosen.cmdline()[:5])
            chosen.send_signal(signal.SIGKILL)
            kill = Kill(words_of_it, round(moment_s, 1), chosen.pid == process.pid)
        output, _ = process.communicate(timeout=400)
    (run,) = set(runs(project)) - before
    return kill, Session(project, process.returncode, output, 0.0, run)


def _others(project: Path, spared: set[int]) -> list[psutil.Process]:
    never = own_ancestry() | spared
    return sorted((one for one in processes_below(project) if one.pid not in never), key=lambda one: one.pid)


def resume(project: Path, run: Path, *words: str) -> Session:
    """Resume the run with `--resume-run` until it ends."""
    session = run_pytest(project, "validation", "-m", "smoke", "--resume-run", f"results/{run.name}", *words)
    return Session(project, session.exit_status, session.output, session.seconds, run)
