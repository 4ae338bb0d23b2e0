"""What /proc says of a process. ``pytest tests/unit/run/test_process_stat.py``"""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from tests.helpers.process_projects import running
from tinyworlds_gate.run import process_stat as module
from tinyworlds_gate.run.process_stat import ProcessStat, process_stat

pytestmark = pytest.mark.skipif(not module.HAS_PROC, reason="this system has no /proc")


def test_the_line_of_this_process_agrees_with_psutil() -> None:
    found, expected = process_stat(os.getpid()), psutil.Process()
    assert found == process_stat("self")
    assert found is not None
    assert (found.parent, found.ended) == (os.getppid(), False)
    assert found.state in ("R", "S", "D")
    used = expected.cpu_times()
    assert found.cpu_s == pytest.approx(used.user + used.system, abs=0.5)
    assert psutil.boot_time() + found.start_s == pytest.approx(expected.create_time(), abs=2.0)
    assert bool(found.terminal) == (expected.terminal() is not None)


def test_a_process_that_is_gone_has_no_line() -> None:
    assert process_stat(2**22 + 1) is None


@pytest.mark.parametrize("state", ["Z", "X", "S", "R"])
def test_a_zombie_and_a_dead_process_have_ended(state: str) -> None:
    assert ProcessStat(state, 1, 0.0, 0.0).ended is (state in "ZX")


def test_a_name_with_blanks_and_brackets_does_not_move_the_fields(tmp_path: Path) -> None:
    program = tmp_path / "a) R (b"
    program.symlink_to("/bin/sleep")
    with running([program, "60"], cwd=tmp_path) as process:
        end = time.monotonic() + 10.0
        while not (name := Path(f"/proc/{process.pid}/comm").read_text()).startswith("a)") and time.monotonic() < end:
            time.sleep(0.01)
        assert name == "a) R (b\n"
        found = process_stat(process.pid)
    assert found is not None
    assert (found.parent, found.state in ("S", "R", "D")) == (os.getpid(), True)
    assert found.cpu_s < 1.0
