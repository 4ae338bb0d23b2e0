"""What the machine and its people do to a run from around it: the rows of rows_environment.py.

pytest tests/faults/test_environment.py -m "slow or not slow"
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.faults.clocked_run import STAGE
from tests.faults.conftest import BeginScene
from tests.faults.runs import faulty_project, reports_of
from tests.helpers.checkpoint_files import write_ours
from tests.helpers.config_files import REPOSITORY
from tests.helpers.fake_stages import PROGRAM, FakeProject
from tests.helpers.stepped_clock import stepped_clock
from tests.helpers.tiny_project import read_journal
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.config.run_copy import copy_settings
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.attempt import run_attempt
from tinyworlds_gate.launch.processes.end import end_stale
from tinyworlds_gate.loop.inference_gate import inference_job
from tinyworlds_gate.loop.stage_controller import StageController
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.layout import RunLayout

HOUR_S = 3600


@pytest.mark.requirement("L3", "M1", "M3", "S4")
@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(HOUR_S, marks=pytest.mark.fault("clock-forward")),
        pytest.param(-HOUR_S, marks=pytest.mark.fault("clock-backward")),
    ],
)
def test_a_clock_that_is_set_by_an_hour_changes_nothing(tmp_path: Path, scene: BeginScene, seconds: int) -> None:
    """Neither a deadline nor the watchdog (60 s each) fires, and no chunk takes an hour or less than no time."""
    clock = stepped_clock(tmp_path)
    (tmp_path / "project").mkdir()
    root = tmp_path / "project"
    held = scene(root, Path(__file__))
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.clocked_run", str(root), str(seconds)],
        cwd=REPOSITORY,
        env={**os.environ, **clock.environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PASS"), done.stdout
    held.hold()

    layout = RunLayout(root, "run_1")
    events = read_journal(layout.root)
    assert [event["seq"] for event in events] == list(range(len(events)))
    jumps = [later["time"] - earlier["time"] for earlier, later in pairwise(events)]
    assert sum(abs(jump) > HOUR_S / 2 for jump in jumps) == 1, "the harness saw the clock being set"
    chunks = [event for event in events if event["event"] == "chunk_finished"]
    assert [(chunk["cause"], chunk["problems"]) for chunk in chunks] == [("ok", []), ("ok", [])]
    assert all(0 < chunk["wall_s"] < HOUR_S for chunk in chunks)
    with layout.history(STAGE).open(newline="") as file:
        moments = [float(row["_timestamp"]) for row in csv.DictReader(file)]
    assert all(0 <= later - earlier < HOUR_S / 2 for earlier, later in pairwise(moments))
    (path,) = layout.actions.glob("train-to-inference-report-*.md")
    report = path.read_text(encoding="utf-8")
    assert not re.search(r"\| -\d", report), "a negative time"


CONFIG_EDIT = r"""
import os, pathlib, sys
config = pathlib.Path(sys.argv[sys.argv.index("--config") + 1])
here = pathlib.Path(__file__).resolve().parent
with open(here / "configs_read", "a") as read:
    read.write(repr(config.read_text()) + "\n")
edited = here.parent / "configs" / config.name
with open(edited, "a") as person:
    person.write("max_grad_norm: 0.001\n")
