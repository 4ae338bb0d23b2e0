"""Surroundings that must not fail a healthy run: the rows of rows_surroundings.py.

pytest tests/faults/test_surroundings.py -m "slow or not slow"
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.nameless_run import NAME, NO_NAMESPACE
from tests.faults.runs import faulty_project, reports_of
from tests.helpers.config_files import REPOSITORY
from tests.helpers.fake_stages import PROGRAM
from tests.helpers.memory_limits import memory_cgroup
from tests.helpers.required_tools import without
from tinyworlds_gate.loop.stage_controller import StageController

STAGE = "video_tokenizer"
DRAWS = (
    "import matplotlib.pyplot as plt\n"
    "figure = plt.figure()\n"
    "figure.add_subplot().set_title('a stage that draws as TinyWorlds does')\n"
    "figure.savefig('drawn.png')\n"
)
WARNS = (
    "import sys, time\n"
    "for second in range(600):\n"
    "    print(f'[W1130 09:53:{second % 60:02d}.{second}44 socket.cpp:764] [c10d] The IPv6 addresses of (box, '\n"
    "          f'3{second:04d}) cannot be retrieved (gai error: -2 - Name or service not known).', file=sys.stderr)\n"
    "    time.sleep(0.1)\n"
)


@pytest.mark.fault("notebook-backend")
@pytest.mark.requirement("S4", "T1", "A4")
def test_the_backend_of_a_notebook_fails_no_picture(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = tmp_path / "style"
    style.write_text("text.usetex: True\nbackend: TkAgg\n")
    project = faulty_project(tmp_path, STAGE, scene, target=4)
    (project.scripts / f"train_{STAGE}.py").write_text(DRAWS + PROGRAM)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("MATPLOTLIBRC", str(style))
    assert StageController(project.context, STAGE, {}).train(4).verdict == "PASS"
    assert (tmp_path / "drawn.png").stat().st_size > 1000
    assert [event["cause"] for event in project.events("chunk_finished")] == ["ok"]
    assert project.events("retune") == []
    assert set(reports_of(project.context.layout)) == {"A1", "A5", "A6"}


@pytest.mark.slow
@pytest.mark.fault("nameless-machine")
@pytest.mark.requirement("L2", "L3")
def test_workers_of_a_machine_whose_name_does_not_resolve_meet_and_train(tmp_path: Path, scene: BeginScene) -> None:
    scene(tmp_path, Path(__file__))
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.nameless_run", str(tmp_path / "project")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    if done.returncode == NO_NAMESPACE:
        without("user-namespaces", f"the machine cannot be renamed for a test: {done.stdout.strip()}")
    assert done.returncode == 0, done.stderr
    doctor, trained, *problems = done.stdout.splitlines()
    assert doctor.startswith(f"{NAME} does not resolve (")
    assert doctor.endswith("workers of one machine meet at 127.0.0.1, several machines cannot")
    assert (trained, problems) == ("ok [20, 20]", [])


@pytest.mark.fault("repeated-warning")
@pytest.mark.requirement("L2", "T1")
def test_a_stage_that_repeats_a_warning_makes_no_progress(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene, retries=0)
    context = project.context
    watchdog = context.settings.profile.watchdog.model_copy(update={"stall_s": 3.0})
    context.settings = replace(
        context.settings, profile=context.settings.profile.model_copy(update={"watchdog": watchdog})
    )
    (project.scripts / f"train_{STAGE}.py").write_text(WARNS)
    assert StageController(context, STAGE, {}).train(8).verdict == "FAIL"
    (chunk,) = project.events("chunk_finished")
    assert (chunk["cause"], chunk["checkpoint"]) == ("timeout", None)
    assert 3 <= chunk["wall_s"] < 20, "the deadline is 60 s"
    text = 'it made no step for 3 s and never finished a first one (its log only repeated "[W1130'
    assert text in chunk["failure"]["reason"]
    assert text in reports_of(context.layout)["A6"].replace("\\", "")


@pytest.mark.fault("wandb-down")
@pytest.mark.requirement("L9", "T1")
def test_a_chunk_is_logged_offline_while_the_server_of_wandb_is_down(
    tmp_path: Path, scene: BeginScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    project = faulty_project(tmp_path, STAGE, scene)
    context = project.context
    context.settings = replace(
        context.settings, training=context.settings.training.model_copy(update={"use_wandb": True})
    )
    (project.scripts / f"train_{STAGE}.py").write_text(
        f"import os\nassert os.environ['WANDB_MODE'] == 'offline', os.environ['WANDB_MODE']\n{PROGRAM}"
    )
    assert StageController(context, STAGE, {}).train(8).verdict == "PASS"
    assert [event["wandb"]["mode"] for event in project.events("chunk_started")] == ["offline", "offline"]
    assert project.events("retune") == []
    for started, finished in zip(project.events("chunk_started"), project.events("chunk_finished"), strict=True):
        note = (
            "W&B's server http://127.0.0.1:9 cannot be reached (Connection refused), so this chunk was logged offline "
            f"(run {started['wandb']['id']}); upload it later with: wandb sync"
        )
        assert finished["notes"] == [note]
        assert (finished["cause"], finished["failure"]) == ("ok", None)
        assert note in reports_of(context.layout)["A5"]


@pytest.mark.fault("cgroup-limits", no_scene="doctor alone, no run")
@pytest.mark.requirement("L3")
def test_doctor_reports_the_memory_limit_of_its_cgroup(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys\npathlib.Path(sys.argv[1]).write_text('0')\n"
        "from tinyworlds_gate.cli.doctor_machine import memory\n"
        "from tinyworlds_gate.run.cgroup_limits import cgroup_limits\n"
        "check = memory(cgroup_limits())\nprint(check.status, check.found, check.fix, sep='|')\n"
    )
    with memory_cgroup(320 * 2**20) as group:
        done = subprocess.run(
            [sys.executable, "-c", program, str(group.members)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    status, found, fix = done.stdout.strip().split("|")
    assert status == "WARN"
    assert found.endswith(" GiB available (its cgroup allows 0.3 GiB)")
    assert "or raise the cgroup's limit" in fix
