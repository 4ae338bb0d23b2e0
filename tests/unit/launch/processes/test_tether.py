"""The watchdog of a launch, part by part (with real processes: tests/unit/launch/test_child.py).

pytest tests/unit/launch/processes/test_tether.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tinyworlds_gate.launch.command import PROJECT_VARIABLE
from tinyworlds_gate.launch.processes import tether
from tinyworlds_gate.launch.processes.end import EndedProcess
from tinyworlds_gate.launch.processes.tether import Tether
from tinyworlds_gate.names import LAUNCH_VARIABLE
from tinyworlds_gate.run.identity import ProcessIdentity, own_identity

HARNESS = ProcessIdentity(77, 5.0)
TICK = None


@pytest.mark.requirement("L3", "H5")
@pytest.mark.parametrize(
    ("chunks", "alive", "died", "left"),
    [
        ([b"ended\n", b"x"], True, False, 1),
        ([b"end", TICK, b"ed\n", b"x"], True, False, 1),
        ([b"", b"x"], True, True, 1),
        ([b"end", b"", b"x"], True, True, 1),
        ([TICK, TICK, b"ended\n"], True, False, 0),
        ([TICK, b"ended\n"], False, True, 1),
        ([b"ended\n"], False, False, 0),
        ([b"other\n", b"", b"x"], True, True, 1),
    ],
)
def test_the_harness_has_died_unless_it_releases_the_watchdog(
    monkeypatch: pytest.MonkeyPatch, chunks: list[bytes | None], alive: bool, died: bool, left: int
) -> None:
    pending = list(chunks)

    def select(reads: list[int], writes: list[int], errors: list[int], wait_s: float) -> tuple[list[int], ...]:
        assert (reads, writes, errors) == ([0], [], [])
        if pending[0] is TICK:
            pending.pop(0)
            return [], [], []
        return [0], [], []

    def read(file: int, most: int) -> bytes:
        assert file == 0
        chunk = pending.pop(0)
        assert chunk is not None
        assert len(chunk) <= most
        return chunk

    monkeypatch.setattr(tether, "select", SimpleNamespace(select=select))
    monkeypatch.setattr(tether, "os", SimpleNamespace(read=read))
    monkeypatch.setattr(ProcessIdentity, "is_alive", lambda self: alive)
    assert tether._harness_died(HARNESS) is died
    assert len(pending) == left


@pytest.mark.requirement("L3", "H5")
@pytest.mark.parametrize("died", [False, True])
def test_only_after_its_death_the_launch_is_ended_and_its_log_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, died: bool
) -> None:
    asked: list[Any] = []
    ended: list[str] = []
    records = [EndedProcess(8, 1.0, "x", "SIGTERM", "ended"), EndedProcess(9, 1.0, "x", "SIGKILL", "ended")]

    def harness_died(harness: ProcessIdentity) -> bool:
        asked.append(harness)
        return died

    def end_launch(token: str) -> list[EndedProcess]:
        ended.append(token)
        return records

    monkeypatch.setattr(tether, "_harness_died", harness_died)
    monkeypatch.setattr(tether, "end_launch", end_launch)
    log = tmp_path / "chunk.log"
    log.write_text("before\n")
    tether.main(["token", str(log), "77", "5.0"])
    assert asked == [HARNESS]
    assert ended == (["token"] if died else [])
    said = (
        "[tinyworlds_gate] the harness (PID 77) died while this ran; ended: PID 8 (SIGTERM, ended), "
        "PID 9 (SIGKILL, ended)\n"
    )
    assert log.read_text() == "before\n" + (said if died else "")
    assert tether._log_line(77, []).endswith("; ended: nothing was running\n")
    monkeypatch.setattr(sys, "argv", ["tether", "other", str(tmp_path / "no" / "folder" / "x.log"), "77", "5.0"])
    tether.main()
    assert ended == (["token", "other"] if died else [])


@pytest.mark.requirement("L3", "H5")
def test_the_watchdog_gets_the_launch_and_its_harness_and_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[Any] = []

    class Process:
        pid = 5

        def __init__(self, command: list[str], **named: Any) -> None:
            calls.append((command, named))

        def communicate(self, text: bytes, timeout: float) -> None:
            calls.append(text)
            raise BrokenPipeError

        def kill(self) -> None:
            calls.append("kill")

        def wait(self) -> None:
            calls.append("wait")

    monkeypatch.setattr(tether.subprocess, "Popen", Process)
    monkeypatch.setenv(LAUNCH_VARIABLE, "launch")
    monkeypatch.setenv(PROJECT_VARIABLE, "project")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.chdir(tmp_path)
    found, me = Tether("token", Path("chunk.log")), own_identity()
    assert found.pid == 5
    found.release()
    (command, named), *rest = calls
    assert command == [
        *(sys.executable, "-m", "tinyworlds_gate.launch.processes.tether"),
        *("token", str(tmp_path / "chunk.log"), str(me.pid), repr(me.start)),
    ]
    assert rest == [b"ended\n", "kill", "wait"]
    env = named.pop("env")
    assert named == {
        "cwd": "/",
        "stdin": subprocess.PIPE,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "start_new_session": True,
    }
    assert not {LAUNCH_VARIABLE, PROJECT_VARIABLE} & env.keys()
    entries = env["PYTHONPATH"].split(os.pathsep)
    assert entries[-1] == "/somewhere"
    assert Path(entries[0], "tinyworlds_gate").is_dir()
    monkeypatch.delenv("PYTHONPATH")
    assert "" not in tether._environment()["PYTHONPATH"].split(os.pathsep)
