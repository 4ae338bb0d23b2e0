"""Check whether torch was installed with compiled .pyc files.

Without them every process of a run compiles torch's sources again, a third of a stage's start on a GPU
(docs/performance.md). Some installers leave them out, and PYTHONDONTWRITEBYTECODE keeps them from being written.
"""

from __future__ import annotations

from importlib.util import cache_from_source, find_spec
from pathlib import Path


def torch_source() -> Path | None:
    """Return the file that `import torch` runs first; None where torch is not installed."""
    spec = find_spec("torch")
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def has_bytecode(source: Path) -> bool:
    """Return whether this interpreter has a .pyc file for this source."""
    return Path(cache_from_source(str(source))).exists()
