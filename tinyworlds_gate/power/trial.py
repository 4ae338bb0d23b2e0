"""Measure one row: let the defect in, take the verdict, and take it again without the check that is named."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tinyworlds_gate
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.verdict import judge_inference
from tinyworlds_gate.loop.recheck import verdict_now
from tinyworlds_gate.names import PASS
from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.scene import healthy, make_scene, scene_with, try_gate

SESSION_S = 300


@dataclass(frozen=True)
class Outcome:
    """What the gate said of a defect, and what it says when the named check is left out."""

    id: str
    verdict: str
    sentence: str
    reasons: tuple[str, ...]
    """The conditions that did not hold."""
    reason: str
    """What the named condition says."""
    without: str
    without_sentence: str
    seconds: float


def caught(defect: Defect, outcome: Outcome) -> bool:
    """Whether the row holds: the verdict, the named check among what failed, and its own reason in the sentence."""
    told = re.search(defect.said, outcome.reason) is not None
    return told and defect.check in outcome.reasons and _holds(defect, outcome.verdict, outcome.sentence)


def caught_without(defect: Defect, outcome: Outcome) -> bool:
    """Whether the row would hold although its check is left out; then the check is not what catches it."""
    return _holds(defect, outcome.without, outcome.without_sentence)


def _holds(defect: Defect, verdict: str, sentence: str) -> bool:
    return verdict == defect.verdict and re.search(defect.said, sentence) is not None


def try_defect(defect: Defect, folder: Path, finished: Path | None = None) -> Outcome:
    """Measure one row in a scene of its own.

    Args:
        defect: the row.
        folder: where the scene is made; it must not exist.
        finished: a project with a finished run that passed (:func:`finished_scene`), for defects that come afterwards.

    Raises:
        GateError: the scene cannot be made.
    """
    began = time.monotonic()
    if defect.afterwards is not None:
        if finished is None:
            raise GateError(f"{defect.id} comes after a verdict; it needs a finished run to come after")
        shutil.copytree(finished, folder)
        defect.afterwards(folder)
        run = finished_run(folder)
        now, left = verdict_now(run), verdict_now(run, without={defect.check})
        others = {"binding", "files"} - {defect.check}
        reasons = () if verdict_now(run, without=others).holds else (defect.check,)
        told, told_without = "; ".join(now.changes), "; ".join(left.changes)
        reason = "; ".join(verdict_now(run, without=others).changes)
        return Outcome(defect.id, now.now, told, reasons, reason, left.now, told_without, time.monotonic() - began)
    trial = try_gate(scene_with(defect, folder), defect.in_child)
    verdict, evidence = trial.attempt.verdict, trial.attempt.evidence
    assert evidence is not None
    left_out = judge_inference(evidence, verdict.thresholds, without={defect.check})
    return Outcome(
        defect.id,
        verdict.verdict,
        verdict.sentence,
        tuple(one.id for one in verdict.conditions if one.verdict != PASS),
        "; ".join(one.reason for one in verdict.conditions if one.id == defect.check),
        left_out.verdict,
        left_out.sentence,
        time.monotonic() - began,
    )


def finished_scene(root: Path) -> Path:
    """A scene with a whole run of the closed loop in it: a pytest session on the healthy checkpoints.

    Raises:
        GateError: the validation tests are not beside the package, or the session left no verdict.
    """
    make_scene(root)
    tests = Path(tinyworlds_gate.__file__).parents[1]
    if not (tests / "validation").is_dir():
        raise GateError(f"{tests} has no validation/ folder; run from a checkout of tinyworlds_gate")
    for name in ("conftest.py", "pytest.ini"):
        shutil.copy(tests / name, root / name)
    shutil.copytree(tests / "validation", root / "validation", ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".gitignore").write_text("*\n", encoding="utf-8")
    author = ["-c", "user.name=Power", "-c", "user.email=power@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "A scene"]):
        subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, timeout=60)
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
        raise GateError(
            f"the run that the defects are to come after has no verdict: {now.changes}\n{done.stdout[-2000:]}"
        )
    return root


def finished_run(root: Path) -> Path:
    """The folder of the scene's run."""
    found = sorted((root / "results").glob("power_*"))
    if not found:
        raise GateError(f"{root} holds no run; the session before it failed")
    return found[-1]
