"""The journal and the folders of a run can come from somebody else: nothing outside of its project is written or shown.

pytest tests/unit/reports/test_foreign_runs.py
"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.helpers.finished_runs import finished_run
from tests.helpers.journal_samples import SampleRun
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.loop.resume import find_run
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.reports.page import summary_html
from tinyworlds_gate.run.layout import project_of_run

PRIVATE = b"\x89PNG\r\n\x1a\nprivate"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "private.png").write_bytes(PRIVATE)
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("stamp", ["../../../outside/x", "/outside", "a/b", "..", "", "x" * 300, "a\nb", "a\0b"])
def test_a_timestamp_that_is_a_path_is_refused(tmp_path: Path, outside: Path, stamp: str) -> None:
    run = SampleRun(tmp_path / "project", timestamp=stamp)
    before = files_in(tmp_path)
    assert main(["report", str(run.folder)]) == 2
    with pytest.raises(GateError, match="has the timestamp"):
        load_record(run.root, run.folder)
    with pytest.raises(GateError, match="timestamp"):
        find_run(run.root, run.run, tmp_path)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", ["docs", "docs/action"])
def test_reports_are_not_written_through_a_link(
    tmp_path: Path, outside: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = SampleRun(tmp_path / "project").prepare()
    (run.root / name).parent.mkdir(exist_ok=True)
    (run.root / name).symlink_to(outside)
    before = files_in(outside)
    assert main(["report", str(run.folder)]) == 2
    assert "a symbolic link is on the way" in capsys.readouterr().err
    assert files_in(outside) == before


@pytest.mark.parametrize("kind", ["absolute", "dots", "link", "folder", "text"])
def test_a_picture_outside_of_the_project_is_not_embedded(tmp_path: Path, outside: Path, kind: str) -> None:
    project = tmp_path / "project"
    (project / "inference_results").mkdir(parents=True)
    (project / "inference_results" / "link.png").symlink_to(outside / "private.png")
    (project / "inference_results" / "folder").symlink_to(outside)
    (project / "notes.txt").write_bytes(PRIVATE[8:])
    name = {
        "absolute": str(outside / "private.png"),
        "dots": "inference_results/../../outside/private.png",
        "link": "inference_results/link.png",
        "folder": "inference_results/folder/private.png",
        "text": "notes.txt",
    }[kind]
    run = SampleRun(project).prepare().train().infer(1, 0.02)
    run.add("verdict_picture", attempt=1, draw=1, picture=name, left_out=[], problem=None)
    run.add("wandb_analysis", verdict="PASS", reason="x", source="local", plots=[name], json=None)
    page = "".join(summary_html(load_record(run.root, run.folder)))
    assert base64.b64encode(PRIVATE).decode() not in page
    assert base64.b64encode(PRIVATE[8:]).decode() not in page
    assert "it is not embedded: " in page


def test_a_kept_run_has_no_file_that_a_link_leads_to(tmp_path: Path, outside: Path) -> None:
    run = finished_run(tmp_path / "project")
    pictures = [*(run.root / "inference_results").glob("*.png")]
    assert pictures
    for picture in pictures:
        picture.unlink()
        picture.symlink_to(outside / "private.png")
    main(["keep", str(run.folder), "--project-root", str(run.root)])
    assert not [path for path, content in files_in(run.root / "docs").items() if PRIVATE in content]


def test_a_run_that_is_named_through_a_planted_link_is_refused(tmp_path: Path) -> None:
    run = SampleRun(tmp_path / "mine")
    (tmp_path / "theirs" / "results").mkdir(parents=True)
    link = tmp_path / "theirs" / "results" / run.run
    link.symlink_to(run.folder)
    with pytest.raises(GateError, match=r"is a symbolic link to .*; name the run by the folder where it is"):
        project_of_run(link.resolve(), link)
    (tmp_path / "project").symlink_to(tmp_path / "mine")
    named = tmp_path / "project" / "results" / run.run
    assert project_of_run(named.resolve(), named) == tmp_path / "mine"
