"""Write the reports A1–A6 from a run's journal, as markdown and JSON.

`tinyworlds-gate report results/<run>` writes them again, without torch, a GPU or a rerun; only the line `Rendered …`
changes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.names import VERDICTS
from tinyworlds_gate.reports import checkout_views, gate_views, retrospective, views
from tinyworlds_gate.reports.artifact_names import audit_year, evidence_of, report_names, report_paths
from tinyworlds_gate.reports.effective_time import effective_time, effective_time_text
from tinyworlds_gate.reports.markdown import MISSING, environment, shortened
from tinyworlds_gate.reports.model import SCHEMA, RunRecord, load_record, read_named_json
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.run.owned import owned_folder
from tinyworlds_gate.run.redact import redact_command, redact_tree

AUDIT_MODES = {
    "strict": "a commit counts when it touches a training or inference path and adds or removes a line with ZELDA.",
    "wide": "a commit counts when it touches a training or inference path and its diff shows ZELDA anywhere.",
    "current_paths": "a commit counts when it touches one of the current paths and its diff shows ZELDA anywhere.",
}

GIT_KEYS = (
    *("year", "mode", "head", "commits_in_year", "merges_in_year", "file_touches", "relevant_file_touches"),
    *("selected", "key_changes", "files", "notes"),
)
ANALYSIS_KEYS = ("asked_source", "source", "notes", "per_stage", "plots")
"""Keys that the templates need; a file without one of them is not accepted as evidence."""


def write_reports(
    project_root: Path,
    run_folder: Path,
    judged: Mapping[str, Event] | None = None,
    *,
    disputed: str | None = None,
    unconfirmed: str | None = None,
) -> dict[str, Path]:
    """Write A1, A2, A3, A5 and A6 of a run under docs/action/, each with its JSON. Returns ID → markdown file.

    Args:
        judged: requirement → row as judged now, in place of the recorded one.
        disputed: what the run's files say against its recorded verdict, which makes it INVALID.
        unconfirmed: what of the verdict could not be judged again.

    Raises:
        GateError: the journal cannot be read, or docs/action/ cannot be written.
    """
    record = load_record(project_root, run_folder)
    record.judged, record.disputed, record.unconfirmed = dict(judged or {}), disputed, unconfirmed
    paths = report_paths(record)
    rendered_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    written = {}
    for key, (text, data) in render_all(record, rendered_at).items():
        try:
            owned_folder(record.project_root, paths[key].parent)
            atomic_write(paths[key], text)
            atomic_write(paths[key].with_suffix(".json"), as_json(data))
        except OSError as error:
            raise GateError(
                f"Cannot write the report {paths[key]}: {error.strerror}. Make docs/action/ writable, then run "
                f"`tinyworlds-gate report {run_folder}`."
            ) from error
        written[key] = paths[key]
    return written


def render_all(record: RunRecord, rendered_at: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return ID → (markdown, JSON data) of every text report."""
    return {
        "A1": _main_report(record, rendered_at),
        "A2": _git_report(record, rendered_at),
        "A3": _analysis_report(record, rendered_at),
        "A5": _retrospective(record, rendered_at),
        "A6": _training_loop(record, rendered_at),
    }


def as_json(data: dict[str, Any]) -> str:
    """Return JSON text with every string redacted."""
    return (
        json.dumps(redact_tree(_commands_as_text(data)), indent=2, ensure_ascii=False, allow_nan=False, default=str)
        + "\n"
    )


def _commands_as_text(value: Any) -> Any:
    if isinstance(value, str):
        return shortened(value)
    if isinstance(value, dict):
        if isinstance(value.get("command"), list):
            value = {**value, "command": redact_command([str(word) for word in value["command"]])}
        return {key: _commands_as_text(item) for key, item in value.items()}
    return [_commands_as_text(item) for item in value] if isinstance(value, list | tuple) else value


