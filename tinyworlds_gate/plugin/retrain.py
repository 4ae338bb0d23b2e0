"""The hook behind `@pytest.mark.retrain_on_failure`: a failed gate is answered by training dynamics on (T5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from _pytest.runner import runtestprotocol

from tinyworlds_gate.plugin.session import SESSION

MARKER = "retrain_on_failure"
RERUN = "rerun"
"""The outcome of an attempt that is tried again; pytest-html knows it by this name."""


def run_with_retraining(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a marked test; while the gate does not pass and a retraining may help, retrain dynamics and run it again.

    Every attempt is reported: the ones before the last with the outcome ``rerun``. The test sees the new checkpoint
    because its `inference` fixture asks the run for its newest attempt each time.

    Returns:
        True when the test was handled here, None for tests without the marker.
    """
    if item.get_closest_marker(MARKER) is None:
        return None
    session = item.config.stash[SESSION]
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    while True:
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        call = next((report for report in reports if report.when == "call"), None)
        if call is None or not (call.failed or session.gate_failed) or not session.retrain_if_allowed():
            break
        try:
            session.make_attempt()
        except BaseException:
            # Ctrl-C while dynamics trains: the attempt that was made is reported as a failure.
            _log(item, reports)
            raise
        call.outcome = cast("pytest.TestReport", RERUN)  # type: ignore[assignment]
        _log(item, [call])
    _log(item, reports)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _log(item: pytest.Item, reports: Sequence[pytest.TestReport]) -> None:
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
