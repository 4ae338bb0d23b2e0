"""A real run, kept: the shared passing session, read and not altered.

python -m pytest tests/loop/test_kept_run.py
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.tiny_project import Session
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.reports.model import load_record


@pytest.fixture(scope="module")
def kept(passing: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the table and the kept run lie in."""
    place = tmp_path_factory.mktemp("kept")
    words = ["--project-root", str(passing.project), "--into", str(place / "runs"), "--json", str(place / "runs.json")]
    assert main(["keep", f"results/{passing.run.name}", *words]) == 0
    return place


def test_the_entry_has_the_numbers_of_the_verdict(passing: Session, kept: Path) -> None:
    [entry] = json.loads((kept / "runs.json").read_text(encoding="utf-8"))["entries"]
    [verdict] = passing.events("gate_verdict")
    chunks = passing.events("chunk_finished")
    assert entry["strict_mse"] == verdict["measures"]["strict_mse"] is not None
    assert entry["mse_by_step"] == verdict["measures"]["mse_by_step"]
    assert entry["checkpoints"] == verdict["binding"]["checkpoints"]
    assert entry["train_minutes"] == pytest.approx(sum(chunk["wall_s"] for chunk in chunks) / 60)
    assert (entry["gpus"], entry["verdict"], entry["measured_on"]["draw"]) == (0, "PASS", 1)


def test_nothing_of_a_whole_run_is_left_out(kept: Path) -> None:
    marker = json.loads((kept / "runs/smoke-seed0/keep.json").read_text(encoding="utf-8"))
    assert marker["left_out"] == []
    assert len([name for name in marker["files"] if name.startswith("settings/")]) == 6
    assert len([name for name in marker["files"] if name.startswith("history/")]) == 3


def test_the_kept_journal_is_a_journal_of_the_same_run(passing: Session, kept: Path) -> None:
    folder = kept / "runs/smoke-seed0"
    record = load_record(kept, folder)
    assert (record.run, record.status, len(record.events)) == (passing.run.name, "passed", len(passing.events()))


def test_no_kept_text_names_the_folders_or_the_host_of_this_machine(passing: Session, kept: Path) -> None:
    content = (passing.run / "journal.jsonl").read_text(encoding="utf-8")
    assert str(REPOSITORY) in content, "the stages lie outside this project, and the run says where"
    for path in (path for path in kept.rglob("*") if path.is_file() and path.suffix != ".png"):
        text = path.read_text(encoding="utf-8")
        named = [place for place in (passing.project, REPOSITORY) if str(place) in text]
        assert named == [], path
        assert f'"{socket.gethostname()}"' not in text, path
