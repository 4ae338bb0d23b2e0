"""Workers of pytest-xdist are refused for the closed loop: one run owns the project, its GPUs and its reports."""

from __future__ import annotations

import sys

import pytest

from tinyworlds_gate.plugin.selection import may_validate

REFUSAL = (
    "{words}: the closed loop cannot be split over pytest-xdist workers: one run owns the project's lock, its "
    "GPUs and its reports, and the tests share the models that it trains. Run pytest without {options}; "
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
    return bool(_split_by(config)) or hasattr(config, "workerinput")


def _split_by(config: pytest.Config) -> list[str]:
    """The options that split tests over processes, with their values."""
    number = config.getoption("numprocesses", default=None)
    if number not in (None, 0, "0"):
        return [f"-n {number}"]
    dist, places = config.getoption("dist", default="no"), config.getoption("tx", default=None) or []
    return [*([] if dist == "no" else [f"--dist {dist}"]), *(f"--tx {place}" for place in places)]


def refuse_parallel(config: pytest.Config) -> None:
    """Refuse workers (`-n`, `--dist`, `--tx`) where tests of the closed loop may run; other tests may be split.

    Raises:
        pytest.UsageError: with the sentence that says why.
    """
    if is_parallel(config) and may_validate(config):
        words = _split_by(config) or ["a worker of pytest-xdist"]
        options = " and ".join(dict.fromkeys(word.split()[0] for word in _split_by(config) or ["-n"]))
        raise pytest.UsageError(REFUSAL.format(words=" ".join(words), options=options))


HYPOTHESIS_PLUGIN = "hypothesispytest"


def drop_idle_hypothesis(config: pytest.Config) -> None:
    """Unregister Hypothesis' plugin once no collected module has imported Hypothesis.

    At the end of every session it imports all of Hypothesis (1.6 s of CPU time on a slow core) to look for statistics
    of tests that are not there; `pytest validation/` has none.
    """
    if "hypothesis" not in sys.modules and config.pluginmanager.has_plugin(HYPOTHESIS_PLUGIN):
        config.pluginmanager.unregister(name=HYPOTHESIS_PLUGIN)
