"""The session fixtures of `validation/`: each asks the run for what it needs, and the run does it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.findings.base import FAIL, INVALID, NOT_RUN, Finding
from tinyworlds_gate.plugin.session import SESSION
from tinyworlds_gate.plugin.validation_tests import FINDINGS, NOT_RUN_PREFIX

if TYPE_CHECKING:
    from tinyworlds_gate.gate.attempt import InferenceAttempt
    from tinyworlds_gate.loop.closed_loop import ClosedLoop
    from tinyworlds_gate.stages.controller import StageResult


@pytest.fixture(scope="session")
def closed_loop(pytestconfig: pytest.Config) -> ClosedLoop:
    """The run of this session, prepared: lock taken, stale processes ended, configs checked, data ready (L1–L4, C1–C3).

    When the preparation failed, ``closed_loop.problem`` says why and nothing will be trained.
    """
    try:
        loop = pytestconfig.stash[SESSION].require_loop()
    except GateError as error:
        pytest.fail(str(error), pytrace=False)
    loop.prepare()
    return loop


@pytest.fixture(scope="session")
def trained_stages(closed_loop: ClosedLoop) -> Mapping[str, StageResult]:
    """The results of the three stages, trained in order (L5)."""
    closed_loop.stage("dynamics")
    return closed_loop.results


@pytest.fixture
def inference(closed_loop: ClosedLoop) -> InferenceAttempt:
    """The newest attempt at the inference gate; not cached, so that a retried test sees the new checkpoint (L6, T5)."""
    __tracebackhide__ = True
    attempt = closed_loop.inference()
    if isinstance(attempt, str):
        pytest.skip(NOT_RUN_PREFIX + attempt)
    return attempt


@pytest.fixture(scope="session")
def reports(closed_loop: ClosedLoop) -> Mapping[str, Path]:
    """The text reports as they stand now; they are written again, with all verdicts, when the session ends (L10)."""
    from tinyworlds_gate.reports.render import write_reports

    if isinstance(missing := closed_loop.inference(), str):
        pytest.skip(NOT_RUN_PREFIX + missing)
    closed_loop.analyse()
    return write_reports(closed_loop.context.layout.project_root, closed_loop.context.layout.root)


@pytest.fixture
def findings_of(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Record findings for the requirement table and let the test fail, skip or pass by them."""

    def settle(*findings: Finding | Sequence[Finding]) -> None:
        __tracebackhide__ = True  # a skip then shows the test's own line, not this one
        flat = [one for item in findings for one in ([item] if isinstance(item, Finding) else item)]
        request.node.stash.setdefault(FINDINGS, []).extend(flat)
        bad = [one for one in flat if one.verdict in (FAIL, INVALID)]
        if bad:
            pytest.fail("\n".join(f"{one.id} {one.verdict}: {one.reason}" for one in bad), pytrace=False)
        if flat and all(one.verdict == NOT_RUN for one in flat):
            pytest.skip(NOT_RUN_PREFIX + "; ".join(dict.fromkeys(one.reason for one in flat)))

    return settle
