"""Finished runs with everything that `tinyworlds-gate keep` copies: reports, page, plots, pictures, settings."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from tests.helpers.journal_samples import STAMP, SampleRun, write_picture
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.reports.model import RunRecord, load_record
from tinyworlds_gate.reports.page import summary_html
from tinyworlds_gate.reports.render import write_reports

PAGE = f"docs/action/validation-{STAMP}.html"
SETTINGS_FILES = ("profile.yaml", "training.yaml")
MEASURED: dict[str, Any] = {
    "strict_mse": 0.0187,
    "teacher_forced_mse": 0.0126,
    "displacement_information": 0.62,
    "memory_sharp_mse": 0.0123,
    "memory_hedged_mse": 0.0081,
}


def prepare_run(root: Path, run: str = "longrun_sample", **started: Any) -> SampleRun:
    """Create a prepared run of the profile longrun with seed 3, with its copy of the settings."""
    sample = SampleRun(root, run, **{"profile": "longrun", "kind": "longrun", "seed": 3, **started}).prepare()
    for name in SETTINGS_FILES:
        path = sample.folder / "configs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"name: {name}\n", encoding="utf-8")
    settings = next(event for event in sample.events if event["event"] == "settings_resolved")
    fields = {key: value for key, value in settings.items() if key not in ("seq", "time", "event")}
    sample.add("settings_resolved", **{**fields, "files": {name: "e" * 64 for name in SETTINGS_FILES}})
    return sample


def add_picture(run: SampleRun, attempt: int = 1, draw: int = 1) -> SampleRun:
    """Add the picture of a verdict and its film strip."""
    picture = f"inference_results/gate_verdict_{attempt:02d}_{draw}_{run.run}.png"
    write_picture(run.root / picture)
    strip = f"inference_results/film_strip_{attempt:02d}_{draw}_{run.run}.png"
    write_picture(run.root / strip)
    run.add("verdict_picture", attempt=attempt, draw=draw, picture=picture, film_strip=strip, left_out=[], problem=None)
    return run


def finish_run(run: SampleRun, status: str = "passed") -> SampleRun:
    """End a run; write its reports and its page."""
    run.finish(status)
    for id, path in write_reports(run.root, run.folder).items():
        run.add("report_written", id=id, path=path.relative_to(run.root).as_posix())
    page = run.root / PAGE
    fragments = "".join(summary_html(record_of(run), page.parent))
    page.write_text(f"<html><title>{run.run}</title>{fragments}</html>", encoding="utf-8")
    run.add("report_written", id="A8", path=PAGE)
    return run


def finished_run(root: Path, run: str = "longrun_sample", **started: Any) -> SampleRun:
    """Create a run that passed at the first attempt, with its reports."""
    return finish_run(add_picture(prepare_run(root, run, **started).train().infer(1, 0.0187, **MEASURED).evidence()))


def record_of(run: SampleRun) -> RunRecord:
    return load_record(run.root, run.folder)


def keep(run: SampleRun, *words: str | Path) -> tuple[int, str, str]:
    """Run `tinyworlds-gate keep results/<run>` in the run's project; return exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["keep", f"results/{run.run}", "--project-root", str(run.root), *map(str, words)])
    return code, out.getvalue(), err.getvalue()
