"""Limits of cgroups v1 and v2, read from trees as the kernel writes them, and from a real cgroup.

pytest tests/unit/run/test_cgroup_limits.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers.config_files import REPOSITORY
from tests.helpers.memory_limits import memory_cgroup
from tinyworlds_gate.run import machine
from tinyworlds_gate.run.cgroup_limits import CgroupLimits, cgroup_limits

GIB = 2**30
NO_LIMIT = "9223372036854771712"
V2 = "31 23 0:28 {root} {tree} rw,nosuid - cgroup2 cgroup2 rw"
V1 = "3{number} 31 0:2{number} {root} {tree}/{names} rw - cgroup cgroup rw,{names}"


def system(folder: Path, cgroup: str, mounts: str, files: Mapping[str, str]) -> Path:
    """A process table with one process, and the cgroup files that it names; returns the table."""
    proc, tree = folder / "proc", folder / "sys"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(cgroup)
    (proc / "self" / "mountinfo").write_text(mounts.replace("{tree}", str(tree)))
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return proc


def v1(names: str, number: int, root: str = "/") -> str:
    return V1.replace("{names}", names).replace("{number}", str(number)).replace("{root}", root)


def test_version_2_in_a_container(tmp_path: Path) -> None:
    """The container sees its own cgroup as the root."""
    files = {
        "cpu.max": "150000 100000",
        "cpuset.cpus.effective": "0-2,8",
        "memory.max": str(4 * GIB),
        "memory.current": str(3 * GIB),
        "memory.stat": f"anon 5\ninactive_file {GIB // 2}\nactive_file 7",
    }
    proc = system(tmp_path, "0::/\n", V2.replace("{root}", "/"), files)
    assert cgroup_limits(proc) == CgroupLimits(1.5, 4, 4 * GIB, 3 * GIB // 2)


def test_version_2_nested_the_strictest_level_counts(tmp_path: Path) -> None:
    files = {
        "a/cpu.max": "100000 100000",
        "a/b/cpu.max": "max 100000",
        "a/b/c/cpu.max": "400000 100000",
        "a/memory.max": str(8 * GIB),
        "a/memory.current": str(7 * GIB),
        "a/b/memory.max": "max",
        "a/b/c/memory.max": str(6 * GIB),
        "a/b/c/memory.current": str(GIB),
        "a/b/c/memory.high": str(5 * GIB),
        "a/b/c/cpuset.cpus.effective": "3",
        "a/cpuset.cpus.effective": "0-7",
    }
    proc = system(tmp_path, "0::/a/b/c\n", V2.replace("{root}", "/"), files)
    assert cgroup_limits(proc) == CgroupLimits(1.0, 1, 5 * GIB, GIB)


def test_version_1_with_a_hierarchy_for_each_controller(tmp_path: Path) -> None:
    mounts = "\n".join([v1("cpu,cpuacct", 1), v1("memory", 2), v1("cpuset", 3)])
    files = {
        "cpu,cpuacct/job/cpu.cfs_quota_us": "50000",
        "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/job/step/memory.limit_in_bytes": NO_LIMIT,
        "memory/job/memory.limit_in_bytes": str(2 * GIB),
        "memory/job/memory.usage_in_bytes": str(GIB),
        "memory/job/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 4}",
        "memory/memory.limit_in_bytes": NO_LIMIT,
        "cpuset/job/cpuset.cpus": "0,1",
    }
    cgroup = "12:cpu,cpuacct:/job\n5:memory:/job/step\n4:cpuset:/job\n1:name=systemd:/x\n0::/y\n"
    assert cgroup_limits(system(tmp_path, cgroup, mounts, files)) == CgroupLimits(0.5, 2, 2 * GIB, 5 * GIB // 4)


def test_version_1_in_a_container_that_sees_the_paths_of_its_host(tmp_path: Path) -> None:
    """Docker mounts the container's cgroup; /proc/self/cgroup still names it from the host's root."""
    mounts = "\n".join([v1("cpu,cpuacct", 1, "/docker/3f"), v1("memory", 2, "/docker/3f")])
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "300000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(GIB),
        "memory/inner/memory.limit_in_bytes": str(GIB // 2),
        "memory/inner/memory.usage_in_bytes": "0",
    }
    cgroup = "3:cpu,cpuacct:/docker/3f\n2:memory:/docker/3f/inner\n"
    assert cgroup_limits(system(tmp_path, cgroup, mounts, files)) == CgroupLimits(3.0, None, GIB // 2, GIB // 2)


def test_mounts_of_other_file_systems_and_lines_cut_short_are_left_out(tmp_path: Path) -> None:
    other = "40 31 8:1 / {tree}/disk rw - ext4 /dev/sda1 rw"
    mounts = "\n".join(["", "41 31 0:28 /", "42 31 0:28 / - cgroup2 cgroup2 rw", other, V2.replace("{root}", "/")])
    files = {"disk/cpu.max": "50000 100000", "disk/memory.max": "5", "cpu.max": "200000 100000"}
    assert cgroup_limits(system(tmp_path, "0::/\n", mounts, files)) == CgroupLimits(2.0, None, None, None)


@pytest.mark.parametrize("cgroup", ["", "garbage\n", "0::/gone\n", "0::/\n4:memory\n"])
def test_without_limits_or_without_cgroups_nothing_is_limited(tmp_path: Path, cgroup: str) -> None:
    files = {"cpu.max": "max 100000", "memory.max": "max", "memory.current": "5"}
    assert cgroup_limits(system(tmp_path, cgroup, V2.replace("{root}", "/"), files)) == CgroupLimits()
    assert cgroup_limits(tmp_path / "nowhere") == CgroupLimits()


@pytest.mark.parametrize(
    ("limits", "cpus"),
    [
        (CgroupLimits(), 8),
        (CgroupLimits(cpus=2.9), 2),
        (CgroupLimits(cpus=0.3), 1),
        (CgroupLimits(cpus=64.0, cpu_set=3), 3),
    ],
)
def test_worker_counts_follow_the_limits(monkeypatch: pytest.MonkeyPatch, limits: CgroupLimits, cpus: int) -> None:
    monkeypatch.setattr(machine, "cgroup_limits", lambda: limits)
    monkeypatch.setattr(machine, "affinity_cpus", lambda: 8)
    assert machine.usable_cpus() == cpus


def test_memory_follows_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cgroup_limits", lambda: CgroupLimits(None, None, GIB, GIB // 4))
    assert (machine.total_memory_gib(), machine.available_memory_gib()) == (1.0, 0.25)


def test_a_real_memory_limit_is_read() -> None:
    program = (
        "import pathlib, sys\npathlib.Path(sys.argv[1]).write_text('0')\n"
        "from tinyworlds_gate.run.machine import available_memory_gib, total_memory_gib\n"
        "print(total_memory_gib(), available_memory_gib())\n"
    )
    with memory_cgroup(192 * 2**20) as group:
        done = subprocess.run(
            [sys.executable, "-c", program, str(group.members)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=True,
        )
    total, available = map(float, done.stdout.split())
    assert total == 192 / 1024
    assert 0 < available < total
