"""What a test and its report say of the closed loop: whether it is a part of it, what it carries, what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.names import FAIL, INVALID, NOT_RUN, PASS
from tinyworlds_gate.run.installation import shipped_folder

VALIDATION = "validation"
"""The folder whose tests are the closed loop."""

POWER = "power"
"""The marker of tests that measure what the gate catches; only `-m power` asks for them."""

NOT_RUN_PREFIX = "NOT-RUN: "

FINDINGS = pytest.StashKey[list[Finding]]()


def is_validation(item: pytest.Item) -> bool:
    """Whether a test is part of the closed loop; the gate's power has tests in the same folder and no run."""
    if item.get_closest_marker(POWER) is not None:
        return False
    path = item.path.resolve()
    return any(path.is_relative_to(folder) for folder in validation_folders(item.config))


def validation_folders(config: pytest.Config) -> tuple[Path, Path]:
    """Where tests of the closed loop lie: `validation/` of the project, and the tests shipped with this package."""
    return config.rootpath.resolve() / VALIDATION, shipped_folder(VALIDATION)


def requirement_ids(item: pytest.Item) -> list[str]:
    """The requirements that a test carries, without repetition."""
    return list(dict.fromkeys(str(id) for marker in item.iter_markers("requirement") for id in marker.args))


def stated_findings(item: pytest.Item, report: pytest.TestReport) -> list[Finding]:
    """Its own findings where it stated them, else one for each requirement it carries."""
    carried = requirement_ids(item)
    stated = {one.id: one for one in item.stash.get(FINDINGS, [])}
    verdict, reason = verdict_of(report)
    return [stated.get(id) or Finding(id, verdict, reason) for id in [*carried, *(set(stated) - set(carried))]]


def verdict_of(report: pytest.TestReport) -> tuple[str, str]:
    """Verdict and reason of a report."""
    if report.passed:
        return PASS, "the test passed"
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return NOT_RUN, reason.removeprefix("Skipped: ").removeprefix(NOT_RUN_PREFIX)
    return (FAIL if report.when == "call" else INVALID), _failure_text(report)


def _failure_text(report: pytest.TestReport) -> str:
    """Why a test failed: its own words, or what broke in it and where; one line."""
    text = report.longreprtext.strip().splitlines()
    if not text:
        return f"the test failed in its {report.when}"
    crash = getattr(report.longrepr, "reprcrash", None)
    where, _, kind = text[-1].rpartition(": ")
    message = str(getattr(crash, "message", "")).strip().splitlines()
    if not where or not message or not message[0].startswith(kind):
        return text[-1]
    return f"the test itself broke at {where}: {message[0]}."


def case_properties_allowed(config: pytest.Config) -> bool:
    """Whether a test case may carry properties in the family of JUnit files that was asked for."""
    return str(config.getini("junit_family")) in ("xunit1", "legacy")
