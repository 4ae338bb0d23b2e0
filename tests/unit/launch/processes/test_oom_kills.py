"""OOM-kill counters of the cgroups of a process, with files as the kernel writes them and a
real kill.

pytest tests/unit/launch/processes/test_oom_kills.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.memory_limits import memory_cgroup
from tinyworlds_gate.launch.processes import oom_kills
from tinyworlds_gate.launch.processes.oom_kills import OomKills

V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
V2 = "low 0\nhigh 0\nmax 7\noom 1\noom_kill {}\noom_group_kill 0\n"


class System:
    """A cgroup tree and a process table as files."""

    def __init__(self, folder: Path) -> None:
        self.root, self.proc = folder / "cgroup", folder / "proc"

    def put(self, pid: int, *lines: str) -> None:
        (self.proc / str(pid)).mkdir(parents=True, exist_ok=True)
        (self.proc / str(pid) / "cgroup").write_text("\n".join(lines) + "\n")

    def count(self, inside: str, text: str) -> None:
        path = self.root / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def kills(self) -> OomKills:
        return OomKills(self.root, self.proc)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


@pytest.mark.requirement("T1")
def test_kills_in_our_own_cgroup_are_counted_from_the_start_on(system: System) -> None:
    system.put(os.getpid(), "0::/a/b")
    system.count("a/b/memory.events", V2.format(4))
    kills = system.kills()
    assert kills.count() == 0
    system.count("a/b/memory.events", V2.format(6))
    assert kills.count() == 2


@pytest.mark.requirement("T1")
def test_the_counter_of_cgroup_v1_is_read(system: System) -> None:
    system.put(os.getpid(), "5:cpu,cpuacct:/x", "4:memory:/a")
    system.count("memory/a/memory.oom_control", V1.format(0))
    kills = system.kills()
    system.count("memory/a/memory.oom_control", V1.format(1))
    assert kills.count() == 1


@pytest.mark.requirement("T1")
def test_a_worker_in_a_cgroup_of_its_own_is_counted_there(system: System) -> None:
    """Cgroup v1 counts a kill in the victim's cgroup only, and not in its parents."""
    system.put(os.getpid(), "4:memory:/a")
    system.count("memory/a/memory.oom_control", V1.format(0))
    system.count("memory/a/job/memory.oom_control", V1.format(3))
    kills = system.kills()
    system.put(77, "4:memory:/a/job")
    kills.read([77])
    assert kills.count() == 0
    system.count("memory/a/job/memory.oom_control", V1.format(4))
    assert kills.count() == 1


@pytest.mark.requirement("T1")
def test_a_count_is_kept_when_its_cgroup_is_removed(system: System) -> None:
    """A systemd scope is removed with its last process."""
    system.put(os.getpid(), "0::/a")
    system.put(77, "0::/scope")
    system.count("a/memory.events", V2.format(0))
    system.count("scope/memory.events", V2.format(0))
    kills = system.kills()
    kills.read([77])
    system.count("scope/memory.events", V2.format(1))
    kills.read([77])
    (system.root / "scope/memory.events").unlink()
    assert kills.count() == 1


@pytest.mark.requirement("T1")
def test_a_kill_in_a_sibling_cgroup_is_not_counted(system: System) -> None:
    """In cgroup v2, parents count the kills of all children, so only the nearest counter is read."""
    system.put(os.getpid(), "0::/pod/we")
    system.count("pod/we/memory.events", V2.format(0))
    system.count("pod/memory.events", V2.format(0))
    kills = system.kills()
    system.count("pod/memory.events", V2.format(1))
    assert kills.count() == 0


@pytest.mark.requirement("T1")
def test_a_cgroup_without_a_counter_is_counted_by_the_one_above_it(system: System) -> None:
    """Without the memory controller in a cgroup, its parent is charged."""
    system.put(os.getpid(), "0::/a/b/c")
    system.count("a/memory.events", V2.format(0))
    kills = system.kills()
    system.count("a/memory.events", V2.format(1))
    assert kills.count() == 1


@pytest.mark.requirement("T1")
def test_without_a_cgroup_the_machine_s_counter_is_read(system: System) -> None:
    system.put(os.getpid(), "0::/")
    (system.proc / "vmstat").write_text("nr_free_pages 12\noom_kill 5\n")
    kills = system.kills()
    (system.proc / "vmstat").write_text("nr_free_pages 12\noom_kill 6\n")
    assert kills.count() == 1


@pytest.mark.requirement("T1")
@pytest.mark.parametrize("age_s", [5.0, 11.0, 3600.0])
def test_a_process_that_moves_to_another_cgroup_is_counted_there_however_old_it_is(
    system: System, monkeypatch: pytest.MonkeyPatch, age_s: float
) -> None:
    now = [100.0]
    monkeypatch.setattr(oom_kills, "time", SimpleNamespace(monotonic=lambda: now[0]))
    system.put(os.getpid(), "4:memory:/a")
    system.put(77, "4:memory:/a")
    system.count("memory/a/memory.oom_control", V1.format(0))
    system.count("memory/job/memory.oom_control", V1.format(3))
    kills = system.kills()
    kills.read([77])
    now[0] += age_s
    kills.read([77])
    system.put(77, "4:memory:/job")
    now[0] += 2.0
    kills.read([77])
    system.count("memory/job/memory.oom_control", V1.format(4))
    assert kills.count() == 1


def test_no_counter_is_unknown_and_not_zero(system: System) -> None:
    assert system.kills().count() is None
    system.put(os.getpid(), "0::/a")
    assert system.kills().count() is None


def test_processes_that_are_gone_are_skipped(system: System) -> None:
    system.put(os.getpid(), "0::/a")
    system.count("a/memory.events", V2.format(0))
    kills = system.kills()
    kills.read([4711, 4712])
    assert kills.count() == 0


@pytest.mark.requirement("T1")
def test_a_real_oom_kill_is_counted_and_a_real_sigkill_is_not() -> None:
    eat = (
        "import sys, time\n"
        "open(sys.argv[1], 'w').write('0')\n"
        "print('in', flush=True)\n"
        "sys.stdin.readline()\n"
        "held = [bytearray(b'x' * 2**20) for _ in range(400)]\n"
    )
    with memory_cgroup(64 * 2**20) as group:
        for eats in (False, True):
            kills = OomKills()
            process = subprocess.Popen(
                [sys.executable, "-c", eat, str(group.members)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "in\n"
            kills.read([process.pid])
            if not eats:
                process.kill()
            process.communicate("go\n" if eats else None, timeout=30)
            assert process.returncode == -signal.SIGKILL
            assert kills.count() == (1 if eats else 0)
