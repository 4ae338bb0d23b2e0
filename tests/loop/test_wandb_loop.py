"""A whole loop that logs to W&B: without a key offline runs that the journal names, with one online runs on loopback.

Run: pytest tests/loop/test_wandb_loop.py -m slow
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers.tiny_project import STAGES, Session, commit, make_project, run_pytest
from tests.helpers.wandb_server import KEY, WandbServer, serving
from tinyworlds_gate.evidence.metrics.history import LEARNING_RATE, LOSS
from tinyworlds_gate.evidence.metrics.inputs import stage_inputs
from tinyworlds_gate.evidence.metrics.local import local_histories, read_history
from tinyworlds_gate.evidence.metrics.sources import find_histories
from tinyworlds_gate.evidence.metrics.wandb_reader import Patience
from tinyworlds_gate.run.layout import RunLayout

pytestmark = pytest.mark.slow


def project_that_logs(root: Path) -> Path:
    project = make_project(root)
    training = project / "configs/profiles/smoke/training.yaml"
    training.write_text(training.read_text().replace("use_wandb: false", "use_wandb: true"))
    with (project / ".gitignore").open("a") as ignored:
        ignored.write("wandb/\n")
    shutil.rmtree(project / ".git")
    commit(project)
    return project


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Session:
    project = project_that_logs(tmp_path_factory.mktemp("logged") / "project")
    nobody = {"HOME": str(project.parent), "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "", "NETRC": ""}
    return run_pytest(project, "validation", "-m", "smoke", variables=nobody)


@pytest.mark.requirement("L9", "A3")
def test_a_run_without_a_key_passes_on_its_local_history_and_says_why(logged: Session) -> None:
    assert logged.exit_status == 0, logged.output
    (event,) = logged.events("wandb_analysis")
    assert (event["verdict"], event["source"]) == ("PASS", "local")
    (refused,) = event["not_used"]
    assert (refused["source"], refused["stages"]) == ("api", list(STAGES))
    assert refused["reason"] == "there is no key for http://127.0.0.1:9: set WANDB_API_KEY, or `wandb login`"
    assert "there is no key for http://127.0.0.1:9: set WANDB" in logged.report("A3").replace("\\", "")
    assert json.loads((logged.project / event["json"]).read_text())["verdict"] == "PASS"


@pytest.mark.requirement("L9")
def test_every_chunk_left_an_offline_run_under_the_id_that_the_journal_names(logged: Session) -> None:
    chunks = logged.events("chunk_started")
    assert [chunk["wandb"]["mode"] for chunk in chunks] == ["offline"] * 4
    folders = sorted(path.name.rsplit("-", 1)[1] for path in logged.project.glob("wandb/offline-run-*"))
    assert folders == sorted(chunk["wandb"]["id"] for chunk in chunks)


@pytest.mark.requirement("L9")
def test_without_the_logs_the_offline_runs_have_the_same_numbers(logged: Session, tmp_path: Path) -> None:
    layout = RunLayout(logged.project, logged.run.name)
    tables = local_histories(layout.project_root, layout.run)
    elsewhere = {stage: tmp_path / path.name for stage, path in tables.items()}
    found = find_histories(stage_inputs(logged.events(), elsewhere), "local_only", layout, {}, Patience())
    assert [(one.source, one.problem) for one in found] == [("offline", None)] * 3
    for one in found:
        table = read_history(one.stage, tables[one.stage])
        assert one.history is not None
        assert one.history.steps == table.steps
        for name in (LOSS, LEARNING_RATE):
            assert one.history.columns[name] == table.columns[name], (one.stage, name)


@pytest.mark.requirement("L9", "A3", "M1")
def test_a_loop_that_logs_online_is_analysed_from_what_the_server_took(tmp_path: Path) -> None:
    project = project_that_logs(tmp_path / "project")
    with serving(WandbServer()) as server:
        online = {**server.environment(), "HOME": str(tmp_path), "NETRC": "", "WANDB_MODE": ""}
        session = run_pytest(project, "validation", "-m", "smoke", variables=online)
    assert session.exit_status == 0, session.output
    chunks = session.events("chunk_started")
    assert [chunk["wandb"]["mode"] for chunk in chunks] == ["online"] * 4
    assert list(server.ingested) == [chunk["wandb"]["id"] for chunk in chunks]
    for chunk in chunks:
        steps = [row["_step"] for row in server.ingested[chunk["wandb"]["id"]].rows]
        assert steps == list(range(chunk["start_update"], chunk["end_update"]))
    (event,) = session.events("wandb_analysis")
    assert (event["verdict"], event["source"], event["not_used"]) == ("PASS", "api", [])
    tables = local_histories(project, session.run.name)
    for stage, path in tables.items():
        table = read_history(stage, path)
        read = read_history(stage, session.run / "wandb_history" / f"{stage}_history_api.csv")
        assert read.steps == table.steps
        assert read.columns[LOSS] == pytest.approx(table.columns[LOSS])
    held = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert held == []
    assert KEY not in session.output
