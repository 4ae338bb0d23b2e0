"""The harness that started a process, by the variable that the process inherited.

pytest tests/unit/launch/processes/test_owner.py
"""

from __future__ import annotations

import json
from typing import Any

import psutil
import pytest

from tinyworlds_gate.config.rendezvous import NODE_VARIABLE
from tinyworlds_gate.launch.processes import owner
from tinyworlds_gate.launch.processes.owner import OWNER_VARIABLE, live_owner, owner_mark
from tinyworlds_gate.run.identity import host_name, own_identity, process_start
from tinyworlds_gate.run.lock_holder import LockHolder, boot_id, pid_namespace

ONE = 1


def mark(**changes: Any) -> str:
    fields = {"pid": ONE, "start": process_start(ONE), "host": host_name(), "boot": boot_id(), "ns": pid_namespace()}
    return json.dumps(list((fields | changes).values()))


def test_the_mark_of_this_process_names_it() -> None:
    me = own_identity()
    assert json.loads(owner_mark()) == [me.pid, me.start, host_name(), boot_id(), pid_namespace()]


@pytest.mark.requirement("L1", "L2")
@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({OWNER_VARIABLE: mark()}, True),
        ({OWNER_VARIABLE: mark(), NODE_VARIABLE: "1"}, False),
        ({OWNER_VARIABLE: mark(start=1.0)}, False),
        ({OWNER_VARIABLE: mark(start=1.0, ns=7)}, True),
        ({OWNER_VARIABLE: owner_mark()}, False),
        ({OWNER_VARIABLE: "no JSON"}, False),
        ({OWNER_VARIABLE: "[1, 2]"}, False),
        ({OWNER_VARIABLE: "null"}, False),
        ({NODE_VARIABLE: "1"}, False),
        ({}, False),
    ],
    ids=["alive", "of a node", "dead", "foreign", "own", "no JSON", "short", "null", "a node's", "none"],
)
def test_another_live_harness_of_one_machine_is_the_owner(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], found: bool
) -> None:
    class Process:
        def __init__(self, pid: int) -> None:
            assert pid == 77

        def environ(self) -> dict[str, str]:
            return environment

    monkeypatch.setattr(owner.psutil, "Process", Process)
    holder = live_owner(77)
    assert (holder is not None) is found
    if holder is not None:
        number, start, host, boot, namespace = json.loads(environment[OWNER_VARIABLE])
        assert holder == LockHolder(number, start, host, 0.0, None, boot, namespace)


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(77), PermissionError()])
def test_a_process_whose_environment_cannot_be_read_has_no_owner(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(pid: int) -> None:
        raise error

    monkeypatch.setattr(owner.psutil, "Process", fail)
    assert live_owner(77) is None
