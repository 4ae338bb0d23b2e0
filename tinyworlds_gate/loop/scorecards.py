"""The scorecards of a finished run: those written beside its measures, or measured again from its files."""

from __future__ import annotations

from pathlib import Path

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.scorecard import METRIC_VERSION, Scorecard, read_scorecard, scorecard_path
from tinyworlds_gate.loop.attempt_again import AttemptAgain
from tinyworlds_gate.names import INVALID
from tinyworlds_gate.reports.model import Attempt, RunRecord, load_record
from tinyworlds_gate.run.layout import project_of_run


def scorecards_of_folder(folder: Path) -> list[Scorecard]:
    """Return the scorecards of `results/<run>`; raises GateError as :func:`scorecards_of_run` does."""
    place = folder.resolve()
    return scorecards_of_run(load_record(project_of_run(place, folder), place))


def scorecards_of_run(record: RunRecord) -> list[Scorecard]:
    """Return a scorecard for each draw on which the run's last weights were judged, the final one first.

    Raises:
        GateError: no gate verdict, an INVALID one, a scorecard that was changed, or files that are gone.
    """
    if record.journal is not None and record.journal.problem is not None:
        raise GateError(f"{record.run}: {record.journal.problem}, so its numbers are no evidence.")
    judged = [one for one in record.attempts if one.verdict is not None and one.finished is not None]
    if not judged:
        raise GateError(f"{record.run} has no verdict of the inference gate, so there is nothing to compare.")
    last = [one for one in judged if one.number == judged[-1].number]
    return [scorecard_of_attempt(record, one) for one in sorted(last, key=lambda one: -one.draw)]


def scorecard_of_attempt(record: RunRecord, attempt: Attempt) -> Scorecard:
    """Return the scorecard of an attempt; raises GateError as :func:`scorecards_of_run` does."""
    verdict, finished = attempt.verdict or {}, attempt.finished or {}
    if verdict.get("verdict") == INVALID:
        raise GateError(f"{record.run}: the verdict of {attempt.name} is INVALID, so its numbers are no evidence.")
    measures = finished.get("measures_file")
    if measures is None:
        raise GateError(f"{record.run}: {attempt.name} left no measures, so there is nothing to compare.")
    path = scorecard_path(Path(str(measures)))
    bound = ((verdict.get("binding") or {}).get("evidence") or {}).get(str(path))
    if bound is None:
        return measured_again(record, attempt)
    there = record.project_root / path
    if not there.is_file():
        raise GateError(f"{record.run}: the scorecard {path.name} of {attempt.name} is gone; take another run.")
    if sha256_of(there) != bound:
        raise GateError(
            f"{record.run}: the scorecard {path.name} was changed after the verdict of {attempt.name} (another "
            "SHA-256), so it is no evidence; restore it, or take another run."
        )
    card = read_scorecard(there)
    return card if card.metric_version == METRIC_VERSION else measured_again(record, attempt)


def measured_again(record: RunRecord, attempt: Attempt) -> Scorecard:
    """Return the scorecard that the files of an attempt give now, with the run's own copy of its settings."""
    copy = record.folder / "configs"
    own = str(copy) if (copy / "profile.yaml").is_file() else None
    again = AttemptAgain(record, attempt, attempt.verdict or {}, attempt.finished or {}, (), profile=own)
    return again.scorecard()
