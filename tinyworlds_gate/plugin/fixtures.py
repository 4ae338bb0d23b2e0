"""The session fixtures of `validation/`: each asks the run for what it needs, and the run does it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.names import NOT_RUN
from tinyworlds_gate.plugin.session import SESSION
from tinyworlds_gate.plugin.validation_tests import FINDINGS, NOT_RUN_PREFIX, requirement_ids

if TYPE_CHECKING:
    from tinyworlds_gate.gate.attempt_record import InferenceAttempt
    from tinyworlds_gate.loop.closed_loop import ClosedLoop
    from tinyworlds_gate.loop.stage_controller import StageResult


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
    """The text reports of the run so far; they are written again, with all verdicts, when the session ends (L10)."""
    from tinyworlds_gate.reports.render import write_reports

    if closed_loop.problem is not None:
        pytest.skip(f"{NOT_RUN_PREFIX}the preparation failed: {closed_loop.problem}")
    try:
        closed_loop.inference()
        closed_loop.analyse()
        closed_loop.context.journal.require_in_place()
        return write_reports(closed_loop.context.layout.project_root, closed_loop.context.layout.root)
    except (GateError, OSError) as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def draft_page(pytestconfig: pytest.Config, reports: Mapping[str, Path]) -> Path | None:
    """The HTML page of the run so far, written once more when the session ends (A8); None without pytest-html."""
    return pytestconfig.stash[SESSION].write_draft_page()


@pytest.fixture
def findings_of(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Record findings for the requirement table and let the test fail, skip or pass by them.

    A finding that follows from another requirement's failure skips its test where the other one's test is selected
    too: one cause is one failed test.
    """
    tested = {id for item in request.config.stash[SESSION].selected for id in requirement_ids(item)}

    def settle(*findings: Finding | Sequence[Finding], history: Sequence[str] = ()) -> None:
        __tracebackhide__ = True  # a skip then shows the test's own line, not this one
        flat = [one for item in findings for one in ([item] if isinstance(item, Finding) else item)]
        request.node.stash.setdefault(FINDINGS, []).extend(flat)
        bad = [one for one in flat if one.is_broken]
        causes = [one for one in bad if one.follows_from not in tested]
        if causes:
            pytest.fail(
                "\n".join([*(f"{one.id} {one.verdict}: {one.reason}" for one in causes), *history]), pytrace=False
            )
        if bad:
            pytest.skip("; ".join(f"{one.id} {one.verdict}: {one.reason}" for one in bad))
        if flat and all(one.verdict == NOT_RUN for one in flat):
            pytest.skip(NOT_RUN_PREFIX + "; ".join(dict.fromkeys(one.reason for one in flat)))

    return settle


@pytest.fixture
def row_holds(
    closed_loop: ClosedLoop, findings_of: Callable[..., None], pytestconfig: pytest.Config
) -> Callable[..., None]:
    """Judge the row of a requirement from the whole journal so far; it is judged again when the session ends."""

    def settle(id: str, history: Sequence[str] = ()) -> None:
        __tracebackhide__ = True
        from tinyworlds_gate.findings.rows import judge_row

        files = pytestconfig.stash[SESSION].run_files()
        try:
            row = judge_row(id, closed_loop.context.journal.events(), files)
        except GateError as error:
            pytest.fail(str(error), pytrace=False)
        findings_of(row, history=history)

    return settle
