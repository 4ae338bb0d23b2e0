"""A report or page that is gone when the session ends turns the exit status (H4, A1–A8)."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.helpers.tiny_project import Session, checkpoint_options, run_pytest

REMOVE = '''

class Remover:
    """Comes between the writing of the reports and the check that they are there."""

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session):
        result = yield
        for path in session.config.rootpath.glob("{pattern}"):
            path.unlink()
        return result


def pytest_configure(config):
    config.pluginmanager.register(Remover())
'''


PATTERNS = {
    "A8": "docs/action/validation-*.html",
    "A1": "docs/action/train-to-inference-report-*.md",
    "A2": "docs/action/zelda-*-git-evidence-*.md",
    "A3": "docs/action/wandb-analysis-*.json",
    "A4": "docs/action/plots/*/*.png",
    "A5": "docs/action/train-to-inference-retrospective-*.md",
    "A6": "docs/action/auto-training-loop-report-*.md",
    "A7": "inference_results/*.png",
}


def run_and_spoil(project: Path, passing: Session, spoil: str) -> Session:
    """A session on the models of the passing run, whose histories are there too; it passes, and then it is spoilt."""
    conftest = project / "conftest.py"
    conftest.write_text(conftest.read_text() + spoil)
    shutil.copytree(passing.project / "Logs", project / "Logs")
    words = ["--train-stage", "none", *checkpoint_options(passing)]
    session = run_pytest(project, "validation", "-m", "smoke", *words)
    assert session.events("gate_verdict")[0]["verdict"] == "PASS", session.output
    return session


@pytest.mark.slow
@pytest.mark.parametrize("id", PATTERNS)
@pytest.mark.requirement("H4")
def test_one_missing_artifact_makes_a_passed_session_fail(project: Path, passing: Session, id: str) -> None:
    session = run_and_spoil(project, passing, REMOVE.format(pattern=PATTERNS[id]))
    assert session.exit_status == 1, session.output
    assert set(re.findall(r"^  (A\d) is missing: ", session.output, re.MULTILINE)) == {id}


@pytest.mark.requirement("H4", "A1", "A2", "A3", "A4", "A5", "A6", "A7")
@pytest.mark.slow
def test_every_artifact_that_is_missing_is_named_with_its_path(project: Path, passing: Session) -> None:
    session = run_and_spoil(project, passing, REMOVE.format(pattern="[di]*/**/*.*"))
    assert session.exit_status == 1, session.output
    for id, pattern in PATTERNS.items():
        assert re.search(rf"^  {id} is missing: {pattern.partition('*')[0]}", session.output, re.MULTILINE), id


@pytest.mark.slow
@pytest.mark.requirement("A1", "H4")
def test_a_report_of_another_run_does_not_count(project: Path, passing: Session) -> None:
    swap = REMOVE.replace("path.unlink()", "path.write_text('**Verdict: PASS** — of another run')")
    session = run_and_spoil(project, passing, swap.format(pattern=PATTERNS["A1"]))
    assert session.exit_status == 1, session.output
    assert re.search(r"A1 is missing: .*it is not about the run", session.output)
