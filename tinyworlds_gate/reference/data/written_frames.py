"""Compare a new frames file with digests of what was appended to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tinyworlds_gate.reference.data.frames_reader import iter_blocks

_ROWS = 65536


class Written:
    """The attributes, and for each dataset its rows, type and a digest of its values."""

    def __init__(self) -> None:
        self.attrs: dict[str, Any] = {}
        self._digests: dict[str, Any] = {}
        self._rows: dict[str, int] = {}

    def add(self, name: str, values: np.ndarray) -> None:
        """Add rows of a dataset, in its type."""
        self._rows[name] = self._rows.get(name, 0) + len(values)
        digest = self._digests.setdefault(name, hashlib.blake2b(f"{values.dtype}{values.shape[1:]}".encode()))
        digest.update(np.ascontiguousarray(values).data)

    def datasets(self) -> dict[str, tuple[int, str]]:
        """Name → rows and digest."""
        return {name: (self._rows[name], digest.hexdigest()) for name, digest in self._digests.items()}


def difference(path: Path, written: Written) -> str | None:
    """Return what differs between a file and what was appended to it, for a sentence; None when nothing does."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            for name, value in written.attrs.items():
                if name not in file.attrs or file.attrs[name] != value:
                    return f"its attribute `{name}` is not {value!r}"
            for name, (rows, digest) in written.datasets().items():
                found = _read(file, name)
                if found.datasets().get(name) != (rows, digest):
                    return f"its dataset `{name}` does not hold the {rows} rows that were written"
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        return f"it cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    return None


def _read(file: h5py.File, name: str) -> Written:
    found = Written()
    for block in _blocks(file[name]):
        found.add(name, block)
    return found


def _blocks(dataset: h5py.Dataset) -> Iterator[np.ndarray]:
    if dataset.name == "/frames":
        yield from (block for _, block in iter_blocks(dataset))
    else:
        for low in range(0, max(1, len(dataset)), _ROWS):  # an empty dataset is one empty block
            yield dataset[low : low + _ROWS]
