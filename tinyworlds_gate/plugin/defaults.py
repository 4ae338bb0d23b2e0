"""What pytest.ini of the checkout states for the tests of the closed loop, for every project without that file."""

from __future__ import annotations

import pytest

from tinyworlds_gate.plugin.validation_tests import POWER

MARKERS = {
    "smoke": "the closed loop on the smoke profile: minutes on two CPU cores, run on every change",
    "longrun": "the closed loop on a long-run profile: hours on two GPUs, run nightly",
    POWER: "a defect that the gate must not pass (docs/gate-power.md)",
    "requirement(id, ...)": "the requirements (docs/requirements.md) that this test carries",
    "retrain_on_failure": "when this test fails, dynamics is retrained and the test runs again (T5)",
}

TIMEOUT_S = 1800
"""The outer limit of a validation test of a smoke profile, as in pytest.ini."""


def register_markers(config: pytest.Config) -> None:
    """Register the markers of the validation tests."""
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def leave_out_power_tests(config: pytest.Config) -> None:
    """Leave the tests of the gate's power out of `pytest --pyargs tinyworlds_gate.validation` without `-m`."""
    if config.option.pyargs and not config.option.markexpr:
        config.option.markexpr = f"not {POWER}"


def has_no_timeout(config: pytest.Config) -> bool:
    """Whether pytest-timeout is active, and neither its option nor a settings file states a limit."""
    return config.pluginmanager.hasplugin("timeout") and not (
        config.getoption("timeout", default=None) or config.getini("timeout")
    )
