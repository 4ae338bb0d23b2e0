"""Which files of a run are kept, and under which names (pure: nothing is looked at on the disk)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from tinyworlds_gate.config.profile_files import SETTINGS_FILES
from tinyworlds_gate.config.run_copy import CHECKOUT_CONFIGS
from tinyworlds_gate.names import EVALUATION, FINAL
from tinyworlds_gate.reports.artifact_names import report_names
from tinyworlds_gate.reports.model import Attempt, RunRecord
from tinyworlds_gate.run.journal import events_of, last_event

REPORTS, PLOTS, PICTURES, HISTORY, SETTINGS = "reports", "plots", "pictures", "history", "settings"
JOURNAL = "journal.jsonl"
WHAT = {
    "A1": "train-to-inference report",
    "A2": "git evidence",
    "A3": "analysis of the stages' metrics",
    "A5": "retrospective",
    "A6": "training-loop report",
}


@dataclass(frozen=True)
class Wanted:
    """One file: what it is, where the run left it (in the project; None: nowhere), and its name when it is kept."""

    what: str
    source: str | None
    name: str


def wanted_files(record: RunRecord) -> list[Wanted]:
    """Everything that belongs to a kept run, each source once."""
    found: dict[str, Wanted] = {}
    for one in [*_reports(record), *_pictures(record), *_histories(record), *_settings(record), _journal(record)]:
        found.setdefault(one.source or f"none: {one.what}", one)
    return list(found.values())


def _reports(record: RunRecord) -> Iterator[Wanted]:
    page = (last_event(record.events, "report_written", id="A8") or {}).get("path")
    yield _wanted("the page (A8), open this first", page, REPORTS)
    names = report_names(record)
    for key, what in WHAT.items():
        source = PurePosixPath("docs/action") / names[key]
        yield _wanted(f"{what} ({key})", str(source), REPORTS)
        yield _wanted(f"{what} ({key}), for programs", str(source.with_suffix(".json")), REPORTS)
    plots = (record.wandb or {}).get("plots") or []
    for plot in plots:
        yield _wanted("plot of a stage's metrics (A4)", plot, PLOTS)
    if not plots:
        yield _wanted("plots of the stages' metrics (A4)", None, PLOTS)


def _pictures(record: RunRecord) -> Iterator[Wanted]:
    """Of every attempt that was judged: a page or a report that tells of it shows it."""
    for attempt in judged_attempts(record):
        drawn, done = attempt.drawn or {}, attempt.finished or {}
        yield _wanted(f"{attempt.name}: the verdict in one picture, with film strips", drawn.get("picture"), PICTURES)
        if drawn.get("film_strip"):
            yield _wanted(f"{attempt.name}: the median clip as a film strip", drawn["film_strip"], PICTURES)
        yield _wanted(f"{attempt.name}: true, predicted and error, as inference drew it", done.get("picture"), PICTURES)
    for event in events_of(record.events, "target_inference_finished"):
        told = f"attempt {event.get('attempt')}: drawn by the checkout's own inference"
        yield _wanted(told, event.get("picture"), PICTURES)


def _histories(record: RunRecord) -> Iterator[Wanted]:
    for chunk in record.chunks:
        history = (chunk.finished or {}).get("history")
        if history:
            yield _wanted(f"history of {chunk.stage}, a row a logged update", history, HISTORY)


def _settings(record: RunRecord) -> Iterator[Wanted]:
    """The run's own copies; of a run on a checkout the profile that it was started with, and the checkout's files."""
    files = sorted((record.settings or {}).get("files") or {})
    copies = f"results/{record.folder.name}/configs"
    on_checkout = str(record.started.get("target")).startswith("tinyworlds")
    for name in sorted(SETTINGS_FILES) if on_checkout else files:
        yield _wanted("settings as the run read them", f"{copies}/{name}", SETTINGS)
    for name in files if on_checkout else ():
        told, folder = "settings of the checkout as its stages read them", f"{SETTINGS}/{CHECKOUT_CONFIGS}"
        yield _wanted(told, f"{copies}/{CHECKOUT_CONFIGS}/{name}", folder)
    if not files:
        yield _wanted("the settings files of the run", None, SETTINGS)


def _journal(record: RunRecord) -> Wanted:
    return Wanted("everything that happened, in order", f"results/{record.folder.name}/journal.jsonl", JOURNAL)


def _wanted(what: str, source: object, folder: str) -> Wanted:
    if not isinstance(source, str) or not source:
        return Wanted(what, None, folder)
    return Wanted(what, source, f"{folder}/{PurePosixPath(source).name}")


# Which attempt a run's kept numbers are measured on (pure).

DRAW_WORDS = {EVALUATION: "the evaluation set", FINAL: "a second draw of held-out clips, which no attempt has seen"}


def judged_attempts(record: RunRecord) -> list[Attempt]:
    """Every attempt with a verdict, in order."""
    return [attempt for attempt in record.attempts if attempt.verdict is not None]


def kept_attempt(record: RunRecord) -> Attempt | None:
    """The final verdict of the last attempt: on the evaluation set, else on a second draw; else the attempt itself.

    A final verdict of an earlier attempt does not count: a later attempt was needed because it did not stand. None
    where nothing was judged.
    """
    judged = judged_attempts(record)
    last = [attempt for attempt in judged if attempt.number == max(one.number for one in judged)]
    return max(last, key=lambda attempt: attempt.draw, default=None)


def draw_told(attempt: Attempt) -> str:
    """Which clips, in words."""
    return DRAW_WORDS.get(attempt.draw, "the held-out clips of the attempts")
