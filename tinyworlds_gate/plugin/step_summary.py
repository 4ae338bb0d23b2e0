"""The verdict in the summary of a GitHub job: appended to `$GITHUB_STEP_SUMMARY`, whatever the session's end was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tinyworlds_gate.errors import GateError

if TYPE_CHECKING:
    from tinyworlds_gate.plugin.session import GateSession

VARIABLE = "GITHUB_STEP_SUMMARY"


def append_summary(session: GateSession) -> str | None:
    """Append the summary where GitHub asked for one and tests of the closed loop were to run.

    Returns:
        Why it could not be written; the verdict does not hang on it.
    """
    path = os.environ.get(VARIABLE)
    if not path or not (session.validates or session.loop is not None):
        return None
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(_text(session) + "\n")
    except (GateError, OSError) as error:
        return f"the job summary ${VARIABLE} could not be written: {error}"
    return None


def _text(session: GateSession) -> str:
    from tinyworlds_gate.reports.summary import job_summary, no_run_summary

    if session.loop is None:
        return no_run_summary(session.start_problem or "The session ended before it; its log says why.")
    from tinyworlds_gate.reports.model import load_record

    layout = session.loop.context.layout
    return job_summary(load_record(layout.project_root, layout.root), session.missing)
