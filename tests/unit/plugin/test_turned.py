"""A row that breaks only with the whole journal turns its test: terminal, JUnit file, HTML page, `--lf`, exit status.

pytest tests/unit/plugin/test_turned.py
"""

from __future__ import annotations

import html
import json
import re
from xml.etree import ElementTree

import pytest

from tests.helpers.junit_rules import junit_problems
from tests.helpers.row_cases import ROW_CASES
from tests.helpers.row_runs import RowRun

pytest_plugins = ["pytester"]

PASSED = {"L2": "PASS", "H5": "PASS", "L6": "PASS", "L3": "NOT-RUN", "S1": "FAIL"}
"""What the tests found before the run had ended; `L1` broke by itself."""

CONFTEST = """
import pytest
from pathlib import Path
from types import SimpleNamespace

from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.findings.reporting import RunFiles
from tinyworlds_gate.plugin.ending import judge_again
from tinyworlds_gate.run.journal import read_journal

pytest_plugins = ["tinyworlds_gate.plugin"]
ROOT = Path({root!r})
FOLDER = ROOT / "results" / {run!r}
FOUND, REPORTS = {found!r}, {{}}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" or not report.passed:
        REPORTS[item.nodeid] = report
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session, exitstatus):
    said = []
    layout = SimpleNamespace(project_root=ROOT, root=FOLDER)
    journal = SimpleNamespace(
        events=lambda: read_journal(FOLDER / "journal.jsonl"), require_in_place=lambda: None
    )
    names = {{nodeid: nodeid.partition("[")[2].rstrip("]") for nodeid in REPORTS}}
    gate = SimpleNamespace(
        loop=SimpleNamespace(context=SimpleNamespace(layout=layout, journal=journal)),
        config=session.config,
        reports=REPORTS,
        findings={{nodeid: [Finding(id, FOUND.get(id, "FAIL"), "found by its test")] for nodeid, id in names.items()}},
        voice=SimpleNamespace(say=said.append),
        write_draft_page=lambda: None,
        run_files=lambda: RunFiles(ROOT, FOLDER),
    )
    turned = judge_again(gate, session)
    rows = {{one.id: [one.verdict, one.reason] for found in gate.findings.values() for one in found}}
    import json
    Path("turned.json").write_text(json.dumps({{"turned": turned, "rows": rows, "said": said}}))
"""
SUITE = """
import pytest

@pytest.mark.parametrize("id", ["L1", "L2", "H5", "L6", "L3", "S1"])
def test_row(id):
    if id == "L1":
        raise KeyError("the test itself broke")
    if id == "L3":
        pytest.skip("NOT-RUN: no GPU")
    assert id != "S1", "the loss is too high"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RowRun:
    """A run whose retry had a second process; made before pytester, which forgets the modules imported in a test."""
    run = RowRun(tmp_path_factory.mktemp("run") / "project")
    after = ROW_CASES["L2"].after
    assert after is not None
    after(run)
    text = "".join(json.dumps(event) + "\n" for event in run.events)
    (run.folder / "journal.jsonl").write_text(text, encoding="utf-8")
    return run


@pytest.fixture
def session(run: RowRun, pytester: pytest.Pytester) -> pytest.RunResult:
    """A session whose tests of L2, H5 and L6 passed before the retry's second process was in the journal."""
    pytester.makeini("[pytest]\nmarkers =\n    requirement(id): an ID\n")
    pytester.makeconftest(CONFTEST.format(root=str(run.root), run=run.run, found=PASSED))
    pytester.makepyfile(test_rows=SUITE)
    return pytester.runpytest_subprocess("--junit-xml=junit.xml", "--html=page.html", "--self-contained-html", "-rfs")


@pytest.mark.requirement("L2", "H5")
def test_a_turned_test_counts_once_and_as_failed_everywhere(
    session: pytest.RunResult, pytester: pytest.Pytester
) -> None:
    session.assert_outcomes(failed=3, passed=1, skipped=2)
    assert session.ret == 1
    out = session.stdout.str()
    assert re.search(r"^FAILED test_rows\.py::test_row\[L2\] - L2 FAIL at the session's end", out, re.M)
    assert "H5 FAIL at the session's end, with the whole journal: follows from L2: chunk 9 (dynamics)" in out

    junit = pytester.path / "junit.xml"
    assert junit_problems(junit) == []
    suite = next(ElementTree.parse(junit).iter("testsuite"))
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "3",
        "errors": "0",
        "skipped": "2",
    }
    cases = {str(case.get("name")): [child.tag for child in case] for case in suite.iter("testcase")}
    assert (cases["test_row[L2]"], cases["test_row[H5]"], cases["test_row[L6]"]) == (["failure"], ["skipped"], [])

    page = (pytester.path / "page.html").read_text(encoding="utf-8")
    blob = re.search(r'data-jsonblob="([^"]*)"', page)
    assert blob is not None
    tests = json.loads(html.unescape(blob[1]))["tests"]
    results = {name: [row["result"] for row in rows] for name, rows in tests.items()}
    assert results["test_rows.py::test_row[L2]"] == ["Failed"]
    assert results["test_rows.py::test_row[H5]"] == ["Skipped"]
    assert re.search(r"3 Failed", page)
    assert re.search(r"1 Passed", page)
    failed = json.loads((pytester.path / ".pytest_cache/v/cache/lastfailed").read_text())
    assert set(failed) == {f"test_rows.py::test_row[{id}]" for id in ("L1", "L2", "S1")}


@pytest.mark.requirement("L2", "H5", "L3")
def test_rows_are_replaced_and_a_broken_one_stays(session: pytest.RunResult, pytester: pytest.Pytester) -> None:
    turned = json.loads((pytester.path / "turned.json").read_text())
    rows = turned["rows"]
    assert turned["turned"] is True
    assert rows["L2"] == ["FAIL", "chunk 9 (dynamics): a second launcher, PID 9, was left alone"]
    assert rows["H5"][0] == "FAIL"
    assert rows["L6"][1].startswith("3 inference run(s) finished"), "the reason is the one of the whole journal"
    assert rows["L3"][0] == "PASS", "what its test could not judge yet"
    assert rows["L1"] == ["FAIL", "found by its test"], "the test broke, so the row does not hold"
    assert rows["S1"] == ["FAIL", "found by its test"]
    assert [line.partition(": ")[0] for line in turned["said"]] == [
        "test_rows.py::test_row[L2]",
        "test_rows.py::test_row[H5]",
    ]


@pytest.mark.requirement("H5")
def test_a_row_that_follows_from_one_without_a_test_in_the_session_fails_its_own_test(
    run: RowRun, pytester: pytest.Pytester
) -> None:
    """`-k H5` leaves out the test of L2, from which H5 follows."""
    pytester.makeini("[pytest]\nmarkers =\n    requirement(id): an ID\n")
    pytester.makeconftest(CONFTEST.format(root=str(run.root), run=run.run, found=PASSED))
    pytester.makepyfile(test_rows=SUITE)
    alone = pytester.runpytest_subprocess("-k", "H5", "--html=page.html", "--self-contained-html")
    alone.assert_outcomes(failed=1, deselected=5)
    alone.stdout.fnmatch_lines(["FAILED test_rows.py::test_row[[]H5[]] - H5 FAIL at the session's end*"])
