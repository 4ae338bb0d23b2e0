"""Whether a disk has room for a checkpoint, as far as that can be known before it is written."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def require_room(folder: Path, needed: int) -> None:
    """Refuse what cannot fit; ``folder`` may not exist yet. A quota or another writer is only found while writing.

    Args:
        needed: bytes of the files, at least.

    Raises:
        OSError: ENOSPC with both numbers, or the disk cannot be asked.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    disk = os.statvfs(existing)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and needed > free:
        told = f"a checkpoint takes {_mib(needed)}, and {_mib(free)} are free on the disk of {folder}"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {told}")


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
