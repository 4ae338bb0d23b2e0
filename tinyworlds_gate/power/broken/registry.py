"""Name → a context manager around the real inference run in which one thing is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

Broken = Callable[[], AbstractContextManager[None]]
BROKEN: dict[str, Broken] = {}


def defect(name: str) -> Callable[[Callable[[], Iterator[None]]], Callable[[], Iterator[None]]]:
    """Register a generator function: what it does before ``yield`` comes before the run, the rest after it."""

    def add(function: Callable[[], Iterator[None]]) -> Callable[[], Iterator[None]]:
        BROKEN[name] = contextmanager(function)
        return function

    return add


@contextmanager
def replaced(module: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Put ``make(old)`` in the place of a module's function while the run lasts."""
    old = getattr(module, name)
    setattr(module, name, make(old))
    try:
        yield
    finally:
        setattr(module, name, old)
