"""The harness that started a process, by a variable that the process inherited: a live harness's workers stay."""

from __future__ import annotations

import json
from contextlib import suppress

import psutil

from tinyworlds_gate.config.rendezvous import NODE_VARIABLE
from tinyworlds_gate.run.lock_holder import LockHolder

OWNER_VARIABLE = "TINYWORLDS_GATE_OWNER"


def owner_mark() -> str:
    """Return the value of ``OWNER_VARIABLE`` for processes that this one starts."""
    me = LockHolder.of_this_process(0.0, None)
    return json.dumps([me.pid, me.start, me.host, me.boot, me.pid_namespace])


def live_owner(pid: int) -> LockHolder | None:
    """Return the other live harness that started a process on one machine; None where there is none, or it is dead."""
    with suppress(psutil.Error, OSError, ValueError, TypeError):
        env = psutil.Process(pid).environ()
        if OWNER_VARIABLE in env and NODE_VARIABLE not in env:
            number, start, host, boot, namespace = json.loads(env[OWNER_VARIABLE])
            owner = LockHolder(int(number), float(start), str(host), 0.0, None, boot, namespace)
            return owner if owner.is_alive() and not owner.is_this_process else None
    return None
