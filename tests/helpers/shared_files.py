"""Files of ``../shared`` that are too large to copy; without them a test is skipped, or fails under CI=true.

A CI that has no such folder (a public runner) says so with ``TINYWORLDS_GATE_WITHOUT_SHARED=true``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


def shared_is_required() -> bool:
    """Whether a missing file of ``../shared`` is a failure here."""
    return os.environ.get("CI") == "true" and os.environ.get("TINYWORLDS_GATE_WITHOUT_SHARED") != "true"


def shared_file(name: str) -> Path:
    """Return the path of a file below ``../shared``."""
    path = SHARED / name
    if not path.exists():
        if shared_is_required():
            pytest.fail(f"under CI=true the file ../shared/{name} must be there")
        pytest.skip(f"the file ../shared/{name} is not there")
    return path
