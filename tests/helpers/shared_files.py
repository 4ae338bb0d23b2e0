"""Files of ``../shared`` that are too large to copy: a test skips without them, and fails under CI=true."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


def shared_file(name: str) -> Path:
    """The path of a file below ``../shared``."""
    path = SHARED / name
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"under CI=true the file ../shared/{name} must be there")
        pytest.skip(f"the file ../shared/{name} is not there")
    return path
