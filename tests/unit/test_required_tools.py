"""A test that needs a tool skips without it, and fails where CI=true says that the machine has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import killed_writers
from tests.helpers.browser import find_chromium
from tests.helpers.memory_limits import memory_cgroup
from tests.helpers.stepped_clock import stepped_clock
from tests.unit.checkpoints.test_kills import by_strace


def in_a_cgroup(folder: Path) -> None:
    with memory_cgroup(-2):  # a limit that no kernel takes
        pass


NEEDS: dict[str, Callable[[Path], object]] = {
    "chromium": lambda _: find_chromium(),
    "cc": stepped_clock,
    "strace": by_strace,
    "cgroups": in_a_cgroup,
}


@pytest.mark.parametrize("tool", NEEDS)
@pytest.mark.parametrize(
    ("environment", "fails"),
    [
        ({}, False),
        ({"CI": "false"}, False),
        ({"CI": "true"}, True),
        ({"CI": "true", "TINYWORLDS_GATE_WITHOUT": "another thing"}, True),
        ({"CI": "true", "TINYWORLDS_GATE_WITHOUT": "another {tool}"}, False),
    ],
)
def test_a_missing_tool_skips_the_test_and_fails_it_under_ci(
    tool: str, environment: dict[str, str], fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI", "TINYWORLDS_GATE_WITHOUT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(tool=tool))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert killed_writers.strace() is None
    ends = pytest.fail.Exception if fails else pytest.skip.Exception
    with pytest.raises(ends, match=f"name {tool} in the environment variable" if fails else None):
        NEEDS[tool](tmp_path)
