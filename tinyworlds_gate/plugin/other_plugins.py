"""`pytest -n` is refused for the closed loop: one run owns the project, its GPUs and its reports."""

from __future__ import annotations

import sys

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


def is_parallel(config: pytest.Config) -> bool:
    """Whether tests are split over processes; `-n 0` and `-p no:xdist` mean that they are not."""
    return config.getoption("numprocesses", default=None) not in (None, 0, "0") or hasattr(config, "workerinput")


def refuse_parallel(config: pytest.Config) -> None:
    """Refuse `-n` in every spelling for the closed loop; the harness's own tests (`make test`) may be split.

    Raises:
        pytest.UsageError: with the sentence that says why.
    """
    if is_parallel(config) and not _only_own_tests(config):
        raise pytest.UsageError(REFUSAL.format(value=config.getoption("numprocesses", default="on")))


def _only_own_tests(config: pytest.Config) -> bool:
    tests = config.rootpath / "tests"
    paths = [(config.invocation_params.dir / word.split("::")[0]).resolve() for word in config.args]
    return bool(paths) and all(path.is_relative_to(tests) for path in paths)


# Other plugins that cost a session time and can tell it nothing.

HYPOTHESIS_PLUGIN = "hypothesispytest"


def drop_idle_hypothesis(config: pytest.Config) -> None:
    """Unregister Hypothesis' plugin once no collected module has imported Hypothesis.

    At the end of every session it imports all of Hypothesis (1.6 s of CPU time on a slow core) to look for statistics
    of tests that are not there; `pytest validation/` has none.
    """
    if "hypothesis" not in sys.modules and config.pluginmanager.has_plugin(HYPOTHESIS_PLUGIN):
        config.pluginmanager.unregister(name=HYPOTHESIS_PLUGIN)
