"""Every command of docs/commands.md, run in the order of the page on the tiny game, each with what the one before left.

pytest tests/loop/test_recipes.py -m slow
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from tests.helpers.documented import documented_blocks
from tests.helpers.tiny_project import GAME, Session, commit, environment, make_project, runs

LONG = ["--profile", "tiny-long", "--allow-cpu-longrun", "true"]
"""The long-run profile of the tiny game, with another name than `longrun`, whose values P4 checks."""
FAST = ["--init-batch-size", "8", "--init-grad-accum", "1"]
SMALL: dict[str, list[str]] = {
    "smoke": [],
    "stage-a": ["--video-chunk", "80", "--target-updates", "160", "--init-learning-rate", "0.003", *FAST],
    "stage-a-further": ["--video-chunk", "20", "--target-updates", "180", *FAST],
    "stage-b": ["--latent-chunk", "20", "--target-updates", "20", "--init-learning-rate", "0.001", *FAST],
    "stage-b-further": ["--latent-chunk", "10", "--target-updates", "30", *FAST],
    "stage-c": ["--dynamics-chunk", "80", "--target-updates", "160", "--init-learning-rate", "0.003", *FAST],
    "stage-c-further": ["--dynamics-chunk", "20", "--target-updates", "180", *FAST],
    "teacher-forced": [],
    "guard": ["--video-chunk", "20", "--target-updates", "20", *FAST],
}
"""Command → the sizes that are added to it; the last value of an option counts."""
VERDICTS = {
    "smoke": "PASS: the strict autoregressive (",
    "stage-a": "PASS (stage video_tokenizer): its gate decided continue",
    "stage-a-further": "PASS (stage video_tokenizer): its gate decided continue",
    "stage-b": "PASS (stage latent_actions): its gate decided continue",
    "stage-b-further": "PASS (stage latent_actions): its gate decided continue",
    "stage-c": "PASS (stage dynamics): the strict autoregressive (",
    "stage-c-further": "PASS (stage dynamics): the strict autoregressive (",
    "teacher-forced": "PASS, teacher-forced: not a strict pass. The teacher-forced (not strict) rollout error",
    "guard": "PASS (stage video_tokenizer): its gate decided continue",
}
TIMEOUT_S = 1500.0


def as_script(name: str, block: str) -> str:
    """Return one block of the page, with sizes and the small profile added, for this interpreter's pytest."""
    small = shlex.join([*(LONG if name != "smoke" else []), *SMALL[name]])
    function = f'pytest() {{ "$PYTHON" -m pytest "$@" {small} > {name}.txt 2>&1; echo {name} $? >> codes.txt; }}'
    return f"{function}\n{block.replace('results/longrun_', 'results/tiny-long_')}"


