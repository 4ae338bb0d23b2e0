"""Whether torch lies here with its bytecode; where it does not, each process of a run compiles its sources anew.

Some installers leave it out, and with PYTHONDONTWRITEBYTECODE it never comes: a third of a stage's start on a GPU
(docs/performance.md).
"""

from __future__ import annotations

from importlib.util import cache_from_source, find_spec
from pathlib import Path


def torch_source() -> Path | None:
    """The file that `import torch` runs first; None where there is none."""
    spec = find_spec("torch")
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def has_bytecode(source: Path) -> bool:
    """Whether this interpreter finds a compiled form of this source."""
    return Path(cache_from_source(str(source))).exists()
