"""The file system that a folder lies on, by the mount table of Linux."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_LOCAL = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "ramfs", "overlay", "aufs", "f2fs", "jfs", "bcachefs"}
)
"""File systems of one machine, on which the kernel knows every holder of a lock."""


def file_system(path: Path) -> str | None:
    """Return the type of the file system that a path, or its nearest parent, lies on; None where it is unknown."""
    real = os.path.realpath(path)
    found, longest = None, -1
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        mount, _, device = line.partition(" - ")
        at = _unescaped(mount.split(" ")[4])
        if (real == at or real.startswith(at.rstrip("/") + "/")) and len(at) >= longest:
            found, longest = device.split(" ")[0], len(at)
    return found


def is_local(path: Path) -> bool:
    """Whether only this machine can write to the file system of a path; False where that is unknown."""
    return file_system(path) in _LOCAL


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
