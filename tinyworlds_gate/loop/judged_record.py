"""Judge a finished run again from its journal and its files, for reports and comments."""

from __future__ import annotations

from tinyworlds_gate.findings.reporting import RunFiles
from tinyworlds_gate.findings.rows import rejudged
from tinyworlds_gate.loop.recheck import judged_again
from tinyworlds_gate.reports.model import RunRecord
from tinyworlds_gate.run.journal import Event


def judge_again(record: RunRecord) -> None:
    """Judge the rows from the whole journal, and the files of the verdict; the record then shows what was found."""
    record.judged = judged_now(record)
    if record.journal is None or record.journal.problem is None:
        again = judged_again(record)
        record.disputed, record.unconfirmed = again.disputed, again.unconfirmed


def judged_now(record: RunRecord) -> dict[str, Event]:
    """Return requirement → its row, judged from the whole journal and the run's files as they are now."""
    rows = rejudged(record.events, RunFiles(record.project_root, record.folder))
    return {
        id: {"id": id, "verdict": row.verdict, "reason": row.reason, "evidence": row.evidence}
        for id, row in rows.items()
    }
