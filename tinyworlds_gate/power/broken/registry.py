"""Registry of the defects: name → context manager that breaks one thing during the real inference run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

Broken = Callable[[], AbstractContextManager[None]]
BROKEN: dict[str, Broken] = {}


def defect(name: str) -> Callable[[Callable[[], Iterator[None]]], Callable[[], Iterator[None]]]:
    """Register a generator function: the code before ``yield`` runs before inference, the rest after it."""

    def add(function: Callable[[], Iterator[None]]) -> Callable[[], Iterator[None]]:
        BROKEN[name] = contextmanager(function)
        return function

    return add


@contextmanager
def patched(module: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Replace a function of a module by ``make(old)`` inside the context."""
    old = getattr(module, name)
    setattr(module, name, make(old))
    try:
        yield
    finally:
        setattr(module, name, old)
