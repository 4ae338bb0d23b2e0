"""Registry of the defects: name → context manager that breaks one thing during the real inference run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

Broken = Callable[[], AbstractContextManager[None]]
Generator = Callable[[], Iterator[None]]
BROKEN: dict[str, Broken] = {}


def defect(name: str) -> Callable[[Generator], Generator]:
    """Register a generator function: the code before ``yield`` runs before inference, the rest after it."""

    def add(function: Generator) -> Generator:
        BROKEN[name] = contextmanager(function)
        return function

    return add


@contextmanager
def patched(module: Any, function: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Replace a function of a module by ``make(old)`` inside the context."""
    old = getattr(module, function)
    setattr(module, function, make(old))
    try:
        yield
    finally:
        setattr(module, function, old)


def replaces(name: str, module: Any, function: str, broken: Callable[..., Any]) -> None:
    """Register a defect in which a call of the function is ``broken(old, *arguments)``; ``module``: one or a tuple."""

    def make(old: Any) -> Any:
        return lambda *arguments, **options: broken(old, *arguments, **options)

    @defect(name)
    def _replaced() -> Iterator[None]:
        with ExitStack() as stack:
            for one in module if isinstance(module, tuple) else (module,):
                stack.enter_context(patched(one, function, make))
            yield


def changes_result(name: str, module: Any, function: str, change: Callable[[Any], Any]) -> None:
    """Register a defect in which the function returns ``change(result)``."""
    replaces(name, module, function, lambda old, *arguments, **options: change(old(*arguments, **options)))
