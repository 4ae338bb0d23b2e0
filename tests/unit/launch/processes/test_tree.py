"""`LaunchTree`: what it reads on each call, and when it refreshes all parents."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.helpers.process_projects import running, wait_for
from tinyworlds_gate.launch.processes import tree
from tinyworlds_gate.launch.processes.tree import REFRESH_S, LaunchTree
from tinyworlds_gate.run.process_stat import HAS_PROC, ProcessStat, process_stat

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="no /proc on this system")


class Table:
    """A fake process table and clock; counts the reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **parents: int) -> None:
        self.parents = {name.removeprefix("p"): parent for name, parent in parents.items()}
        self.read: list[str] = []
        self.now = 100.0
        monkeypatch.setattr(tree.os, "listdir", lambda _: ["self", "meminfo", *self.parents])
        monkeypatch.setattr(tree, "process_stat", self.stat)

    def stat(self, pid: int | str) -> ProcessStat | None:
        self.read.append(str(pid))
        return ProcessStat("S", self.parents[str(pid)], 0.0, 0.0) if str(pid) in self.parents else None

    def reads_of(self, tree: LaunchTree, pid: int) -> tuple[set[int], list[str]]:
        self.read.clear()
        return tree.below(pid), sorted(self.read)


@pytest.mark.requirement("L3", "H5")
def test_only_new_processes_are_read_until_two_seconds_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch, p1=0, p10=1, p11=10)
    tree = LaunchTree(clock=lambda: table.now)
    assert table.reads_of(tree, 10) == ({11}, ["1", "10", "11"])
    table.parents |= {"12": 11, "13": 1}
    table.now += REFRESH_S / 2
    assert table.reads_of(tree, 10) == ({11, 12}, ["12", "13"])
    assert table.reads_of(tree, 10) == ({11, 12}, [])
    table.now += REFRESH_S
    assert table.reads_of(tree, 10) == ({11, 12}, ["1", "10", "11", "12", "13"])


@pytest.mark.parametrize("now", [0.0, 0.5])
def test_the_first_call_reads_every_process_also_on_a_machine_that_has_just_started(
    monkeypatch: pytest.MonkeyPatch, now: float
) -> None:
    table = Table(monkeypatch, p1=0, p10=1, p11=10)
    tree = LaunchTree(clock=lambda: now)
    assert table.reads_of(tree, 10) == ({11}, ["1", "10", "11"])
    assert tree._next_refresh == now + 2.0


@pytest.mark.requirement("L3", "H5")
def test_without_proc_the_descendants_come_from_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def __init__(self, pid: int) -> None:
            if pid != 10:
                raise psutil.NoSuchProcess(pid)

        def children(self, *, recursive: bool) -> list[SimpleNamespace]:
            assert recursive
            return [SimpleNamespace(pid=11), SimpleNamespace(pid=12)]

    monkeypatch.setattr(tree, "HAS_PROC", False)
    monkeypatch.setattr(tree.psutil, "Process", Process)
    assert (LaunchTree().below(10), LaunchTree().below(9)) == ({11, 12}, set())


@pytest.mark.requirement("L3", "H5")
def test_ended_processes_are_dropped_and_a_changed_parent_is_found_at_the_next_refresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(monkeypatch, p1=0, p10=1, p11=10, p12=11)
    tree = LaunchTree(clock=lambda: table.now)
    assert tree.below(10) == {11, 12}
    del table.parents["11"]
    assert tree.below(10) == set()
    table.parents["12"] = 10
    assert tree.below(10) == set()
    table.now += REFRESH_S
    assert tree.below(10) == {12}


@pytest.mark.requirement("L3", "H5")
def test_real_children_are_found_at_once(tmp_path: Path) -> None:
    tree = LaunchTree()
    assert tree.below(os.getpid()) == {child.pid for child in psutil.Process().children(recursive=True)}
    with running(["/bin/sh", "-c", "sleep 60 & wait"], cwd=tmp_path) as shell:
        wait_for(lambda: len(tree.below(shell.pid)) == 1, "the shell's child")
        assert shell.pid in tree.below(os.getpid())


def test_process_stat_agrees_with_psutil() -> None:
    own, known = process_stat(os.getpid()), psutil.Process()
    assert own is not None
    assert (own.parent, own.ended) == (known.ppid(), False)
    assert own.cpu_s <= sum(known.cpu_times()[:2]) + 0.02
    assert own.start_s == pytest.approx(known.create_time() - psutil.boot_time(), abs=2)
    assert process_stat(2**22 + 1) is None


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    stat = process_stat(child.pid)
    assert stat is not None
    assert stat.ended
    child.wait()
    assert process_stat(child.pid) is None
