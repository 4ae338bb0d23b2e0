"""`pytest -n` is refused for the closed loop: one run owns the project, its GPUs and its reports."""

from __future__ import annotations

import sys

import pytest

from tinyworlds_gate.plugin.validation_tests import validation_folders

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


def is_parallel(config: pytest.Config) -> bool:
    """Whether tests are split over processes; `-n 0` and `-p no:xdist` mean that they are not."""
    return config.getoption("numprocesses", default=None) not in (None, 0, "0") or hasattr(config, "workerinput")


def refuse_parallel(config: pytest.Config) -> None:
    """Refuse `-n` in every spelling where tests of the closed loop may run; other tests (`make test`) may be split.

    Raises:
        pytest.UsageError: with the sentence that says why.
    """
    if is_parallel(config) and _may_validate(config):
        raise pytest.UsageError(REFUSAL.format(value=config.getoption("numprocesses", default="on")))


def _may_validate(config: pytest.Config) -> bool:
    names = [word.split("::")[0] for word in config.args]
    if config.option.pyargs and any(name.split(".")[0] == "tinyworlds_gate" for name in names):
        return True
    paths = [(config.invocation_params.dir / name).resolve() for name in names]
    own, shipped = validation_folders(config)
    if any(path.is_relative_to(folder) for path in paths for folder in (own, shipped)):
        return True
    # A path above the shipped tests does not lead to them: pytest does not descend into an environment's folder.
    return own.is_dir() and any(own.is_relative_to(path) for path in paths)


HYPOTHESIS_PLUGIN = "hypothesispytest"


def drop_idle_hypothesis(config: pytest.Config) -> None:
    """Unregister Hypothesis' plugin once no collected module has imported Hypothesis.

    At the end of every session it imports all of Hypothesis (1.6 s of CPU time on a slow core) to look for statistics
    of tests that are not there; `pytest validation/` has none.
    """
    if "hypothesis" not in sys.modules and config.pluginmanager.has_plugin(HYPOTHESIS_PLUGIN):
        config.pluginmanager.unregister(name=HYPOTHESIS_PLUGIN)
