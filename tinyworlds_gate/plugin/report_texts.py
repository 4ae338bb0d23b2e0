"""Remove secrets from what pytest writes about a test: captured output, traceback and message."""

from __future__ import annotations

from typing import Any

import pytest

from tinyworlds_gate.run.redact import redact


def without_secrets(report: pytest.TestReport) -> pytest.TestReport:
    """Return the report with the secrets removed from its sections and from its failure, in place."""
    report.sections = [(name, redact(content)) for name, content in report.sections]
    failure: Any = report.longrepr
    if isinstance(failure, str):
        report.longrepr = redact(failure)
    elif isinstance(failure, tuple):
        path, line, reason = failure
        report.longrepr = (path, line, redact(reason))
    elif failure is not None:
        _redact_exception(failure)
    return report


def _redact_exception(failure: Any) -> None:
    """Redact the parts of an ``ExceptionChainRepr``; each other kind has some of them."""
    chain = [part[:2] for part in getattr(failure, "chain", ())]
    for traceback, crash in [*chain, (getattr(failure, "reprtraceback", None), getattr(failure, "reprcrash", None))]:
        if crash is not None:
            crash.message = redact(crash.message)
        for entry in getattr(traceback, "reprentries", ()):
            _redact_lines(entry)
            _redact_lines(getattr(entry, "reprlocals", None))
            arguments = getattr(entry, "reprfuncargs", None)
            if arguments is not None:
                arguments.args = [(name, redact(value)) for name, value in arguments.args]
    if hasattr(failure, "longrepr") and isinstance(failure.longrepr, str):
        failure.longrepr = redact(failure.longrepr)
    if hasattr(failure, "sections"):
        failure.sections = [(name, redact(content), mark) for name, content, mark in failure.sections]


def _redact_lines(part: Any) -> None:
    lines = getattr(part, "lines", None)
    if lines:
        part.lines = redact("\n".join(lines)).split("\n")
