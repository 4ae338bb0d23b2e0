"""Read the CPU and memory limits of this process's cgroups (versions 1 and 2, nested, in a container or not)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED_BYTES = 2**60
"""Version 1 writes "no limit" as the largest multiple of a page below 2**63."""


@dataclass(frozen=True)
class CgroupLimits:
    """The strictest limits of a process's cgroups and their parents; None means unlimited or unknown."""

    cpus: float | None = None
    """CPU time per time: 1.5 allows one and a half CPUs."""
    cpu_set: int | None = None
    """Number of CPUs in the cpuset."""
    memory_bytes: int | None = None
    memory_left_bytes: int | None = None
    """What may still be allocated: limit − usage + page cache that the kernel can drop."""


def cgroup_limits(proc: Path = Path("/proc"), pid: str = "self") -> CgroupLimits:
    """Return the limits of a process; all None on a system without cgroups.

    Args:
        proc: the process table; the cgroup folders are those that ``<proc>/<pid>/mountinfo`` names.
    """
    cpus, sets, limits, left = [], [], [], []
    for folder in _folders(proc, pid, "cpu"):
        if (allowed := _quota(folder)) is not None:
            cpus.append(allowed)
    for folder in _folders(proc, pid, "cpuset"):
        if count := _cpu_count(_text(folder, "cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")):
            sets.append(count)
    for folder in _folders(proc, pid, "memory"):
        for limit in _memory_limits(folder):
            limits.append(limit)
            if (used := _number(_text(folder, "memory.current", "memory.usage_in_bytes"))) is not None:
                left.append(max(0, limit - used + _droppable(folder)))
    return CgroupLimits(
        min(cpus, default=None), min(sets, default=None), min(limits, default=None), min(left, default=None)
    )


def _folders(proc: Path, pid: str, controller: str) -> Iterator[Path]:
    """The cgroup of a controller and its parents, as far as they are mounted here; version 2 also has one."""
    paths: dict[str, str] = {}
    for line in _lines(proc / pid / "cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        paths |= dict.fromkeys(controllers.split(","), path)
    for root, point, kind, options in _mounts(proc, pid):
        name = controller if kind == "cgroup" else ""
        if name not in paths or (name and name not in options):
            continue
        inside = Path(paths[name])
        below = inside.relative_to(root) if inside.is_relative_to(root) else Path()
        folder = point / below
        while True:
            yield folder
            if folder == point:
                break
            folder = folder.parent


def _mounts(proc: Path, pid: str) -> Iterator[tuple[Path, Path, str, list[str]]]:
    """Each mounted cgroup hierarchy: its root, its folder, its version's name, its super-block options."""
    for line in _lines(proc / pid / "mountinfo"):
        first, _, last = line.partition(" - ")
        fields, (kind, _, options) = first.split(" "), [*last.split(" "), "", "", ""][:3]
        if kind in ("cgroup", "cgroup2") and len(fields) > 4:
            root, point = (Path(field.encode().decode("unicode_escape")) for field in fields[3:5])
            yield root, point, kind, options.split(",")


def _quota(folder: Path) -> float | None:
    words = _text(folder, "cpu.max").split()
    if len(words) == 2:
        quota, period = _number(words[0]), _number(words[1])
    else:
        quota, period = _number(_text(folder, "cpu.cfs_quota_us")), _number(_text(folder, "cpu.cfs_period_us"))
    return quota / period if quota and period and quota > 0 else None


def _memory_limits(folder: Path) -> list[int]:
    found = (_number(_text(folder, name)) for name in ("memory.max", "memory.high", "memory.limit_in_bytes"))
    return [limit for limit in found if limit is not None and 0 <= limit < _UNLIMITED_BYTES]


def _droppable(folder: Path) -> int:
    """Bytes of the page cache that were not used lately."""
    stat = dict(line.split(" ", 1) for line in _text(folder, "memory.stat").splitlines() if " " in line)
    return _number(stat.get("total_inactive_file", stat.get("inactive_file", ""))) or 0


def _cpu_count(text: str) -> int:
    """Count the CPUs of a list such as ``0-3,8``; 0 for an empty one."""
    count = 0
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        with suppress(ValueError):
            count += int(last or first) - int(first) + 1
    return count


def _text(folder: Path, *names: str) -> str:
    """The content of the first of these files that can be read, or empty."""
    for name in names:
        with suppress(OSError, UnicodeDecodeError):
            return (folder / name).read_text(encoding="ascii").strip()
    return ""


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return []


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
