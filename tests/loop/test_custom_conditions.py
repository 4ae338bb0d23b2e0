"""A whole run with the examples of docs/extending.md in its conftest.py, on the models of the passing run."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.image import imread

from tests.helpers.junit_rules import junit_problems, suite_properties
from tests.helpers.tiny_project import Session, checkpoint_options, make_project, run_pytest
from tests.unit.gate.test_extension import examples
from tinyworlds_gate.cli.main import main

CONDITION, METRIC = examples()
LIMIT = "at_most=0.02"
BROKEN = """

def broken(clips):
    raise ValueError("never measured")


def pytest_tinyworlds_gate_metrics():
    return [ClipMetric("broken", broken), ClipMetric("motion", motion)]
"""


def session_with(folder: Path, passing: Session, *blocks: str) -> Session:
    """`--train-stage none` in a fresh project whose conftest.py consists of these blocks."""
    project = make_project(folder / "project")
    (project / "conftest.py").write_text("\n\n".join(blocks))
    return run_pytest(project, "validation", "-m", "smoke", "--train-stage", "none", *checkpoint_options(passing))


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory, passing: Session) -> Session:
    """The condition of the page with a limit that no model meets, and the metric of the page."""
    assert LIMIT in CONDITION
    return session_with(tmp_path_factory.mktemp("failed"), passing, CONDITION.replace(LIMIT, "at_most=1e-9"), METRIC)


@pytest.mark.requirement("G5", "L7")
def test_a_condition_of_the_project_fails_a_run_whose_error_is_fine_and_is_named(failed: Session) -> None:
    assert failed.exit_status == 1, failed.output
    (event,) = failed.events("gate_verdict")
    assert event["measures"]["mse"] <= event["thresholds"]["max_mse"]
    assert [one["id"] for one in event["conditions"] if one["verdict"] not in ("PASS", "NOT-RUN")] == ["G5.last_frame"]
    assert event["sentence"].startswith("FAIL: the project's last_frame ")
    assert event["sentence"].endswith(" is above the limit 1e-09: the rollout drifts.")
    verdict, reason = failed.found("G5")
    assert (verdict, f"FAIL: {reason}.") == ("FAIL", event["sentence"])
    assert event["binding"]["config"]["custom_conditions.last_frame"] == "at most 1e-09"
    assert "[gate] conftest.py adds to the gate: last_frame (at most 1e-09), motion (only shown)" in failed.output


@pytest.mark.requirement("A1", "A7", "A8")
def test_the_condition_and_the_shown_metric_are_in_every_report(failed: Session) -> None:
    (event,) = failed.events("gate_verdict")
    own, shown = event["custom_metrics"]
    assert (own["name"], own["verdict"], shown["name"], shown["verdict"]) == ("last_frame", "FAIL", "motion", None)
    assert own["low"] <= own["value"] <= own["high"]
    assert shown["value"] > 0
    properties = dict(suite_properties(failed.junit))
    assert junit_problems(failed.junit) == []
    for name, ending in (("last_frame", "at most 1e-09: FAIL"), ("motion", "only shown")):
        text = properties[f"tinyworlds_gate.metric.{name}"]
        assert text.startswith(f"{name} ")
        assert text.endswith(ending)
        assert f"last attempt: {text}" in failed.output
        assert f"| {name} |" in failed.report("A1")
        assert name in failed.page.read_text(encoding="utf-8")
    (picture,) = failed.events("verdict_picture")
    assert (picture["problem"], picture["left_out"]) == (None, [])
    assert imread(failed.project / picture["picture"]).size


@pytest.mark.requirement("H3")
def test_the_verdict_command_does_not_drop_the_condition(failed: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verdict", str(failed.run)]) == 1
    *_, change, _ = capsys.readouterr().out.splitlines()
    assert change.startswith("  - the condition G5.last_frame (at most 1e-09) is not defined any more: ")
    assert main(["verdict", str(failed.run), "--conftest", str(failed.project / "conftest.py")]) == 1
    assert "FAIL: the project's last_frame " in (output := capsys.readouterr().out)
    assert "the verdict holds for the files on disk" in output


@pytest.mark.requirement("G5")
@pytest.mark.slow
def test_a_shown_metric_never_changes_the_verdict(tmp_path: Path, passing: Session) -> None:
    session = session_with(tmp_path, passing, METRIC, BROKEN)
    assert session.exit_status == 0, session.output
    (event,) = session.events("gate_verdict")
    assert event["verdict"] == "PASS"
    assert event["sentence"] == passing.events("gate_verdict")[0]["sentence"]
    broken, motion = event["custom_metrics"]
    assert (broken["value"], broken["problem"]) == (None, "its measure raised ValueError: never measured")
    assert motion["value"] > 0
    assert "custom_metrics" not in passing.events("gate_verdict")[0]
