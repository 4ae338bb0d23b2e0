"""How the end of a child is reported at its limits. ``pytest tests/unit/launch/test_child_edges.py``"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tinyworlds_gate.launch.child import ChildProcess


@pytest.mark.parametrize(
    ("code", "exit_code", "signal_name"),
    [
        ("pass", 0, None),
        ("raise SystemExit(1)", 1, None),
        ("import os, signal; os.kill(os.getpid(), signal.SIGHUP)", None, "SIGHUP"),
    ],
)
def test_a_code_below_zero_is_a_signal(
    tmp_path: Path, code: str, exit_code: int | None, signal_name: str | None
) -> None:
    child = ChildProcess([sys.executable, "-c", code], tmp_path, {}, tmp_path / "x.log")
    result = child.run(lambda elapsed_s: None, lambda: 0.1)
    assert (result.exit_code, result.signal) == (exit_code, signal_name)
