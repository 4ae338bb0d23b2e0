"""What the plugin makes of a test that did not pass: one line that a newcomer can act on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tinyworlds_gate.plugin.validation_tests import verdict_of


def report(text: str, message: str | None, when: str = "call") -> pytest.TestReport:
    """A failed report whose traceback ends with ``text`` and whose exception says ``message``."""
    longrepr: Any = text if message is None else SimpleNamespace(reprcrash=SimpleNamespace(message=message))
    fields = {"passed": False, "skipped": False, "when": when, "longrepr": longrepr, "longreprtext": text}
    return cast(pytest.TestReport, SimpleNamespace(**fields))


def test_a_crashed_test_is_reported_with_its_error_and_place() -> None:
    text = (
        "def test():\n>   1 / 0\nE   ZeroDivisionError: division by zero\n\nvalidation/test_x.py:43: ZeroDivisionError"
    )
    said = "the test itself broke at validation/test_x.py:43: ZeroDivisionError: division by zero."
    assert verdict_of(report(text, "ZeroDivisionError: division by zero\nand more")) == ("FAIL", said)


def test_a_test_s_own_failure_message_is_reported_unchanged() -> None:
    assert verdict_of(report("G5 FAIL: the rollout error is above the limit", None)) == (
        "FAIL",
        "G5 FAIL: the rollout error is above the limit",
    )


def test_a_setup_that_broke_is_missing_evidence() -> None:
    text = "tests/fixture.py:3: OSError"
    assert verdict_of(report(text, "OSError: no room", when="setup")) == (
        "INVALID",
        "the test itself broke at tests/fixture.py:3: OSError: no room.",
    )
    assert verdict_of(report("", None, when="teardown")) == ("INVALID", "the test failed in its teardown")


def test_another_traceback_is_reported_by_its_last_line() -> None:
    assert verdict_of(report("something: else", "ValueError: x"))[1] == "something: else"