def _render(
    template: str, record: RunRecord, rendered_at: str, title: str, verdict: str, sentence: str, **more: Any
) -> str:
    journal = f"results/{record.folder.name}/journal.jsonl"
    text = (
        environment()
        .get_template(template)
        .render(
            record=record,
            title=title,
            verdict=verdict,
            sentence=sentence,
            rendered_at=rendered_at,
            journal=journal,
            MISSING=MISSING,
            **more,
        )
    )
    return text.rstrip() + "\n"


def _data(kind: str, record: RunRecord, verdict: str, sentence: str, **more: Any) -> dict[str, Any]:
    head = {"schema": SCHEMA, "kind": kind, "run": record.run, "timestamp": record.timestamp}
    return {**head, "verdict": verdict, "sentence": sentence, **more}


def requirement_counts(record: RunRecord) -> str:
    """Return the number of requirements per verdict, worst first: `2 NOT-RUN, 57 PASS.`"""
    counts = Counter(row.verdict for row in record.requirements())
    order = ("FAIL", "INVALID", "DEGRADED", "NOT-RUN", "PASS")
    return ", ".join(f"{counts[name]} {name}" for name in order if counts[name]) + "."


def _main_report(record: RunRecord, rendered_at: str) -> tuple[str, dict[str, Any]]:
    verdict, sentence = record.verdict()
    tables: dict[str, Any] = {
        "requirements": record.requirements(),
        "attempts": [views.attempt_row(attempt) for attempt in record.attempts],
        "chunks": [views.chunk_row(chunk) for chunk in record.chunks],
        "changes": retrospective.changes(record),
        "checkpoints": views.checkpoint_rows(record),
        "timeline": views.timeline(record),
        "settings": views.setting_rows(record),
        "thresholds": views.threshold_rows(record),
        "notes": (record.settings or {}).get("notes") or [],
        "environment": views.environment_rows(record),
        "checkout": checkout_views.checkout_facts(record),
        "limits": checkout_views.checkout_limits(record),
        "readings": checkout_views.checkout_readings(record),
        "gates": checkout_views.gate_rows(record),
        "disagreements": checkout_views.disagreements(record),
    }
    last = record.last_attempt.verdict if record.last_attempt and record.last_attempt.verdict else {}
    effective = effective_time(record.events)
    text = _render(
        "train_to_inference.md.j2",
        record,
        rendered_at,
        "From training to inference",
        record.word(),
        sentence,
        counts=requirement_counts(record),
        effective=effective_time_text(effective),
        evidence_of=evidence_of,
        facts=gate_views.gate_facts(record),
        required=gate_views.required(record),
        custom=gate_views.custom_rows(record),
        beyond=views.beyond_the_gate(record),
        binding=gate_views.binding_rows(record),
        conditions=last.get("conditions") or [],
        steps=gate_views.step_table(record.measures),
        command=redact_command([str(word) for word in record.started.get("command") or []]),
        files=[(key, name) for key, name in report_names(record).items() if key != "A1"],
        **tables,
    )
    rows = [{**asdict(row), "evidence": evidence_of(row, record)} for row in tables["requirements"]]
    plain = {**tables, "requirements": rows}
    plain["changes"] = [asdict(row) for row in tables["changes"]]
    if last.get("custom_metrics"):
        plain["custom_metrics"] = last["custom_metrics"]
    data = _data(
        "train-to-inference-report",
        record,
        verdict,
        sentence,
        status=record.status,
        started=record.started,
        dataset=record.dataset,
        measures=record.measures,
        max_mse=record.max_mse,
        degraded=record.degraded_stages,
        finished=record.finished,
        effective_training_time=None if effective is None else {**asdict(effective), "share": effective.share},
        **plain,
    )
    return text, data


def _evidence_verdict(event: dict[str, Any] | None, what: str) -> tuple[str, str]:
    if event is None:
        return "NOT-RUN", f"The run ended before {what}."
    verdict = str(event.get("verdict"))
    return (verdict if verdict in VERDICTS else "INVALID"), str(event.get("reason"))


def _lost_file(event: dict[str, Any] | None, data: dict[str, Any] | None, verdict: str, reason: str) -> tuple[str, str]:
    if event is None or data is not None or not event.get("json"):
        return verdict, reason
    return (
        "INVALID",
        f"The file {event['json']} of the journal cannot be read. Its recorded verdict was {verdict}: {reason}",
    )


