"""What a check of the guard spares, ends or only records, over made-up processes.

pytest tests/unit/launch/processes/test_guard_edges.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.launch.processes import guard as module
from tinyworlds_gate.launch.processes.end import EndedProcess, skipped_record
from tinyworlds_gate.launch.processes.find import ProcessFacts
from tinyworlds_gate.launch.processes.guard import LauncherGuard
from tinyworlds_gate.run.identity import ProcessIdentity

OURS, CHILD, OTHER, DEAD, NODE, MARKED = 10, 11, 12, 13, 14, 15


def facts(pid: int) -> ProcessFacts:
    return ProcessFacts(ProcessIdentity(pid, 1.0), 1, 2.0, f"python {pid}")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Processes found, those ended with the grace, and the clock."""
    found = SimpleNamespace(pids=[OURS, CHILD, OTHER, DEAD, NODE, MARKED], ended=[], searched=0, now=100.0)

    def search(target: Any) -> list[ProcessFacts]:
        found.searched += 1
        return [facts(pid) for pid in found.pids]

    def end(processes: Sequence[ProcessFacts], *, grace_s: float) -> list[EndedProcess]:
        found.ended.append(([one.pid for one in processes], grace_s))
        return [EndedProcess(pid, 2.0, "x", "SIGTERM", "ended") for pid in [*(one.pid for one in processes), 99]]

    monkeypatch.setattr(module, "find_stage_processes", search)
    monkeypatch.setattr(module, "end_processes", end)
    monkeypatch.setattr(module, "belongs_to_launch", lambda pid, token: (pid, token) == (MARKED, "token"))
    monkeypatch.setattr(module, "descendants", lambda pid: {CHILD} if pid == OURS else set())
    monkeypatch.setattr(module, "node_marker", lambda pid: "a node's" if pid == NODE else None)
    monkeypatch.setattr(ProcessIdentity, "is_alive", lambda self: self.pid != DEAD)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: found.now))
    return found


def guard(
    cleanup: bool = True,
    interval_s: float = 0.5,
    launcher: Callable[[], ProcessIdentity | None] = lambda: ProcessIdentity(OURS, 1.0),
    **more: Any,
) -> LauncherGuard:
    return LauncherGuard(cast(Any, Path()), "token", launcher, interval_s, cleanup, **more)


def others_of_a_run() -> Rendezvous:
    return cast(Rendezvous, SimpleNamespace(is_another_node=lambda marker: marker == "a node's"))


@pytest.mark.requirement("L2", "H5")
@pytest.mark.parametrize(("interval_s", "grace_s"), [(0.5, 0.5), (1.0, 1.0), (60.0, 1.0)])
def test_what_is_neither_of_this_launch_nor_dead_is_ended_once(
    world: SimpleNamespace, interval_s: float, grace_s: float
) -> None:
    found = guard(interval_s=interval_s)
    found.check()
    assert world.ended == [([OTHER, NODE], grace_s)]
    assert {one.pid: record.outcome for one, record in found.extra.items()} == {
        OTHER: "ended",
        NODE: "ended",
        99: "ended",
    }
    assert ProcessIdentity(OTHER, 1.0) in found.extra
    assert [one.start < 0 for one in found.extra if one.pid == 99] == [True], "no live process has this identity"
    found.check()
    assert len(world.ended) == 1, "they are known"


@pytest.mark.requirement("L2")
def test_without_cleanup_they_are_recorded_and_left_alone(world: SimpleNamespace) -> None:
    found = guard(cleanup=False)
    found.check()
    assert world.ended == []
    assert found.extra == {one.identity: skipped_record(one) for one in (facts(OTHER), facts(NODE))}


@pytest.mark.requirement("L2")
def test_training_for_another_node_is_spared_also_when_its_marker_is_gone(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = guard(rendezvous=others_of_a_run())
    found.check()
    assert world.ended == [([OTHER], 0.5)]
    monkeypatch.setattr(module, "node_marker", lambda pid: None)
    found.check()
    assert len(world.ended) == 1


@pytest.mark.requirement("L2")
def test_a_launcher_that_ended_or_has_not_started_protects_nothing(world: SimpleNamespace) -> None:
    world.pids = [CHILD]
    for launcher in (lambda: None, lambda: ProcessIdentity(DEAD, 1.0)):
        found = guard(launcher=launcher)
        assert found.live_tree() == set()
        found.check()
        assert world.ended.pop() == ([CHILD], 0.5)
    assert guard().live_tree() == {OURS, CHILD}
    world.pids = []
    guard().check()
    assert world.ended == [], "nothing to end"


def test_the_first_check_is_due_at_once_also_on_a_machine_that_has_just_started(world: SimpleNamespace) -> None:
    world.now = 0.0
    guard().check_if_due()
    assert world.searched == 1


@pytest.mark.parametrize(("interval_s", "expected_s"), [(0.5, 0.5), (2.0, 2.0), (9.0, 2.0)])
def test_a_check_is_due_after_the_interval_and_after_two_seconds_at_the_latest(
    world: SimpleNamespace, interval_s: float, expected_s: float
) -> None:
    found = guard(interval_s=interval_s)
    for moment, searched in ((100.0, 1), (100.0 + expected_s - 0.01, 1), (100.0 + expected_s, 2)):
        world.now = moment
        found.check_if_due()
        assert world.searched == searched
