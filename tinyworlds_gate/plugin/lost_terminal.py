"""A terminal that goes away (the reader of a pipe, a full disk under a redirected output) does not end the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest


def outlive_the_terminal(config: pytest.Config) -> None:
    """From here on, what pytest writes after the terminal took no more is dropped; reports and journal have it all."""
    writer = config.get_terminal_writer()
    lost = False

    def guarded(method: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **keywords: Any) -> None:
            nonlocal lost
            if lost:
                return
            try:
                method(*args, **keywords)
            except OSError:
                lost = True
                _drop_what_is_buffered()

        return call

    # As pytest's own pastebin plugin does it; a writer's other methods all end in these two.
    writer.write = guarded(writer.write)  # type: ignore[method-assign]
    writer.flush = guarded(writer.flush)  # type: ignore[method-assign]


@contextmanager
def lost_terminal_ignored() -> Iterator[None]:
    """Inside, writing to a terminal that takes no more is no error."""
    try:
        yield
    except OSError:
        _drop_what_is_buffered()


def _drop_what_is_buffered() -> None:
    """Else the interpreter would try to write it once more at its very end, and change the exit status."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)
        sys.stdout.flush()