"""


@pytest.mark.fault("config-edited")
@pytest.mark.requirement("P1", "A5")
def test_a_settings_file_that_is_edited_during_the_run_changes_no_chunk_and_is_reported(
    tmp_path: Path, scene: BeginScene
) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    context = project.context
    context.target = replace(context.target, config_dir=copy_settings(context.settings, context.layout.configs))
    (project.scripts / f"train_{STAGE}.py").write_text(CONFIG_EDIT + PROGRAM)
    assert StageController(context, STAGE, {}).train(8).verdict == "PASS"

    first, second = (project.scripts / "configs_read").read_text().splitlines()
    assert first == second
    assert "max_grad_norm" not in second
    (event,) = project.events("settings_edited")
    assert event["files"] == ["configs/video_tokenizer.yaml"]
    message = "configs/video_tokenizer.yaml was changed during the run; this run goes on with the values"
    assert any(message in sentence for sentence in project.said)
    assert message in reports_of(context.layout)["A5"]


def with_frames(project: FakeProject) -> Path:
    """The frames file that the run was started with, as the journal records it."""
    frames = project.context.layout.project_root / "data" / "bars_frames.h5"
    frames.parent.mkdir()
    frames.write_bytes(b"frames" * 1000)
    project.context.journal.append("dataset_ready", name="BARS", path=frames, sha256=sha256_of(frames), frames=1000)
    return frames


FRAMES_FAULTS: list[Any] = [
    pytest.param(
        "frames.unlink()",
        "The frames file data/bars_frames.h5 is gone: the run was started on 1000 frames",
        marks=pytest.mark.fault("dataset-deleted"),
        id="deleted",
    ),
    pytest.param(
        "frames.write_bytes(b'others' * 1000)",
        "The frames file data/bars_frames.h5 was changed during the run",
        marks=pytest.mark.fault("dataset-changed"),
        id="changed",
    ),
]


@pytest.mark.requirement("S4", "H7")
@pytest.mark.parametrize(("fault", "message"), FRAMES_FAULTS)
def test_other_frames_stop_the_run_before_the_next_chunk_and_it_can_go_on_with_the_old_ones(
    tmp_path: Path, scene: BeginScene, fault: str, message: str
) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    frames = with_frames(project)
    content = frames.read_bytes()
    (project.scripts / f"train_{STAGE}.py").write_text(
        f"import pathlib\nframes = pathlib.Path('data/bars_frames.h5')\n{fault}\n{PROGRAM}"
    )
    controller = StageController(project.context, STAGE, {})
    with pytest.raises(DataError, match=message) as caught:
        controller.train(8)
    assert "--resume-run results/run_1" in str(caught.value)
    assert [event["cause"] for event in project.events("chunk_finished")] == ["ok"]
    assert project.events("retune") == [], "no batch is halved for a file that is gone"
    assert len(project.events("chunk_started")) == 1

    frames.write_bytes(content)
    (project.scripts / f"train_{STAGE}.py").write_text(PROGRAM)
    result = StageController(project.context, STAGE, {}).train(8, so_far=controller_events(project))
    assert (result.verdict, result.updates) == ("PASS", 8)
    assert [event["start_update"] for event in project.events("chunk_started")] == [0, 4]


@pytest.mark.fault("dataset-changed")
@pytest.mark.requirement("L6", "G5")
def test_inference_is_not_measured_on_other_frames(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    with_frames(project).write_bytes(b"others" * 1000)
    given = {stage: write_ours(tmp_path / "given", stage, 4) for stage in STAGES}
    with pytest.raises(DataError, match=r"The frames file data/bars_frames\.h5 was changed during the run"):
        run_attempt(inference_job(project.context), 1, given)
    assert project.events("inference_started") == project.events("gate_verdict") == []


def controller_events(project: FakeProject) -> list[dict[str, Any]]:
    """The events of the stage, as a resumed run takes them from the journal."""
    return [event for event in project.context.journal.events() if event.get("stage") == STAGE]


@pytest.mark.fault("latin-1-words")
@pytest.mark.requirement("L1", "A1")
def test_a_stale_training_with_words_that_are_no_text_is_ended_and_reported(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    target = project.context.target
    script = target.stage_script(STAGE)
    script.write_text("print('ready', flush=True)\nimport time\ntime.sleep(60)\n")
    stale = subprocess.Popen(
        [os.fsencode(sys.executable), os.fsencode(script), b"name=m\xfcller"], cwd=target.root, stdout=subprocess.PIPE
    )
    assert stale.stdout is not None
    with stale:
        assert stale.stdout.readline() == b"ready\n"
        ended = end_stale(target)
        assert stale.wait(timeout=30) != 0
    assert [record.pid for record in ended] == [stale.pid]
    project.context.journal.append("stale_processes", ended=ended, when="before")
    assert r"name=m\udcfcller" in reports_of(project.context.layout)["A1"]