def _git_report(record: RunRecord, rendered_at: str) -> tuple[str, dict[str, Any]]:
    data = read_named_json(record, record.git, GIT_KEYS)
    verdict, reason = _lost_file(record.git, data, *_evidence_verdict(record.git, "its git history was audited"))
    mode = (data or {}).get("mode", "strict")
    title = f"ZELDA evidence in the git history of {audit_year(record)}"
    more = {"data": data, "meaning": AUDIT_MODES.get(str(mode), "unknown")}
    text = _render("git_evidence.md.j2", record, rendered_at, title, verdict, reason, **more)
    return text, {**(data or {}), **_data("git-evidence", record, verdict, reason)}


def _analysis_report(record: RunRecord, rendered_at: str) -> tuple[str, dict[str, Any]]:
    data = read_named_json(record, record.wandb, ANALYSIS_KEYS)
    verdict, reason = _lost_file(record.wandb, data, *_evidence_verdict(record.wandb, "its stages were analysed"))
    title = "Analysis of the stages' metrics"
    text = _render("wandb_analysis.md.j2", record, rendered_at, title, verdict, reason, data=data)
    return text, data or _data("wandb-analysis", record, verdict, reason)


def _retrospective(record: RunRecord, rendered_at: str) -> tuple[str, dict[str, Any]]:
    verdict, sentence = record.verdict()
    batches: dict[str, list[Any]] = {}
    for chunk in record.chunks:
        values = batches.setdefault(chunk.stage, [])
        if not values or values[-1] != chunk.started.get("effective_batch"):
            values.append(chunk.started.get("effective_batch"))
    parts: dict[str, Any] = {
        "happened": retrospective.happened(record),
        "changes": retrospective.changes(record),
        "batches": batches,
        "next_steps": retrospective.next_steps(record),
        "risks": retrospective.risks(record),
    }
    drawn = [(one.name, path) for one in record.attempts if (path := views.attempt_row(one)["verdict_picture"])]
    text = _render(
        "retrospective.md.j2",
        record,
        rendered_at,
        "Retrospective of the run",
        record.word(),
        sentence,
        verdict_pictures=drawn,
        **parts,
    )
    plain = {**parts, "changes": [asdict(row) for row in parts["changes"]]}
    return text, _data("train-to-inference-retrospective", record, verdict, sentence, **plain)


def _training_loop(record: RunRecord, rendered_at: str) -> tuple[str, dict[str, Any]]:
    verdict, sentence = training_verdict(record)
    rows = [views.chunk_row(chunk) for chunk in record.chunks]
    more = {"chunks": rows, "effective": effective_time_text(effective_time(record.events))}
    text = _render("training_loop.md.j2", record, rendered_at, "The training loop", verdict, sentence, **more)
    return text, _data("auto-training-loop-report", record, verdict, sentence, chunks=rows)


def training_verdict(record: RunRecord) -> tuple[str, str]:
    """Return the verdict on training alone: every stage that started must have passed."""
    started = list(dict.fromkeys(chunk.stage for chunk in record.chunks))
    if not started:
        return "NOT-RUN", "No stage was trained in this run."
    open_stages = [stage for stage in started if stage not in record.stages]
    if open_stages:
        return "INVALID", f"Training did not complete for {', '.join(open_stages)}."
    bad = [stage for stage in started if record.stages[stage].get("verdict") not in ("PASS", "DEGRADED")]
    if bad:
        reasons = "; ".join(f"{stage}: {record.stages[stage].get('reason')}" for stage in bad)
        return "FAIL", f"Not every stage passed. {reasons}"
    if record.degraded_stages:
        return "DEGRADED", f"All stages passed, but {', '.join(record.degraded_stages)} fell to a batch of 1 per GPU."
    gates = f"{len(started)} stage(s) in {len(record.chunks)} chunk(s) passed their gates."
    return "PASS", f"{gates} The train-to-inference report has the verdict on the model."
