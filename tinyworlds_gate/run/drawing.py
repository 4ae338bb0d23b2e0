"""matplotlib with the backend Agg and its own defaults, whatever backend and style a process inherited."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

BACKEND_VARIABLE = "MPLBACKEND"
STYLE_VARIABLE = "MATPLOTLIBRC"
BACKEND = "Agg"


def load_matplotlib() -> ModuleType:
    """Return matplotlib.

    A notebook exports ``MPLBACKEND``; without the package that the value names, ``import matplotlib`` raises
    ``ValueError``. The environment is as before when this returns.
    """
    inherited = {name: os.environ.pop(name) for name in (BACKEND_VARIABLE, STYLE_VARIABLE) if name in os.environ}
    os.environ[BACKEND_VARIABLE] = BACKEND
    try:
        import matplotlib
    finally:
        del os.environ[BACKEND_VARIABLE]
        os.environ.update(inherited)
    return matplotlib


@contextmanager
def plain_style() -> Iterator[None]:
    """Draw with matplotlib's defaults: a matplotlibrc of a machine or folder changes no picture. Also a decorator."""
    matplotlib = load_matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield
