"""A second stage process in a whole session, which `--cleanup-extra-processes false` leaves alone (L2, H5).

pytest tests/loop/test_second_process.py -m slow
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.junit_rules import junit_problems, suite_properties
from tests.helpers.tiny_project import Session, run_pytest

SECOND_PROCESS = '''

@pytest.fixture(autouse=True, scope="session")
def a_second_stage_process(closed_loop):
    """Somebody starts the script of dynamics while a chunk trains; it is stopped, so that it changes nothing."""
    import os
    import signal
    import subprocess
    import sys
    import threading
    import time

    script = closed_loop.context.target.stage_script("dynamics")
    journal, over, started = closed_loop.context.journal, threading.Event(), []

    def wait_for_the_chunk():
        while not over.wait(0.05):
            started_chunks = [event for event in journal.events() if event["event"] == "chunk_started"]
            if any(chunk["stage"] == "dynamics" and chunk["reason"] == "REASON" for chunk in started_chunks):
                process = subprocess.Popen([sys.executable, script], cwd=closed_loop.context.layout.project_root)
                os.kill(process.pid, signal.SIGSTOP)
                started.append(process)
                return

    thread = threading.Thread(target=wait_for_the_chunk)
    thread.start()
    yield
    over.set()
    thread.join()
    for process in started:
        process.kill()
        process.wait()
'''
TEST = "validation/test_04_training_rules.py::test_every_chunk_had_exactly_one_launcher"
LEFT_ALONE = re.compile(r"chunk \d \(dynamics\)(, inference attempt 2.*)?: a second launcher, PID \d+, was left alone")
ORDER = ("01_preparation", "02_training", "04_training_rules", "03_inference_gate", "05_reports")
RULES_FIRST = [f"validation/test_{name}.py" for name in ORDER]
"""The tests of the training rules before the one that retrains."""


def disturbed(project: Path, reason: str, *words: str) -> Session:
    """A session beside which a second stage process begins with the first chunk of dynamics for this reason."""
    conftest = project / "conftest.py"
    conftest.write_text(conftest.read_text() + SECOND_PROCESS.replace("REASON", reason))
    cleanup = ("--cleanup-extra-processes", "false")
    return run_pytest(project, *RULES_FIRST, "-m", "smoke", "-v", *cleanup, *words, timeout_s=600.0)


def outcomes(session: Session) -> dict[str, str]:
    """Requirement → `passed`, `failure` or `skipped`, from the JUnit file's cases of L2 and H5."""
    found = {}
    for case in session.cases():
        name, _, id = str(case.get("name")).partition("[")
        if TEST.endswith(f"::{name}"):
            found[id.rstrip("]")] = next((child.tag for child in case), "passed")
    return found


@pytest.mark.slow
@pytest.mark.requirement("L2", "H5", "L8")
def test_a_second_process_beside_the_retraining_turns_tests_that_had_passed(project: Path) -> None:
    session = disturbed(project, "inference retry 0", "--dynamics-target-updates", "4")
    assert session.exit_status == 1, session.output
    for id in ("L2", "H5"):
        assert re.search(rf"{re.escape(TEST)}\[{id}\] PASSED", session.output), "it passed before the retraining"
    assert f"FAILED {TEST}[L2]" in session.output
    rows = {id: session.found(id) for id in ("L2", "H5")}
    assert LEFT_ALONE.fullmatch(rows["L2"][1]), rows
    assert rows["H5"] == ("FAIL", f"follows from L2: {rows['L2'][1]}")
    assert rows["L2"][0] == "FAIL"

    assert outcomes(session) == {"L2": "failure", "H5": "skipped"}
    assert junit_problems(session.junit) == []
    assert dict(suite_properties(session.junit))["requirement.H5"].startswith("FAIL: follows from L2: chunk ")
    assert [result for result, _ in session.page_rows(f"{TEST}[L2]")] == ["Failed"]
    end = session.events("run_finished")[-1]
    assert (end["status"], end["exit_status"]) == ("failed", 1)
    assert end["sentence"].startswith("FAIL: the gate passed, but not everything around it: L2: chunk ")
    assert session.events("gate_verdict")[-1]["verdict"] == "PASS"


@pytest.mark.slow
@pytest.mark.requirement("H5")
def test_a_row_whose_cause_has_no_test_in_the_session_fails_its_own_test(project: Path) -> None:
    """`-k H5` leaves out the test of L2, from whose failure H5 follows."""
    session = disturbed(project, "planned", "-k", "H5", "--target-updates", "20")
    assert session.exit_status == 1, session.output
    assert outcomes(session) == {"H5": "failure"}
    assert session.found("H5")[0] == "FAIL"
