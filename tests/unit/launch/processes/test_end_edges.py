"""Signals to exactly one process, without a real one: every way in which it can be gone.

pytest tests/unit/launch/processes/test_end_edges.py
"""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tinyworlds_gate.launch.command import TERM_AND_KILL_VARIABLE
from tinyworlds_gate.launch.processes import end
from tinyworlds_gate.run.identity import ProcessIdentity

ONE = ProcessIdentity(77, 5.0)


class FakeProcess:
    """A process of which the test sets the state, or that is gone."""

    status_is, environment = psutil.STATUS_STOPPED, dict[str, str]()

    def __init__(self, pid: int) -> None:
        assert pid == ONE.pid
        if self.status_is == "gone":
            raise psutil.NoSuchProcess(pid)

    def status(self) -> str:
        return self.status_is

    def environ(self) -> dict[str, str]:
        return self.environment


def failing(error: type[OSError]) -> Any:
    def fail(*_: Any) -> None:
        raise error

    return fail


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record signals in place of sending them; the process is alive, and its start is that of ``ONE``."""
    found: list[Any] = []
    monkeypatch.setattr(ProcessIdentity, "is_alive", lambda self: True)
    monkeypatch.setattr(end, "process_start", lambda pid: ONE.start)
    fake = SimpleNamespace(
        pidfd_open=lambda pid: 3, close=lambda fd: found.append("closed"), kill=lambda *to: found.append(to)
    )
    monkeypatch.setattr(end, "os", fake)
    send = lambda fd, number: found.append((f"fd {fd}", number))  # noqa: E731
    monkeypatch.setattr(end, "signal", SimpleNamespace(**vars(signal) | {"pidfd_send_signal": send}))
    return found


@pytest.mark.requirement("L1", "H5")
def test_a_verified_process_is_signalled_by_its_pidfd(signalled: list[Any]) -> None:
    assert end.send(ONE, signal.SIGTERM) is True
    assert signalled == [("fd 3", signal.SIGTERM), "closed"]


@pytest.mark.requirement("L1", "H5")
def test_a_process_that_is_gone_or_another_one_is_not_signalled(
    monkeypatch: pytest.MonkeyPatch, signalled: list[Any]
) -> None:
    monkeypatch.setattr(end, "process_start", lambda pid: 6.0)
    assert end.send(ONE, signal.SIGTERM) is False
    assert signalled == ["closed"]
    signalled.clear()
    monkeypatch.setattr(end, "process_start", lambda pid: ONE.start)
    monkeypatch.setattr(end.signal, "pidfd_send_signal", failing(ProcessLookupError))
    assert end.send(ONE, signal.SIGTERM) is False
    assert signalled == ["closed"]
    signalled.clear()
    monkeypatch.setattr(end.os, "pidfd_open", failing(ProcessLookupError))
    assert end.send(ONE, signal.SIGTERM) is False
    assert signalled == []


@pytest.mark.requirement("L1", "H5")
@pytest.mark.parametrize("missing", [False, True])
def test_without_pidfd_a_live_process_is_signalled_by_its_pid(
    monkeypatch: pytest.MonkeyPatch, signalled: list[Any], missing: bool
) -> None:
    if missing:
        monkeypatch.delattr(end.os, "pidfd_open")
    else:
        monkeypatch.setattr(end.os, "pidfd_open", failing(OSError))
    assert end.send(ONE, signal.SIGTERM) is True
    assert signalled == [(ONE.pid, signal.SIGTERM)]
    monkeypatch.setattr(ProcessIdentity, "is_alive", lambda self: False)
    assert end.send(ONE, signal.SIGTERM) is False
    assert len(signalled) == 1
    monkeypatch.setattr(ProcessIdentity, "is_alive", lambda self: True)
    monkeypatch.setattr(end.os, "kill", failing(ProcessLookupError))
    assert end.send(ONE, signal.SIGTERM) is False
    monkeypatch.setattr(end.os, "kill", failing(PermissionError))
    with pytest.raises(PermissionError):
        end.send(ONE, signal.SIGTERM)


@pytest.mark.requirement("H5")
@pytest.mark.parametrize(
    ("number", "status", "environment", "woken"),
    [
        (signal.SIGTERM, psutil.STATUS_STOPPED, {}, True),
        (signal.SIGTERM, psutil.STATUS_RUNNING, {}, False),
        (signal.SIGTERM, psutil.STATUS_STOPPED, {TERM_AND_KILL_VARIABLE: "1"}, False),
        (signal.SIGKILL, psutil.STATUS_STOPPED, {}, False),
        (signal.SIGTERM, "gone", {}, False),
    ],
)
def test_only_a_stopped_process_that_may_get_other_signals_is_resumed_for_sigterm(
    monkeypatch: pytest.MonkeyPatch, number: int, status: str, environment: dict[str, str], woken: bool
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(end, "send", lambda *to: sent.append(to))
    monkeypatch.setattr(end.psutil, "Process", FakeProcess)
    monkeypatch.setattr(FakeProcess, "status_is", status)
    monkeypatch.setattr(FakeProcess, "environment", environment)
    end._wake(ONE, number)
    assert sent == ([(ONE, signal.SIGCONT)] if woken else [])
