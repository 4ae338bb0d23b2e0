"""Findings on the reports of a run: L9, L10, A1–A8 and H4, from the journal and the files that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.findings.base import BY_CHOICE, Events, Finding, MissingFactError, follows, no_occasion, not_run
from tinyworlds_gate.findings.preparation import git_history
from tinyworlds_gate.findings.training import stage_gate
from tinyworlds_gate.names import FAIL, NOT_RUN, PASS, STAGES
from tinyworlds_gate.reports.artifact_names import report_paths
from tinyworlds_gate.reports.missing import missing_reports
from tinyworlds_gate.reports.model import build_record
from tinyworlds_gate.reports.page_check import expected_pictures, page_problem
from tinyworlds_gate.run.journal import events_of, last_event
from tinyworlds_gate.run.layout import RunLayout

TEXTS = ("A1", "A2", "A3", "A5", "A6")
REQUIRED = ("A1", "A5", "A2", "A3")
"""H4: the train-to-inference report, the retrospective, the git evidence and the analysis of the metrics."""


@dataclass(frozen=True)
class RunFiles:
    """Where the files of a run are: its project, its folder there, and the HTML page."""

    project_root: Path
    folder: Path
    page: Path | None = None
    """None: the one that the journal names."""
    page_expected: bool = True
    """False where pytest-html is switched off."""

    @property
    def layout(self) -> RunLayout:
        return RunLayout(self.project_root, self.folder.name)


def metric_analysis(events: Events) -> Finding:
    """L9: the recorded result of the analysis of the stages' metrics."""
    last = last_event(events, "wandb_analysis")
    if last is None:
        return not_run("L9", "the metrics were not analysed: the run stopped earlier")
    found = Finding("L9", last["verdict"], last["reason"], last.get("json"))
    failed = [row for stage in STAGES if (row := stage_gate(events, stage)).is_broken]
    # A stage that failed may have broken off before its history was whole.
    return follows("L9", failed[0], found.reason, found.evidence) if found.is_broken and failed else found


def plots(events: Events, files: RunFiles) -> Finding:
    """A4: every plot that the analysis drew exists."""
    last = last_event(events, "wandb_analysis")
    if last is None:
        return not_run("A4", "the metrics were not analysed: the run stopped earlier")
    drawn = [str(path) for path in last.get("plots") or []]
    absent = [path for path in drawn if not (files.project_root / path).is_file()]
    if absent:
        return Finding("A4", FAIL, f"missing plots: {', '.join(absent)}")
    l9 = metric_analysis(events)
    if not drawn:
        return follows("A4", l9) if l9.is_broken else Finding("A4", _or_fail(l9.verdict), f"no plot: {last['reason']}")
    folder = Path(drawn[0]).parent.as_posix()
    return Finding("A4", PASS, f"{len(drawn)} plot(s) in {folder}", folder)


def _or_fail(verdict: str) -> str:
    """An analysis that passed has plots."""
    return FAIL if verdict == PASS else verdict


def artifacts(events: Events, files: RunFiles) -> list[Finding]:
    """A1–A3, A5–A7: each report exists and is about this run; L10 and H4: all of them do."""
    record = build_record(files.project_root, files.folder, list(events))
    missing: dict[str, list[str]] = {}
    for id, path, reason in missing_reports(files.project_root, files.folder, record=record):
        missing.setdefault(id, []).append(f"{files.layout.relative(path)}: {reason}")
    paths = {id: files.layout.relative(path) for id, path in report_paths(record).items()}
    causes = {"A2": git_history(events), "A3": metric_analysis(events)}
    rows = {id: _report(id, paths[id], missing, causes.get(id)) for id in TEXTS}
    rows["A4"] = plots(events, files)
    rows["A7"] = _picture(events, missing)
    return [
        *(rows[id] for id in (*TEXTS, "A7")),
        _all_of("L10", {id: rows[id] for id in (*TEXTS, "A4")}, missing, "docs/action"),
        _all_of("H4", {id: rows[id] for id in REQUIRED}, missing, paths["A1"]),
    ]


def _report(id: str, path: str, missing: Mapping[str, list[str]], cause: Finding | None) -> Finding:
    if cause is not None and cause.verdict == NOT_RUN and (id == "A3" or id in missing):
        return Finding(id, NOT_RUN, cause.reason)
    if id not in missing:
        return Finding(id, PASS, f"{path} exists and is about this run", path)
    reason = "; ".join(missing[id])
    return (
        follows(id, cause, reason, path) if cause is not None and cause.is_broken else Finding(id, FAIL, reason, path)
    )


def _picture(events: Events, missing: Mapping[str, list[str]]) -> Finding:
    if not events_of(events, "inference_started"):
        return not_run("A7", "inference was not run, so there is no picture of it")
    pictures = [event["picture"] for event in events_of(events, "inference_finished") if event.get("picture")]
    if "A7" in missing:
        return Finding("A7", FAIL, "; ".join(missing["A7"]))
    return Finding("A7", PASS, f"{pictures[-1]} is a whole PNG; {len(pictures)} picture(s) in all", pictures[-1])


def _all_of(id: str, rows: Mapping[str, Finding], missing: Mapping[str, list[str]], evidence: str) -> Finding:
    """Return FAIL when a report is missing or was not made; a cause that is broken itself is named."""
    broken = [one for one in rows.values() if one.is_broken]
    if broken:
        first = broken[0]
        cause = first.follows_from or first.id
        summary = "; ".join(f"{one.id}: {one.reason}" for one in broken)
        return Finding(id, FAIL, f"follows from {cause}: {summary}", follows_from=cause)
    absent = [one for one in rows.values() if one.verdict == NOT_RUN]
    switched_off = [one for one in absent if "switched off" in one.reason]
    if switched_off and id == "H4":
        return Finding(id, FAIL, "; ".join(f"{one.id}: {one.reason}" for one in switched_off))
    unmade = [one for one in absent if one.id in missing]
    if unmade and not switched_off:
        return not_run(id, "; ".join(f"{one.id}: {one.reason}" for one in unmade))
    exist = f"{', '.join(row for row, one in rows.items() if one.verdict == PASS)} exist"
    if absent and id == "H4":
        return no_occasion(id, "; ".join([*(f"{one.id}: {one.reason}" for one in absent), exist]))
    return Finding(id, PASS, exist, evidence)


def html_page(events: Events, files: RunFiles) -> Finding:
    """A8: the HTML page is there, opens, loads nothing, and embeds the pictures of the last attempt.

    Raises:
        MissingFactError: the journal names no page, and none is given.
    """
    if not files.page_expected:
        return not_run("A8", f"{BY_CHOICE} (-p no:html): pytest-html is switched off")
    named = last_event(events, "report_written", id="A8")
    page = files.page or (files.project_root / named["path"] if named else None)
    if page is None:
        raise MissingFactError("the path of the HTML page")
    record = build_record(files.project_root, files.folder, list(events))
    shown = files.layout.relative(page)
    problem = page_problem(record, page)
    if problem is not None:
        return Finding("A8", FAIL, f"{shown}: {problem}")
    pictures = len(expected_pictures(record))
    return Finding(
        "A8", PASS, f"{shown} opens, loads nothing and embeds {pictures} picture(s) of the last attempt", shown
    )
