"""Keys of the caches of a job (nothing outside Python's library is imported: nothing is installed yet)."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tinyworlds_gate import __version__


def cache_keys(arguments: str, files: Sequence[Path], index: str, python: str = sys.version) -> dict[str, str]:
    """Return the keys of both caches; each changes with what it holds (reads ``files``).

    Raises:
        OSError: a file cannot be read.
    """
    packages = hashlib.sha256(f"{python}\0{index}".encode())
    for path in files:
        packages.update(path.read_bytes())
    data = hashlib.sha256(f"{__version__}\0{arguments}".encode())
    return {"packages": packages.hexdigest()[:20], "data": data.hexdigest()[:20]}
