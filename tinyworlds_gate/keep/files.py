"""List the files of a run to keep, and their names in the folder (pure: reads only the journal)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from tinyworlds_gate.config.profile_files import SETTINGS_FILES
from tinyworlds_gate.config.run_copy import CHECKOUT_CONFIGS
from tinyworlds_gate.gate.scorecard import SUFFIX
from tinyworlds_gate.names import EVALUATION, FINAL
from tinyworlds_gate.reports.artifact_names import report_names
from tinyworlds_gate.reports.model import Attempt, RunRecord
from tinyworlds_gate.run.journal import events_of, last_event

REPORTS, PLOTS, PICTURES, HISTORY, SETTINGS = "reports", "plots", "pictures", "history", "settings"
SCORECARDS = "scorecards"
JOURNAL = "journal.jsonl"
WHAT = {
    "A1": "train-to-inference report",
    "A2": "git evidence",
    "A3": "analysis of the stages' metrics",
    "A5": "retrospective",
    "A6": "training-loop report",
}
BEYOND = {"horizon": "long rollouts", "policies": "scripted policies in the model and in the game"}


@dataclass(frozen=True)
class SourceFile:
    """One file: description, path in the project (None: absent), and name in the folder."""

    what: str
    source: str | None
    name: str


def files_to_keep(record: RunRecord) -> list[SourceFile]:
    """Return all files of a run, each path once."""
    found: dict[str, SourceFile] = {}
    for one in [
        *_reports(record),
        *_pictures(record),
        *_histories(record),
        *_settings(record),
        *_scorecards(record),
        _journal(record),
    ]:
        found.setdefault(one.source or f"none: {one.what}", one)
    return list(found.values())


def _reports(record: RunRecord) -> Iterator[SourceFile]:
    page = (last_event(record.events, "report_written", id="A8") or {}).get("path")
    yield _source_file("the page (A8), open this first", page, REPORTS)
    names = report_names(record)
    for key, what in WHAT.items():
        source = PurePosixPath("docs/action") / names[key]
        yield _source_file(f"{what} ({key})", str(source), REPORTS)
        yield _source_file(f"{what} ({key}), for programs", str(source.with_suffix(".json")), REPORTS)
    plots = (record.wandb or {}).get("plots") or []
    for plot in plots:
        yield _source_file("plot of a stage's metrics (A4)", plot, PLOTS)
    if not plots:
        yield _source_file("plots of the stages' metrics (A4)", None, PLOTS)


def _pictures(record: RunRecord) -> Iterator[SourceFile]:
    """Yield the pictures of every judged attempt, which the page and the reports show."""
    for attempt in judged_attempts(record):
        drawn, done = attempt.drawn or {}, attempt.finished or {}
        yield _source_file(
            f"{attempt.name}: the verdict in one picture, with film strips", drawn.get("picture"), PICTURES
        )
        if drawn.get("film_strip"):
            yield _source_file(f"{attempt.name}: the median clip as a film strip", drawn["film_strip"], PICTURES)
        yield _source_file(
            f"{attempt.name}: true, predicted and error, as inference drew it", done.get("picture"), PICTURES
        )
    for event in events_of(record.events, "target_inference_finished"):
        what = f"attempt {event.get('attempt')}: drawn by the checkout's own inference"
        yield _source_file(what, event.get("picture"), PICTURES)
    for kind, what in BEYOND.items():
        beyond = last_event(record.events, "beyond_the_gate", kind=kind)
        if beyond is not None and beyond.get("problem") is None:
            yield _source_file(f"{what}, in one picture", beyond.get("picture"), PICTURES)
            yield _source_file(f"{what}, for programs", beyond.get("json"), REPORTS)


def _histories(record: RunRecord) -> Iterator[SourceFile]:
    for chunk in record.chunks:
        history = (chunk.finished or {}).get("history")
        if history:
            yield _source_file(f"history of {chunk.stage}, a row a logged update", history, HISTORY)


def _settings(record: RunRecord) -> Iterator[SourceFile]:
    """Yield the run's copies of its settings; for a run on a checkout, the profile's and the checkout's files."""
    files = sorted((record.settings or {}).get("files") or {})
    copies = f"results/{record.folder.name}/configs"
    on_checkout = str(record.started.get("target")).startswith("tinyworlds")
    for name in sorted(SETTINGS_FILES) if on_checkout else files:
        yield _source_file("settings as the run read them", f"{copies}/{name}", SETTINGS)
    for name in files if on_checkout else ():
        what, folder = "settings of the checkout as its stages read them", f"{SETTINGS}/{CHECKOUT_CONFIGS}"
        yield _source_file(what, f"{copies}/{CHECKOUT_CONFIGS}/{name}", folder)
    if not files:
        yield _source_file("the settings files of the run", None, SETTINGS)


def _scorecards(record: RunRecord) -> Iterator[SourceFile]:
    """Yield what was found of each clip, for `tinyworlds-gate compare`."""
    for attempt in judged_attempts(record):
        evidence = (((attempt.verdict or {}).get("binding") or {}).get("evidence")) or {}
        for path in sorted(evidence):
            if path.endswith(SUFFIX):
                yield _source_file(f"{attempt.name}: each clip's numbers, to compare with other runs", path, SCORECARDS)


def _journal(record: RunRecord) -> SourceFile:
    return SourceFile("everything that happened, in order", f"results/{record.folder.name}/journal.jsonl", JOURNAL)


def _source_file(what: str, source: object, folder: str) -> SourceFile:
    if not isinstance(source, str) or not source:
        return SourceFile(what, None, folder)
    return SourceFile(what, source, f"{folder}/{PurePosixPath(source).name}")


DRAW_NAMES = {EVALUATION: "the evaluation set", FINAL: "a second draw of held-out clips, which no attempt has seen"}


def judged_attempts(record: RunRecord) -> list[Attempt]:
    """Every attempt with a verdict, in order."""
    return [attempt for attempt in record.attempts if attempt.verdict is not None]


def kept_attempt(record: RunRecord) -> Attempt | None:
    """Return the attempt whose numbers are stored; None where nothing was judged.

    It is the final verdict of the last attempt (on the evaluation set, else on a second draw), else that attempt
    itself. A final verdict of an earlier attempt does not count: it did not pass, so there was a later attempt.
    """
    judged = judged_attempts(record)
    last = [attempt for attempt in judged if attempt.number == max(one.number for one in judged)]
    return max(last, key=lambda attempt: attempt.draw, default=None)


def draw_text(attempt: Attempt) -> str:
    """Describe the clips of an attempt."""
    return DRAW_NAMES.get(attempt.draw, "the held-out clips of the attempts")
