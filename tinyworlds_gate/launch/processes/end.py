"""End process trees: SIGTERM from the leaves up, wait, verify the identities again, SIGKILL, verify the end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.command import TERM_AND_KILL_VARIABLE
from tinyworlds_gate.launch.processes.bystanders import bystanders_below
from tinyworlds_gate.launch.processes.find import (
    ProcessFacts,
    find_launch,
    find_leftovers,
    find_stage_processes,
    own_ancestry,
    parents_first,
    tree_of,
)
from tinyworlds_gate.launch.processes.owner import live_owner
from tinyworlds_gate.run.identity import ProcessIdentity, process_start
from tinyworlds_gate.targets.base import Target

GRACE_S = 5.0
KILL_WAIT_S = 5.0
_POLL_S = 0.02
_ROUNDS = 5

ENDED = "ended"
GONE = "already gone"
SURVIVED = "still alive"
REFUSED = "not permitted"
LEFT_ALONE = "left alone"


@dataclass(frozen=True)
class EndedProcess:
    """One entry of ``stale_processes.ended`` (docs/journal.md); ``signal`` is the signal that ended the process."""

    pid: int
    age_s: float
    cmdline: str
    signal: str | None
    outcome: str


def end_processes(
    found: Iterable[ProcessFacts],
    *,
    grace_s: float = GRACE_S,
    kill_wait_s: float = KILL_WAIT_S,
    more: Callable[[], Iterable[ProcessFacts]] | None = None,
) -> list[EndedProcess]:
    """End the given processes and all their descendants; return the outcome of each, parents first.

    Every process is identified by PID and start time, so that a reused PID is never signalled. ``more`` finds processes
    that started meanwhile; it is called until it finds none. This process and its ancestors are never signalled.
    """
    ended: dict[ProcessIdentity, EndedProcess] = {}
    pending = _snapshot(found)
    for _ in range(_ROUNDS):
        fresh = [facts for facts in pending if facts.identity not in ended]
        if not fresh:
            break
        for facts, record in zip(fresh, _end_round(fresh, grace_s, kill_wait_s), strict=True):
            ended[facts.identity] = record
        pending = _snapshot(more()) if more is not None else []
    return list(ended.values())


def end_stale(target: Target, *, grace_s: float = GRACE_S) -> list[EndedProcess]:
    """End every training process of this project, and leftovers of earlier harness runs (L1).

    Raises:
        LaunchError: another harness that is alive started one of them; nothing is ended.
    """

    def stale() -> list[ProcessFacts]:
        return [*find_stage_processes(target), *find_leftovers(target)]

    found = stale()
    for one in found:
        if (owner := live_owner(one.pid)) is not None:
            raise LaunchError(
                f"Another run of this project is active: PID {owner.pid} on {owner.host} trains with PID {one.pid} "
                f"({one.cmdline}); its lock file was removed or replaced. Wait until it ends, or end it with: "
                f"kill {owner.pid}"
            )
    return end_processes(found, grace_s=grace_s, more=stale)


def end_launch(
    token: str,
    launcher: ProcessIdentity | None = None,
    *,
    grace_s: float = GRACE_S,
    adopted: Callable[[ProcessIdentity | None], Iterable[ProcessFacts]] | None = None,
) -> list[EndedProcess]:
    """End one of our launches: the launcher's process tree, every orphan with its marker, and those we ``adopted``.

    A PID that was reused after the launcher was reaped is not signalled.
    """

    def launched() -> list[ProcessFacts]:
        root = tree_of([launcher.pid])[:1] if launcher is not None and launcher.is_alive() else []
        marked = find_launch(token, session=launcher.pid if launcher is not None else None)
        return [*root, *marked, *(adopted(launcher) if adopted is not None else ())]

    return end_processes(launched(), grace_s=grace_s, more=launched)


def require_ended(records: Iterable[EndedProcess]) -> None:
    """Raise ``LaunchError`` if one of the processes is still alive: a second launcher would share its GPUs (L1)."""
    alive = [record for record in records if record.outcome in (SURVIVED, REFUSED)]
    if alive:
        first = alive[0]
        raise LaunchError(
            f"PID {first.pid} ({first.cmdline}) trains this project and is {first.outcome} after SIGTERM and SIGKILL. "
            "It may hang in the kernel (a GPU driver, a network disk) or belong to a more privileged session; "
            "end it, then start again."
        )


def skipped_record(found: ProcessFacts) -> EndedProcess:
    """Return the record of an extra process that was not ended because of the user's settings."""
    return EndedProcess(found.pid, found.age_s, found.cmdline, None, LEFT_ALONE)


