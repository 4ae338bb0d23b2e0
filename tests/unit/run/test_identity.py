"""A process by its PID and start. ``pytest tests/unit/run/test_identity.py``"""

from __future__ import annotations

import os
import socket
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tinyworlds_gate.run import identity
from tinyworlds_gate.run.identity import ProcessIdentity, host_name, identify, is_zombie, own_identity, process_start

OWN = os.getpid()


def stat(**values: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"start_s": 5.0, "ended": False, **values})


def test_this_process_is_alive_and_a_reused_pid_is_another_one() -> None:
    own = own_identity()
    assert own == identify(OWN) == ProcessIdentity(OWN, process_start(OWN) or 0.0)
    assert own.is_alive()
    assert not ProcessIdentity(OWN, own.start + 1).is_alive()
    assert not is_zombie(OWN)
    assert 0 < own.age_s < 86_400
    assert ProcessIdentity(OWN, 1e12).age_s == 0.0
    assert host_name() == socket.gethostname()


def test_a_process_that_is_gone_has_no_identity() -> None:
    assert identify(2**22 + 1) is None
    assert process_start(2**22 + 1) is None
    assert not is_zombie(2**22 + 1)
    assert not ProcessIdentity(2**22 + 1, 5.0).is_alive()


@pytest.mark.parametrize("has_proc", [True, False], ids=["/proc", "psutil"])
@pytest.mark.parametrize(("ended", "start", "alive"), [(False, 5.0, True), (True, 5.0, False), (False, 6.0, False)])
def test_a_zombie_and_another_start_are_not_alive(
    has_proc: bool, ended: bool, start: float, alive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "HAS_PROC", has_proc)
    monkeypatch.setattr(identity, "process_stat", lambda pid: stat(ended=ended, start_s=start))
    status = psutil.STATUS_ZOMBIE if ended else psutil.STATUS_RUNNING
    other = SimpleNamespace(create_time=lambda: start, status=lambda: status)
    monkeypatch.setattr(identity.psutil, "Process", lambda pid: other)
    assert ProcessIdentity(7, 5.0).is_alive() is alive
    assert is_zombie(7) is ended
    assert process_start(7) == start


def test_without_proc_a_process_that_is_gone_or_hidden_has_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(pid: int) -> None:
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr(identity, "HAS_PROC", False)
    monkeypatch.setattr(identity.psutil, "Process", gone)
    assert process_start(OWN) is None
    assert not is_zombie(OWN)
    assert ProcessIdentity(1, time.time() - 100).age_s == pytest.approx(100, abs=5)
    with pytest.raises(RuntimeError, match="the process table does not show this process"):
        own_identity()
