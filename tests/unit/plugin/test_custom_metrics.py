"""The two hooks of docs/extending.md in real sessions: found with either way to load the plugin, refused before a run.

pytest tests/unit/plugin/test_custom_metrics.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.gate.test_extension import examples
from tests.unit.plugin.test_autoload import CONFTEST, session

PYARGS = ("--pyargs", "tinyworlds_gate.validation", "-m", "smoke", "--co", "-q")
BAD = """
from tinyworlds_gate.gate.extension import ClipMetric


def pytest_tinyworlds_gate_conditions():
    return [ClipMetric("drift", len)]
"""


@pytest.mark.parametrize("how", ["", CONFTEST])
def test_a_bad_definition_is_a_usage_error_that_names_the_file_and_starts_nothing(tmp_path: Path, how: str) -> None:
    (tmp_path / "conftest.py").write_text(how + BAD)
    refused = session(tmp_path, *PYARGS)
    assert refused.returncode == 4, refused.stdout
    said = "ERROR: conftest.py: pytest_tinyworlds_gate_conditions: drift has no limit; add at_most or at_least"
    assert said in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("block", examples())
@pytest.mark.parametrize("loads_the_plugin", [True, False])
def test_the_examples_of_the_page_are_accepted(tmp_path: Path, block: str, loads_the_plugin: bool) -> None:
    assert CONFTEST in block
    (tmp_path / "conftest.py").write_text(block if loads_the_plugin else block.replace(CONFTEST, ""))
    found = session(tmp_path, "-W", "error", *PYARGS)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr


def test_a_session_without_the_closed_loop_accepts_the_hooks_and_does_not_call_them(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(BAD.replace("    return", "    1 / 0\n    return"))
    (tmp_path / "test_one.py").write_text("def test_one():\n    assert True\n")
    found = session(tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
