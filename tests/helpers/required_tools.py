"""Tools and rights of the machine that a test needs; without one the test is skipped, or fails under CI=true.

A CI whose machines lack some of them names them: ``TINYWORLDS_GATE_WITHOUT="strace cgroups"``.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def without(name: str, reason: str) -> NoReturn:
    """Skip the test because the machine has no ``name``; fail it under CI=true, unless the CI names it as missing."""
    if os.environ.get("CI") == "true" and name not in os.environ.get("TINYWORLDS_GATE_WITHOUT", "").split():
        pytest.fail(
            f"{reason}. Under CI=true this is a failure; if the machine cannot have it, name {name} in the "
            "environment variable TINYWORLDS_GATE_WITHOUT"
        )
    pytest.skip(reason)
