"""Open descriptors of this process: how many there are, and the first one, which a file may get."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def without_stdin() -> Iterator[None]:
    """Close descriptor 0, so that the next file that is opened gets it."""
    saved = os.dup(0)
    os.close(0)
    try:
        yield
    finally:
        os.dup2(saved, 0)
        os.close(saved)


@contextlib.contextmanager
def none_left_open() -> Iterator[None]:
    """Require that as many descriptors are open after the block as before it."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before
