"""A whole loop that is watched from another process while it trains: the record, and M4 in its reports.

python -m pytest tests/loop/test_watched_loop.py -m slow
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tiny_project import Session, environment, runs, started, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.requirement("M4")]


def test_a_run_that_was_watched_while_it_trained_passes_m4_with_the_record_as_its_evidence(project: Path) -> None:
    with started(project, "validation", "-m", "smoke") as process:
        wait_until(lambda: bool(runs(project)), process, "a run has its journal")
        run = runs(project)[0]
        words = [sys.executable, "-m", "tinyworlds_gate", "watch", str(run), "--for", "4h", "--every", "5s"]
        with subprocess.Popen(words, cwd=project, env=environment(), stdout=subprocess.PIPE, text=True) as watch:
            output, _ = process.communicate(timeout=180)
            lines, _ = watch.communicate(timeout=30)
    assert process.returncode == 0, output
    assert watch.returncode == 0
    session = Session(project, process.returncode, output, 0.0, run)
    (found,) = [event for event in session.events("requirement") if event["id"] == "M4"]
    (log,) = (project / "Logs").glob("monitor_4h_*.log")
    assert (found["verdict"], found["evidence"]) == ("PASS", f"Logs/{log.name}")
    assert log.name in session.report("A1")
    assert "dynamics: gate S3 says" in lines
    assert "the run has ended (passed)" in lines
    assert " STATUS  " in lines
    assert "ALERT" not in lines
    assert "phase: ended\n" in (project / "Logs" / "monitor_4h_latest.info").read_text()
