"""Processes that die, fail, or leave too little: the rows of rows_processes.py.

pytest tests/faults/test_processes.py -m "slow or not slow"
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.runs import faulty_project, reports_of
from tinyworlds_gate.stages.controller import StageController

TOKENIZER = "video_tokenizer"


@pytest.mark.fault("exit-0-without-checkpoint")
@pytest.mark.requirement("S4", "T1", "M2")
def test_exit_0_without_a_checkpoint_does_not_count(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, TOKENIZER, scene)
    project.plan(TOKENIZER, {}, {"no_checkpoint": True})
    assert StageController(project.context, TOKENIZER, {}).train(8).verdict == "PASS"

    spans = [(event["start_update"], event["end_update"]) for event in project.events("chunk_started")]
    assert spans == [(0, 4), (4, 8), (4, 8)]
    failed = project.events("chunk_finished")[1]
    assert (failed["exit_code"], failed["checkpoint"]) == (0, None)
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"]) == ("T1", {"batch_size_per_gpu": [8, 4]})
    assert project.lives(TOKENIZER)[2]["checkpoint"].endswith("video_tokenizer_step_3")

    report = reports_of(project.context.layout)
    assert "Missing or wrong: no checkpoint video_tokenizer_step_7 was written." in report["A6"]
    assert "T1: runtime_error: no checkpoint video_tokenizer_step_7 was written" in report["A5"]
