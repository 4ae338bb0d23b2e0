"""A session in which the gate judged nothing ends green only where its command line chose that.

pytest tests/unit/plugin/test_selection.py
"""

from __future__ import annotations

import pytest

from tests.unit.plugin.test_outcome import WHOLE, decide_left_out, loop
from tinyworlds_gate.plugin.other_plugins import refuse_parallel
from tinyworlds_gate.plugin.selection import refuse_shown_elsewhere, selecting_words

pytest_plugins = ["pytester"]

CONFTEST = 'pytest_plugins = ["tinyworlds_gate.plugin"]\n'
EMPTIED = """
import pytest

@pytest.mark.requirement("C1")
def test_preparation(): ...

@pytest.mark.requirement("G5")
def test_gate(): ...
"""
DROPPED = """
def pytest_collection_modifyitems(config, items):
    config.hook.pytest_deselected(items=[item for item in items if "gate" in item.name])
    items[:] = [item for item in items if "gate" not in item.name]
"""


@pytest.mark.parametrize(
    ("words", "kind", "found"),
    [
        (["-k", "H5"], "smoke", ["-k H5"]),
        (["-kH5", "--deselect=validation/x"], "smoke", ["-kH5", "--deselect=validation/x"]),
        (["--lf"], "longrun", ["--lf"]),
        (["-m", "smoke"], "smoke", []),
        (["-m", "not longrun and not slow and not power"], "smoke", []),
        (["-m", "not longrun and not slow and not power"], "longrun", ["-m not longrun and not slow and not power"]),
        (["-m", "smoke and not retrain_on_failure"], "smoke", ["-m smoke and not retrain_on_failure"]),
        (["-mpower"], "smoke", ["-mpower"]),
        (["validation", "-q", "--train-stage", "none"], "smoke", []),
    ],
)
def test_words_that_leave_tests_of_the_loop_out_are_found(words: list[str], kind: str, found: list[str]) -> None:
    assert selecting_words(words, kind) == found


@pytest.mark.requirement("G5", "H3")
def test_a_gate_that_the_command_line_left_out_is_no_verdict_and_no_failure() -> None:
    found = decide_left_out(loop(), ("-k H5", True))
    assert (found.status, found.exit_status) == ("partial", 0)
    assert found.sentence == (
        "NOT-RUN: the test of the inference gate was left out (-k H5), so there is no verdict: nothing is claimed "
        "about the model."
    )


@pytest.mark.requirement("G5", "H3")
def test_a_gate_that_something_else_left_out_makes_the_run_invalid() -> None:
    found = decide_left_out(loop(), ("PYTEST_ADDOPTS: -k preparation", False))
    assert (found.status, found.exit_status) == ("invalid", 1)
    assert "was left out (PYTEST_ADDOPTS: -k preparation), and not by the command line" in found.sentence


def test_any_other_requirement_that_something_else_left_out_is_a_gap() -> None:
    rows = [one for one in WHOLE["tests::all"] if one.id != "H5"]
    found = decide_left_out(loop("PASS"), ("addopts: --deselect x", False), {"tests::all": rows}, id="H5")
    assert (found.status, found.exit_status) == ("invalid", 1)
    assert "were not run: H5" in found.sentence
    assert decide_left_out(loop("PASS"), ("--deselect x", True), {"tests::all": rows}, id="H5").exit_status == 0


@pytest.mark.parametrize(
    ("conftest", "addopts", "words", "status", "said"),
    [
        ("", "", [], 1, "no test of the closed loop started a run"),
        ("", "", ["-k", "gate"], 1, "no test of the closed loop started a run"),
        ("", "", ["--collect-only"], 0, ""),
        ("", "-k own", [], 1, "left out (PYTEST_ADDOPTS: -k own), and not by the command line"),
        ("", "--collect-only", [], 4, "PYTEST_ADDOPTS: --collect-only runs no test"),
        ("", "", ["-k", "own"], 0, ""),
        (DROPPED.replace('"gate" in', "'own' not in").replace('"gate" not in', "'own' in"), "", [], 1, "a plugin, a"),
    ],
)
def test_a_session_without_a_run_fails_unless_its_command_line_chose_that(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    conftest: str,
    addopts: str,
    words: list[str],
    status: int,
    said: str,
) -> None:
    pytester.makeconftest(CONFTEST + conftest)
    folder = pytester.mkdir("validation")
    (folder / "test_all.py").write_text(EMPTIED)
    (folder / "test_own.py").write_text("def test_own(): ...\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", addopts)
    result = pytester.runpytest_subprocess("validation", "-p", "no:cacheprovider", "-p", "no:html", *words)
    assert result.ret == status
    output = result.stdout.str() + result.stderr.str()
    assert said in output
    assert ("there is no verdict" in output) is bool(status)


SHOWING = [
    "--cache-show --setup-show -p cacheprovider", "--co", "--fixtures", "--fixtures-per-test", "--help", "--markers",
    "--setup-only", "--setup-plan", "--version", "-qV", "-h",
]  # fmt: skip


@pytest.mark.requirement("G5", "H3")
@pytest.mark.parametrize("place", ["PYTEST_ADDOPTS", "addopts"])
def test_what_runs_no_test_is_refused_unless_the_command_line_names_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    pytester.makeconftest(CONFTEST)
    (pytester.mkdir("validation") / "test_all.py").write_text(EMPTIED)
    for words, typed in [*((words, "validation") for words in SHOWING), ("--help", ".")]:
        if place == "addopts":
            pytester.makeini(f"[pytest]\naddopts = {words}\n")
        else:
            monkeypatch.setenv("PYTEST_ADDOPTS", words)
        with pytest.raises(pytest.UsageError, match=rf"{place}: -.* runs no test, so that there is no verdict"):
            refuse_shown_elsewhere(pytester.parseconfig(typed))
    refuse_shown_elsewhere(pytester.parseconfig("validation", "--help"))
    refuse_shown_elsewhere(pytester.parseconfig("validation", "-qh"))


@pytest.mark.requirement("H5")
def test_workers_of_xdist_are_refused_in_every_spelling(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    (pytester.mkdir("validation") / "test_all.py").write_text(EMPTIED)
    for words in (["--dist", "load", "--tx", "2*popen"], ["--tx=popen"], ["--dist=each"]):
        with pytest.raises(pytest.UsageError, match=r"(--tx|--dist) .*: the closed loop cannot be split"):
            refuse_parallel(pytester.parseconfig("validation", *words))
    for words in ([], ["--dist", "no"], ["-n", "0"]):
        refuse_parallel(pytester.parseconfig("validation", *words))
