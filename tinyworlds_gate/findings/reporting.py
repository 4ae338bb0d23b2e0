"""The reports of a run: L9, L10, A1–A7 and H4."""

from __future__ import annotations

from pathlib import Path

from tinyworlds_gate.findings.base import FAIL, PASS, Events, Finding, not_run, of
from tinyworlds_gate.reports.artifact_names import report_paths
from tinyworlds_gate.reports.missing import missing_reports
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.run.layout import RunLayout

TEXTS = ("A1", "A2", "A5", "A6")


def metric_analysis(events: Events, project_root: Path) -> list[Finding]:
    """L9, A3, A4: the stages' metrics were analysed, and the analysis and its plots are there."""
    analysed = of(events, "wandb_analysis")
    if not analysed:
        return [not_run(id, "the metrics were not analysed: the run stopped earlier") for id in ("L9", "A3", "A4")]
    last = analysed[-1]
    plots = [project_root / path for path in last.get("plots") or []]
    absent = [path.name for path in plots if not path.exists()]
    evidence = last.get("json")
    a4 = (
        Finding("A4", FAIL, f"the plots {', '.join(absent)} are not there")
        if absent
        else Finding("A4", PASS if plots else last["verdict"], f"{len(plots)} plot(s)" if plots else last["reason"])
    )
    return [
        Finding("L9", last["verdict"], last["reason"], evidence),
        Finding("A3", last["verdict"], last["reason"], evidence),
        a4,
    ]


def artifacts(layout: RunLayout) -> list[Finding]:
    """A1, A2, A5, A6, A7 and, with all of them, L10 and H4."""
    missing = missing_reports(layout.project_root, layout.root)
    by_id: dict[str, list[str]] = {}
    for id, path, reason in missing:
        by_id.setdefault(id, []).append(f"{layout.relative(path)}: {reason}")
    paths = report_paths(load_record(layout.project_root, layout.root))
    findings = [_one(id, by_id, layout.relative(paths[id])) for id in TEXTS]
    findings.append(_one("A7", by_id, layout.relative(layout.inference_results)))
    told = "; ".join(f"{id} {reasons[0]}" for id, reasons in by_id.items())
    whole = [
        Finding(id, FAIL, f"missing: {told}") if by_id else Finding(id, PASS, "all reports of this run are there")
        for id in ("L10", "H4")
    ]
    return findings + whole


def _one(id: str, missing: dict[str, list[str]], path: str) -> Finding:
    return (
        Finding(id, FAIL, "; ".join(missing[id]), path)
        if id in missing
        else Finding(id, PASS, f"{path} is there", path)
    )