def tell_frames_apart(project: Path) -> None:
    """Add faint noise to the upper quarter of each frame: a long run refuses a game of a few different pictures."""
    with h5py.File(project / "data" / f"{GAME.lower()}_frames.h5", "r+") as file:
        frames = file["frames"]
        noise = np.random.default_rng(1).integers(0, 80, frames[:, :4].shape, np.uint8)
        frames[:, :4] = np.maximum(frames[:, :4], noise)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Session]:
    """Command → its finished session."""
    project = make_project(tmp_path_factory.mktemp("recipes") / "project")
    tell_frames_apart(project)
    profile = project / "configs" / "profiles" / "tiny-long"
    shutil.copytree(project / "configs" / "profiles" / "smoke", profile)
    values = yaml.safe_load((profile / "profile.yaml").read_text())
    values |= {"name": "tiny-long", "kind": "longrun", "require_not_run_free": True}
    (profile / "profile.yaml").write_text(yaml.safe_dump(values))
    with (project / ".gitignore").open("a") as ignored:
        ignored.write("*.txt\n")
    commit(project)
    script = "\n".join(as_script(name, block) for name, block in documented_blocks().items())
    env = environment() | {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        ["bash", "-c", script], cwd=project, env=env, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr
    lines = (project / "codes.txt").read_text().splitlines()
    codes = {name: int(code) for name, code in (line.split() for line in lines)}
    assert list(codes) == list(documented_blocks())
    folders = sorted(runs(project), key=lambda run: os.stat(run / "journal.jsonl").st_mtime)
    assert len(folders) == len(codes), "a command started no run of its own"
    return {
        name: Session(project, code, (project / f"{name}.txt").read_text(), 0.0, run)
        for (name, code), run in zip(codes.items(), folders, strict=True)
    }


@pytest.mark.slow
@pytest.mark.requirement("H1")
@pytest.mark.parametrize("name", VERDICTS)
def test_a_documented_command_ends_green_and_says_what_it_showed(sessions: dict[str, Session], name: str) -> None:
    session = sessions[name]
    assert session.exit_status == 0, session.output[-6000:]
    finished = session.events("run_finished")[-1]
    assert finished["status"] == "passed"
    assert finished["sentence"].startswith(VERDICTS[name]), finished["sentence"]


@pytest.mark.slow
@pytest.mark.requirement("C4", "H7")
def test_each_command_finds_what_the_one_before_left(sessions: dict[str, Session]) -> None:
    for name, short in (("stage-a-further", "video"), ("stage-b-further", "latent"), ("stage-c-further", "dynamics")):
        first = sessions[name].events("chunk_started")[0]
        before = sessions[name.removesuffix("-further")]
        assert first["start_update"] > 0, name
        assert before.run.name in str(first["resumed_from"]), (name, short)
    used = sessions["teacher-forced"].events("inference_finished")[-1]["checkpoints"]
    made = {"video_tokenizer": "stage-a-further", "latent_actions": "stage-b-further", "dynamics": "stage-c-further"}
    for stage, name in made.items():
        assert sessions[name].run.name in used[stage]["path"], stage


@pytest.mark.slow
@pytest.mark.requirement("H6")
def test_what_was_not_requested_is_not_run_by_choice_and_names_the_option(sessions: dict[str, Session]) -> None:
    choices = {
        ("stage-a", "S2"): "--train-stage video_tokenizer",
        ("stage-a", "G5"): "--train-stage video_tokenizer",
        ("stage-a", "H6"): "--allow-cpu-longrun true",
        ("stage-a-further", "H2"): "--video-checkpoint",
        ("stage-c", "H1"): "--train-stage dynamics",
        ("teacher-forced", "S3"): "--train-stage none",
    }
    for (name, id), option in choices.items():
        verdict, reason = sessions[name].found(id)
        assert verdict == "NOT-RUN", (name, id, reason)
        assert reason.startswith(f"by choice ({option}"), (name, id, reason)


@pytest.mark.slow
@pytest.mark.requirement("A1", "A2", "A3", "A4", "A5", "A6")
def test_a_single_stage_has_its_reports_its_curves_and_the_next_command(sessions: dict[str, Session]) -> None:
    for name in ("stage-a", "stage-b", "guard"):
        session = sessions[name]
        for id in ("A1", "A2", "A3", "A4", "A5", "A6", "L9", "L10"):
            assert session.found(id)[0] == "PASS", (name, id, session.found(id))
        plots = session.events("wandb_analysis")[-1]["plots"]
        assert any(path.endswith("_loss.png") for path in plots)
        assert all((session.project / path).is_file() for path in plots)
        steps = json.loads(_retrospective_json(session).read_text())["next_steps"]
        assert steps[0].startswith("Nothing needs to be fixed. Train "), steps
    assert "--video-checkpoint results/" in session.report("A5")


def _retrospective_json(session: Session) -> Path:
    path = next(event["path"] for event in reversed(session.events("report_written")) if event["id"] == "A5")
    return (session.project / path).with_suffix(".json")
