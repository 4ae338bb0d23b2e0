"""What pytest prints of a failed test has no secrets: traceback, message, captured output.

pytest tests/unit/plugin/test_report_texts.py
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.made_up_secrets import draw
from tinyworlds_gate.plugin.report_texts import without_secrets


def report_of(failure: Any, printed: str) -> pytest.TestReport:
    return pytest.TestReport(
        "a.py::test_a", ("a.py", 1, "test_a"), {}, "failed", failure, "call", sections=[("Captured stdout", printed)]
    )


def test_a_failure_is_shown_without_its_secrets() -> None:
    key = draw(24)
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError(f"cannot log in with token={key}")
    shown = without_secrets(report_of(caught.getrepr(showlocals=True, funcargs=True), f"HF_TOKEN={key}\nstep 3"))
    assert key not in shown.longreprtext
    assert "cannot log in with token=[redacted]" in shown.longreprtext
    assert key not in shown.longrepr.reprcrash.message  # type: ignore[union-attr]
    assert shown.sections == [("Captured stdout", "HF_TOKEN=[redacted]\nstep 3")]


@pytest.mark.parametrize("wrap", [str, lambda text: ("a.py", 3, text)])
def test_a_text_and_a_reason_to_skip_are_redacted(wrap: Any) -> None:
    key = draw(24)
    assert key not in str(without_secrets(report_of(wrap(f"api_key: {key}"), "")).longrepr)
