"""Other plugins that cost a session time and can tell it nothing."""

from __future__ import annotations

import sys

import pytest

HYPOTHESIS_PLUGIN = "hypothesispytest"


def drop_idle_hypothesis(config: pytest.Config) -> None:
    """Unregister Hypothesis' plugin once no collected module has imported Hypothesis.

    At the end of every session it imports all of Hypothesis (1.6 s of CPU time on a slow core) to look for statistics
    of tests that are not there; `pytest validation/` has none.
    """
    if "hypothesis" not in sys.modules and config.pluginmanager.has_plugin(HYPOTHESIS_PLUGIN):
        config.pluginmanager.unregister(name=HYPOTHESIS_PLUGIN)
