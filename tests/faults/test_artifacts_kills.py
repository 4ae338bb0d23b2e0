"""A stage that is killed inside the writer of its checkpoint: the loop's part of the first rows of rows_artifacts.py.

Every boundary, one by one, is in tests/unit/checkpoints/test_kills.py. ``pytest tests/faults/test_artifacts_kills.py``
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.runs import faulty_project, reports_of
from tests.helpers.checkpoint_files import names_in
from tests.helpers.fake_stages import RUN
from tests.helpers.killed_writers import Job, wrapped_boundaries
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.loop.stage_controller import StageController
from tinyworlds_gate.run.formats import duration_text

STAGE = "video_tokenizer"
BEFORE, NEW, LAST = 5, 6, 7
TEMPORARY = f".{STAGE}_step_{NEW}.tmp-"


@pytest.mark.requirement("S4", "T6", "H7")
@pytest.mark.parametrize(
    ("boundary", "start", "left"),
    [
        pytest.param(
            ("write-half", "optim_state_dict.pt"), BEFORE, TEMPORARY, marks=pytest.mark.fault("kill-writing-files")
        ),
        pytest.param(("fsync", "manifest.json"), BEFORE, TEMPORARY, marks=pytest.mark.fault("kill-before-manifest")),
        pytest.param(("rename", TEMPORARY), BEFORE, TEMPORARY, marks=pytest.mark.fault("kill-before-rename")),
        pytest.param(("fsync", "checkpoints"), NEW, "", marks=pytest.mark.fault("kill-before-parent-sync")),
        pytest.param(
            ("unlink", "optim_state_dict.pt"),
            NEW,
            f".pruned-{STAGE}_step_{BEFORE}",
            marks=pytest.mark.fault("kill-pruning"),
        ),
    ],
    ids=["files", "manifest", "rename", "parent", "pruning"],
)
def test_a_stage_that_is_killed_in_its_writer_goes_on_from_the_newest_whole_checkpoint(
    tmp_path: Path, scene: BeginScene, boundary: tuple[str, str], start: int, left: str
) -> None:
    project = faulty_project(tmp_path, STAGE, scene, steps=[3, BEFORE, LAST])
    folder = project.context.layout.checkpoints(STAGE)
    seen: dict[str, list[str]] = {}
    say = project.context.say

    def look(sentence: str) -> None:
        if "chunk 2 does not count" in sentence:
            seen["after the kill"] = names_in(folder)
        say(sentence)

    project.context.say = look
    killed = {"save_at": [BEFORE, NEW], "write": {str(NEW): boundary}, "keep": 1}
    project.plan(STAGE, {}, killed)
    assert StageController(project.context, STAGE, {}).train(8).verdict == "PASS", project.said

    reached = wrapped_boundaries(project.scripts / "boundaries.log")[-1]
    assert (reached.call, reached.names[0][: len(boundary[1])]) == boundary
    hidden = [name for name in seen["after the kill"] if name.startswith(".") and name != ".gated-stage"]
    assert [name[: len(left)] for name in hidden] == ([left] if left else [])
    assert project.lives(STAGE)[2]["checkpoint"].endswith(f"{STAGE}_step_{start}")
    failed = project.events("chunk_finished")[1]
    assert (failed["signal"], failed["cause"], failed["refused"]) == ("SIGKILL", "killed", [])
    assert [(event["id"], event["changes"]) for event in project.events("retune")] == [("T6", {})]

    assert verify_checkpoint(folder / f"{STAGE}_step_{LAST}").step == LAST
    Job(folder, STAGE, LAST + 1, keep=9, run=RUN).do()
    left_over = [name for name in names_in(folder) if name.startswith((".pruned", f".{STAGE}"))]
    assert left_over == [], "the next write removes what a dead writer left"
    reports = reports_of(project.context.layout)
    assert f"It was killed from outside the harness after {duration_text(failed['wall_s'])}. " in reports["A6"]
    assert "T6: killed: it was ended by SIGKILL" in reports["A5"]
