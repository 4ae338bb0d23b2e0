"""Before each launch: edited settings files are reported, changed frames stop the run.

pytest tests/unit/loop/test_run_inputs.py
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.config_files import append
from tests.helpers.fake_stages import FakeProject, fake_project
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.config.run_copy import copy_settings
from tinyworlds_gate.errors import ConfigError, DataError
from tinyworlds_gate.loop.run_inputs import check_inputs

STAGE = "video_tokenizer"


@pytest.fixture
def project(tmp_path: Path) -> FakeProject:
    """A started run whose frames file is recorded."""
    project = fake_project(tmp_path, STAGE, steps=[0])
    frames = tmp_path / "data" / "bars_frames.h5"
    frames.parent.mkdir()
    frames.write_bytes(b"frames" * 1000)
    project.context.journal.append("dataset_ready", path=frames, sha256=sha256_of(frames), frames=1000)
    return project


def frames_of(project: FakeProject) -> Path:
    return project.context.layout.project_root / "data" / "bars_frames.h5"


def test_inputs_that_are_as_they_were_are_not_worth_a_word(project: FakeProject) -> None:
    check_inputs(project.context)
    assert project.said == []
    assert project.events("settings_edited") == []


@pytest.mark.requirement("P1")
def test_an_edited_settings_file_is_reported_once_and_kept_in_the_journal(project: FakeProject) -> None:
    configs = project.context.settings.config_dir
    append(configs / "dynamics.yaml", "max_grad_norm: 0.5")
    check_inputs(project.context)
    check_inputs(project.context)
    (event,) = project.events("settings_edited")
    assert event["files"] == ["configs/dynamics.yaml"]
    assert project.said == [event["sentence"]]
    assert "configs/dynamics.yaml was changed during the run" in event["sentence"]
    append(configs / "training.yaml", "log_every: 7")
    check_inputs(project.context)
    assert [event["files"] for event in project.events("settings_edited")][1:] == [
        ["configs/training.yaml", "configs/dynamics.yaml"]
    ]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("deleted", "The frames file data/bars_frames.h5 is gone: the run was started on 1000 frames"),
        ("a folder", "The frames file data/bars_frames.h5 is gone"),
        ("changed", "The frames file data/bars_frames.h5 was changed during the run"),
        ("one byte", "was changed during the run: the run was started on 1000 frames with SHA-256"),
    ],
)
def test_frames_that_are_others_stop_the_run_and_say_how_to_go_on(project: FakeProject, fault: str, said: str) -> None:
    path = frames_of(project)
    before = path.stat()
    content = bytearray(path.read_bytes())
    path.unlink()
    if fault == "a folder":
        path.mkdir()
    elif fault == "changed":
        path.write_bytes(b"others")
    elif fault == "one byte":
        # The same length and the same time: only the content differs.
        content[17] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match=said) as caught:
        check_inputs(project.context)
    assert "--resume-run results/run_1" in str(caught.value)
    assert "nothing that was trained is lost" in str(caught.value)


def test_a_frames_file_that_was_only_touched_is_the_same(project: FakeProject) -> None:
    os.utime(frames_of(project), (1.0, 1.0))
    check_inputs(project.context)


def test_a_run_without_frames_of_its_own_has_none_to_check(tmp_path: Path) -> None:
    check_inputs(fake_project(tmp_path, STAGE, steps=[0]).context)


@pytest.mark.requirement("P1")
@pytest.mark.parametrize(("act", "said"), [("remove", "it is gone"), ("edit", "dynamics.yaml in it changed")])
def test_a_copy_of_the_settings_that_is_gone_or_edited_stops_the_run_before_a_chunk(
    project: FakeProject, act: str, said: str
) -> None:
    context = project.context
    copy = copy_settings(context.settings, context.layout.configs)
    context.target = replace(context.target, config_dir=copy)
    check_inputs(context)
    if act == "remove":
        shutil.rmtree(copy)
    else:
        append(copy / "dynamics.yaml", "max_grad_norm: 0.5")
    with pytest.raises(
        ConfigError, match=f"this run's copy of its settings files, and {said} while the run is going on"
    ):
        check_inputs(context)
