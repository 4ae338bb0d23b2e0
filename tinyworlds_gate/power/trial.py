"""Measure one defect: the verdict with it, and the verdict on the same evidence without the named check."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.gate.verdict import GateVerdict, judge_inference, judge_measures
from tinyworlds_gate.loop.recheck import verdict_now
from tinyworlds_gate.names import FAIL, INVALID
from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.object_world import write_frames
from tinyworlds_gate.power.scene import healthy, make_scene, scene_with, try_gate
from tinyworlds_gate.run.git import run_in_own_folder
from tinyworlds_gate.run.installation import shipped_folder

SESSION_S = 300
BROKEN = (FAIL, INVALID)
FLOATS = {one.name for one in fields(GateMeasures) if one.type == "float"}
"""Measures that are always a number; NaN is null in JSON."""


@dataclass(frozen=True)
class Outcome:
    """The gate's verdict on a defect, with and without the named check."""

    id: str
    verdict: str
    sentence: str
    reasons: tuple[str, ...]
    """IDs of the conditions that failed."""
    reason: str
    """The reason of the named condition."""
    without: str
    without_reasons: str
    """The reasons that are left, or the sentence of a pass."""
    seconds: float


def caught(defect: Defect, outcome: Outcome) -> bool:
    """Return whether the defect is caught: expected verdict, named check among the failed ones, expected reason."""
    matches = re.search(defect.expected_reason, outcome.reason) is not None
    named = defect.check in outcome.sentence or re.search(defect.expected_reason, outcome.sentence) is not None
    return matches and named and defect.check in outcome.reasons and outcome.verdict == defect.verdict


def caught_without(defect: Defect, outcome: Outcome) -> bool:
    """Return whether the defect is caught without its check; then the check is not what catches it."""
    same = re.search(defect.expected_reason, outcome.without_reasons) is not None
    return outcome.without == defect.verdict and same


def try_defect(defect: Defect, folder: Path, finished: Path | None = None) -> Outcome:
    """Measure one defect in its own scene.

    ``folder`` must not exist. ``finished`` is a project with a finished run that passed (:func:`finished_scene`), for
    defects after a verdict.

    Raises:
        GateError: the scene cannot be created.
    """
    began = time.monotonic()
    if defect.afterwards is not None:
        if finished is None:
            raise GateError(f"{defect.id} changes a finished run, but none was passed")
        shutil.copytree(finished, folder)
        defect.afterwards(folder)
        run = finished_run(folder)
        now, left = verdict_now(run), verdict_now(run, without={defect.check})
        others = {"chain", "binding", "evidence", "files"} - {defect.check}
        reasons = () if verdict_now(run, without=others).holds else (defect.check,)
        sentence, sentence_without = "; ".join(now.changes), "; ".join(left.changes)
        reason = "; ".join(verdict_now(run, without=others).changes)
        seconds = time.monotonic() - began
        return Outcome(defect.id, now.now, sentence, reasons, reason, left.now, sentence_without, seconds)
    if defect.fault is not None:
        verdict, measures = judge_frames(write_frames(folder / "frames.h5", defect.fault))
        return _outcome(defect, verdict, judge_measures(measures, verdict.thresholds, without={defect.check}), began)
    trial = try_gate(scene_with(defect, folder), defect.in_child, everywhere=defect.everywhere)
    verdict, evidence = trial.attempt.verdict, trial.attempt.evidence
    assert evidence is not None
    left_out = judge_inference(evidence, verdict.thresholds, without={defect.check})
    return _outcome(defect, verdict, left_out, began)


def _outcome(defect: Defect, verdict: GateVerdict, left_out: GateVerdict, began: float) -> Outcome:
    broken = [one for one in verdict.conditions if one.verdict in BROKEN]
    return Outcome(
        defect.id,
        verdict.verdict,
        verdict.sentence,
        tuple(one.id for one in broken),
        "; ".join(one.reason for one in verdict.conditions if one.id == defect.check),
        left_out.verdict,
        "; ".join(one.reason for one in left_out.conditions if one.verdict in BROKEN) or left_out.sentence,
        time.monotonic() - began,
    )


def judge_frames(frames: Path) -> tuple[GateVerdict, GateMeasures]:
    """Return the verdict of `tinyworlds-gate score --frames`, and its measures.

    Raises:
        GateError: the command fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tinyworlds_gate", "score", "--frames", str(frames), "--json"],
        capture_output=True,
        text=True,
        timeout=SESSION_S,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise GateError(f"score --frames {frames} ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    summary: dict[str, Any] = found["summary"]
    summary |= {key: math.nan for key in FLOATS if summary[key] is None}
    measures = GateMeasures(**summary)
    thresholds = GateThresholds.from_record(found["verdict"]["thresholds"])
    conditions = [Condition(**one) for one in found["verdict"]["conditions"]]
    return GateVerdict(found["verdict"]["verdict"], found["verdict"]["sentence"], conditions, thresholds), measures


def finished_scene(root: Path) -> Path:
    """Create a scene with a finished run of the closed loop, a pytest session on the healthy checkpoints.

    Raises:
        GateError: the session left no verdict.
    """
    make_scene(root)
    (root / "conftest.py").write_text('pytest_plugins = ["tinyworlds_gate.plugin"]\n', encoding="utf-8")
    (root / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    tests = shipped_folder("validation")
    shutil.copytree(tests, root / "validation", ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".gitignore").write_text("*\n", encoding="utf-8")
    author = ["-c", "user.name=Power", "-c", "user.email=power@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "A scene"]):
        run_in_own_folder(root, *words)
    stages = {"video": "video_tokenizer", "latent": "latent_actions", "dynamics": "dynamics"}
    given = [f"--{short}-checkpoint={healthy(root, stage).relative_to(root)}" for short, stage in stages.items()]
    words = ["-m", "smoke", "--profile", "./settings", "--train-stage", "none", *given, "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "validation", *words],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=SESSION_S,
        check=False,
    )
    now = verdict_now(finished_run(root))
    if not now.passed and not now.holds:
        raise GateError(f"the finished run has no verdict: {now.changes}\n{done.stdout[-2000:]}")
    return root


def finished_run(root: Path) -> Path:
    """Return the folder of the scene's run."""
    found = sorted((root / "results").glob("power_*"))
    if not found:
        raise GateError(f"{root} holds no run; the session before it failed")
    return found[-1]
