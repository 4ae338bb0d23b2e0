"""Registers the plugin of the closed loop; its hook retrains dynamics when the inference gate fails (T5)."""

from __future__ import annotations

import pytest

pytest_plugins = ["tinyworlds_gate.plugin"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Answer a failed gate by training dynamics on, and run the gate again on the new checkpoint."""
    from tinyworlds_gate.plugin.retrain import run_with_retraining

    return run_with_retraining(item, nextitem)
