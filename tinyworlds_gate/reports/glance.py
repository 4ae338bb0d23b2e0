"""The run at a glance, one line each: data, clips, checkpoints, retries and files (pure functions)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.reference.rollout.mode import mode_text
from tinyworlds_gate.reports import views
from tinyworlds_gate.reports.artifact_names import report_paths
from tinyworlds_gate.reports.effective_time import effective_time, effective_time_text
from tinyworlds_gate.reports.markdown import number
from tinyworlds_gate.reports.model import RunRecord
from tinyworlds_gate.run.journal import events_of

SHOWN_DIGITS = 12
"""Of a SHA-256."""


@dataclass(frozen=True)
class Line:
    """A label, its text, and links as (name, project-relative path)."""

    label: str
    text: str
    links: tuple[tuple[str, str], ...] = ()


def glance(record: RunRecord) -> list[Line]:
    """Return the lines of the summary; a line says so when the journal has no value for it."""
    lines = [_data(record), _measured(record), _checkpoints(record), _changed(record), _files(record)]
    effective = effective_time_text(effective_time(record.events))
    return lines if effective is None else [*lines[:-1], Line("Effective training time", effective), lines[-1]]


def _data(record: RunRecord) -> Line:
    data = record.dataset
    if not data:
        return Line("Trained on", "nothing: the run ended before its frames were ready")
    text = (
        f"{data.get('name')}: {data.get('path')} (SHA-256 {_short(data.get('sha256'))}), "
        f"{number(data.get('train_episodes'))} episodes to train on, {number(data.get('held_out_episodes'))} held out"
    )
    return Line("Trained on" if record.chunks else "Data", text)


def _measured(record: RunRecord) -> Line:
    last, m = record.last_attempt, record.measures
    if last is None or not m:
        return Line("Measured on", "nothing: no inference attempt was measured")
    clips, episodes, frames = (number(m.get(key)) for key in ("clips", "episodes", "generation_steps"))
    which = f"{clips} held-out clips of {episodes} episodes"
    if last.on_evaluation_set:
        evaluation = (record.dataset or {}).get("evaluation") or {}
        which = (
            f"{clips} clips of {episodes} episodes of the evaluation set {evaluation.get('path')} (SHA-256 "
            f"{_short(evaluation.get('sha256'))}), which no training and no retry has seen"
        )
    elif last.is_final:
        which += ", a second draw that no retry has seen"
    how = ", ".join(part for part in (f"{which}; {frames} generated frames each", mode_text(m)) if part)
    return Line("Measured on", f"{how} ({last.name})")


def _checkpoints(record: RunRecord) -> Line:
    rows = views.checkpoint_rows(record)
    if not rows:
        return Line("Checkpoints", "none: no chunk of this run left one")
    links = tuple((Path(str(row["path"])).name, str(row["path"])) for row in rows)
    return Line("Checkpoints", "" if rows[0]["used"] else "not evaluated:", links)


def _changed(record: RunRecord) -> Line:
    retrained = len(list(events_of(record.events, "dynamics_retrain")))
    retries = []
    if record.retunes:
        stages = ", ".join(dict.fromkeys(chunk.stage for chunk in record.retunes))
        retries.append(f"{_times(len(record.retunes), 'chunk')} retuned or tried again ({stages})")
    if retrained:
        retries.append(f"dynamics retrained {_times(retrained, 'time')} after a failed gate")
    resumed = sum(1 for _ in events_of(record.events, "run_started")) - 1
    if resumed:
        retries.append(f"the run was resumed {_times(resumed, 'time')}")
    return Line("Tried again", "; ".join(retries) or "nothing: every step succeeded the first time")


def _files(record: RunRecord) -> Line:
    folder = f"results/{record.folder.name}"
    report = report_paths(record)["A1"].relative_to(record.project_root).as_posix()
    return Line("Files", "", ((folder, folder), ("the report", report), ("all files", "#twg-files")))


def _times(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _short(digest: object) -> str:
    return f"{str(digest)[:SHOWN_DIGITS]}…" if digest else "unknown"
