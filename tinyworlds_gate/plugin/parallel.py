"""`pytest -n` is refused with the reason: one closed loop owns the project, its GPUs and its reports."""

from __future__ import annotations

import pytest

REFUSAL = (
    "-n {value}: the closed loop cannot be split over pytest-xdist workers: one run owns the project's lock, its "
    "GPUs and its reports, and the tests share the models that it trains. Run pytest without -n; "
    "the stages themselves use all workers of --nproc-per-node."
)


def add_refused_option(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Where pytest-xdist is absent, know its option well enough to say why it is refused."""
    if pluginmanager.hasplugin("xdist"):
        return
    group = parser.getgroup("tinyworlds_gate")
    # The public method keeps short lower-case options for pytest itself; xdist takes -n in this way, too.
    group._addoption(
        "-n", "--numprocesses", dest="numprocesses", default=None, metavar="N", help="Refused: one run has one process."
    )


def refuse_parallel(config: pytest.Config) -> None:
    """Refuse `-n` in every spelling; `-n 0` and `-p no:xdist` mean no parallel run and pass.

    Raises:
        pytest.UsageError: with the sentence that says why.
    """
    value = config.getoption("numprocesses", default=None)
    if value not in (None, 0, "0"):
        raise pytest.UsageError(REFUSAL.format(value=value))