def send(identity: ProcessIdentity, number: int) -> bool:
    """Signal exactly this process; return False if it is gone. Raises ``PermissionError`` if that is not permitted.

    A pidfd guarantees that the verified process is the signalled one.
    """
    if not hasattr(os, "pidfd_open"):
        return identity.is_alive() and _kill(identity.pid, number)
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    except OSError:  # a kernel or sandbox without pidfd
        return identity.is_alive() and _kill(identity.pid, number)
    try:
        if process_start(identity.pid) != identity.start:
            return False
        signal.pidfd_send_signal(pidfd, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _snapshot(found: Iterable[ProcessFacts]) -> list[ProcessFacts]:
    """Return the processes and their descendants, parents first, without bystanders and our own ancestors."""
    roots = list(found)
    never = own_ancestry()
    members: dict[ProcessIdentity, ProcessFacts] = {}
    for root in [facts for facts in roots if facts.identity.is_alive()]:
        tree = tree_of([root.pid])
        spared = bystanders_below(root.pid, [(one.pid, one.parent) for one in tree])
        members |= {one.identity: one for one in tree if one.pid not in spared}
    for facts in roots:
        members.setdefault(facts.identity, facts)
    return parents_first(facts for facts in members.values() if facts.pid not in never)


def _end_round(members: list[ProcessFacts], grace_s: float, kill_wait_s: float) -> list[EndedProcess]:
    delivered: dict[ProcessIdentity, str] = {}
    refused: set[ProcessIdentity] = set()
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, kill_wait_s)):
        for facts in reversed(members):
            try:
                if facts.identity.is_alive() and send(facts.identity, number):
                    delivered[facts.identity] = number.name
                    _wake(facts.identity, number)
            except PermissionError:
                refused.add(facts.identity)
        if _all_ended(members, wait_s):
            break
    for facts in members:
        _reap_adopted(facts)
    return [_record(facts, delivered.get(facts.identity), facts.identity in refused) for facts in members]


def _wake(identity: ProcessIdentity, number: int) -> None:
    """Resume a stopped process so that it handles SIGTERM; one of a checkout stays stopped and gets SIGKILL."""
    try:
        process = psutil.Process(identity.pid)
        stopped = number == signal.SIGTERM and process.status() == psutil.STATUS_STOPPED
        stopped = stopped and TERM_AND_KILL_VARIABLE not in process.environ()
    except psutil.Error:
        return
    if stopped:
        send(identity, signal.SIGCONT)


def _all_ended(members: list[ProcessFacts], wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while any(facts.identity.is_alive() for facts in members):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _reap_adopted(facts: ProcessFacts) -> None:
    """Reap an orphan that became our child (if we are PID 1 or a subreaper); other children are reaped elsewhere."""
    with suppress(psutil.Error, ChildProcessError):
        if facts.parent != os.getpid() and psutil.Process(facts.pid).ppid() == os.getpid():
            os.waitpid(facts.pid, os.WNOHANG)


def _record(facts: ProcessFacts, signal_name: str | None, refused: bool) -> EndedProcess:
    if facts.identity.is_alive():
        outcome = REFUSED if refused else SURVIVED
    else:
        outcome = ENDED if signal_name else GONE
    return EndedProcess(facts.pid, facts.age_s, facts.cmdline, signal_name, outcome)
