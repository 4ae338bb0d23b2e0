"""What the checkout's own inference left, and the attempt without the trusted gate.

pytest tests/unit/gate/test_checkout_attempt.py
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.unit.gate.test_checkout_gate import FORK, GOOD, evidence, trusted
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate import checkout_attempt
from tinyworlds_gate.gate.checkout_attempt import (
    attempt_without_trusted_gate,
    evidence_of,
    pictures_in,
    same_checkout,
    target_arguments,
)
from tinyworlds_gate.gate.checkout_gate import judge_target
from tinyworlds_gate.gate.evidence import PictureCheck
from tinyworlds_gate.gate.inference_job import Subject
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.journal import Journal, last_event
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.source_state import SourceState
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.fingerprint import fingerprint


def checkout(root: Path, **changes: Any) -> Target:
    scripts = {stage: root / f"{stage}.py" for stage in STAGES}
    fields = {"kind": "tinyworlds-fork", "can": FORK, **changes}
    return Target(
        root=root,
        python=Path("python"),
        stage_scripts=scripts,
        inference_script=root / "i.py",
        config_dir=root,
        **fields,
    )


def settings(**inference: Any) -> Any:
    """Return the settings that an inference run of a checkout has."""
    values = {"teacher_forced": False, "context_window": None, "prediction_horizon": 2, "generation_steps": 3}
    return SimpleNamespace(
        training=SimpleNamespace(context_length=7, dataset="SONIC"),
        inference=SimpleNamespace(**{**values, "decode_steps": 5, "temperature": 0.5, "seed": 9, **inference}),
        profile=SimpleNamespace(thresholds=GateThresholds()),
    )


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(path)
    return path


@pytest.mark.requirement("L6")
@pytest.mark.parametrize(("window", "context"), [(None, 5), (3, 3)])
def test_the_arguments_are_the_gate_s_settings_on_these_checkpoints(
    window: int | None, context: int, tmp_path: Path
) -> None:
    paths = {"dynamics": tmp_path / "dynamics_step_1"}
    given = target_arguments(settings(context_window=window), checkout(tmp_path), paths, on_cpu=True)
    expected = {"dataset": "SONIC", "device": "cpu", "context_window": context, "prediction_horizon": 2}
    expected |= {"generation_steps": 3, "teacher_forced": False, "dynamics_path": paths["dynamics"]}
    assert {name: given[name] for name in expected} == expected


@pytest.mark.requirement("G1", "G2", "G4")
def test_the_evidence_is_read_from_the_log_and_the_picture(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    (root / "real").mkdir(parents=True)
    (root / "link").symlink_to("real")
    log = tmp_path / "log"
    log.write_text('Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nValueError: bad\n')
    found = evidence_of(
        settings(), checkout(root), 1, log, PictureCheck(tmp_path / "p.png", ""), {"dynamics": "link/a"}
    )
    assert found.expected_checkpoints == {"dynamics": str(root / "real" / "a")}
    assert (found.picture, found.picture_problem, found.exit_code) == ("p.png", "", 1)
    assert (found.context_frames, found.generated_frames) == (5, 6)
    assert found.error.startswith("ValueError: bad")
    log.write_text("")
    nothing = evidence_of(settings(context_window=4), checkout(root), 0, log, PictureCheck(None, "none"), {})
    assert (nothing.picture, nothing.picture_problem, nothing.error, nothing.context_frames) == (None, "none", "", 4)


@pytest.mark.requirement("G4")
def test_the_picture_of_an_inference_is_new_and_the_newest_and_is_copied_to_the_run_s_folder(tmp_path: Path) -> None:
    target, results = checkout(tmp_path), tmp_path / "out" / "inference_results"
    name = target.layout.pictures

    def new(before: dict[Path, int]) -> PictureCheck:
        return checkout_attempt._new_picture(target, results, before)

    assert new({}).problem == f"no new {name} appeared (none lies there)"
    old, newer = (picture(tmp_path / name.replace("*", f"{number}")) for number in (1, 2))
    for path, seconds in ((old, 20), (newer, 10)):
        os.utime(path, (seconds, seconds))
    before = pictures_in(target)
    assert before == {old: 20 * 10**9, newer: 10 * 10**9}
    assert new(before).problem == f"no new {name} appeared (2 older ones lie there)"
    assert new({}) == PictureCheck(results / old.name, "")
    assert (results / old.name).read_bytes() == old.read_bytes()
    os.utime(newer, (30, 30))
    assert new(before) == PictureCheck(results / newer.name, "")
    assert checkout_attempt._new_picture(target, newer.parent, before) == PictureCheck(newer, "")
    newer.write_text("no picture")
    assert new(before).path is None
    old.unlink()
    old.symlink_to(newer)
    assert pictures_in(target).keys() == {newer}


@pytest.mark.requirement("G2")
def test_the_files_of_the_checkout_are_compared_with_those_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1")
    job: Any = SimpleNamespace(tree=fingerprint(tmp_path), target=checkout(tmp_path))
    assert same_checkout(job, trusted()).conditions[-1].reason.startswith("the 1 files of the checkout are what")
    (tmp_path / "a.py").write_text("a = 2")
    assert same_checkout(job, trusted()).verdict == "INVALID"


@pytest.mark.requirement("L6", "G5")
def test_an_attempt_without_the_trusted_gate_is_the_checkout_s_own_inference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = RunLayout(tmp_path, "a")
    bound = SimpleNamespace(as_event=lambda: {"clip_digest": None})
    monkeypatch.setattr(checkout_attempt, "bind_attempt", lambda *arguments: bound)
    ref = CheckpointRef("dynamics", 3, layout.checkpoint("dynamics", 3), "d" * 64, 5)
    own = judge_target(evidence(replace(GOOD, mse=0.2, mse_with_context=0.1)), FORK, 0.03)
    subject = Subject(2, 1, {"dynamics": ref}, SourceState(), own=own, no_trusted_gate="it has experts")
    with Journal(layout.journal, project_root=layout.project_root) as journal:
        journal.append("target_inference_started", attempt=2, draw=1, command=["python", "old"], log="old")
        journal.append("target_inference_started", attempt=2, draw=1, command=["python", "i.py"], log="l")
        ended = {"exit_code": 0, "signal": None, "cause": "ok", "wall_s": 1.5, "picture": "p.png", "log_tail": ["x"]}
        journal.append("target_inference_finished", attempt=2, draw=1, log="l", extra_launchers=[], ended=[], **ended)
        job: Any = SimpleNamespace(
            journal=journal, layout=layout, settings=settings(), tree={}, target=checkout(tmp_path), clips=None
        )
        monkeypatch.setattr(checkout_attempt, "fingerprint", lambda root: {})
        attempt = attempt_without_trusted_gate(job, subject)
        events = journal.events()
    started, finished, verdict = (last_event(events, name) or {} for name in (
        "inference_started", "inference_finished", "gate_verdict"))  # fmt: skip
    shared = {"attempt": 2, "draw": 1, "log": "l"}
    assert started | shared | {"command": ["python", "i.py"], "batch_size": 1} == started
    assert finished | shared | ended | {"measures_file": None} == finished
    assert finished["checkpoints"]["dynamics"]["step"] == 3
    assert verdict | {"attempt": 2, "draw": 1, "verdict": "INVALID", "measures": None} == verdict
    assert verdict["gates"]["target"]["verdict"] == "FAIL"
    assert (attempt.number, attempt.draw, attempt.verdict.verdict) == (2, 1, "INVALID")
    assert (attempt.log, attempt.picture, attempt.log_tail) == (tmp_path / "l", tmp_path / "p.png", ("x",))
