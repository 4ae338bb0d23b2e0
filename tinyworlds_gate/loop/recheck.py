"""Check whether the verdict of a run still holds for the files on the disk; nothing is run, everything is read again.

Read are the journal with its hash chain, the three checkpoints, the frames file, the settings files, the files that the
inference run left, the code and the versions. What the verdict is bound to (`gate/binding.py`) must be the same, and
its files must give the same verdict again. `keep`, `report` and a resumed run judge again with the run's own copy of
the settings.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.binding import GONE, OLDER
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.gate.verdict_words import without_word
from tinyworlds_gate.loop.attempt_again import AttemptAgain, look_again
from tinyworlds_gate.loop.baseline import contradicted_comparison
from tinyworlds_gate.names import DEGRADED, INVALID, PASS
from tinyworlds_gate.reports.model import Attempt, RunRecord, load_record
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.run.layout import project_of_run
from tinyworlds_gate.targets.base import Target

UNENDED = ("interrupted", "unfinished")
HEAD_GONE = "journal.head is gone, so that nothing shows whether the end of the journal is complete"
CHECKS = ("chain", "binding", "evidence", "files")
"""What `verdict_now` can leave out."""


@dataclass(frozen=True)
class VerdictNow:
    """The recorded verdict of a run, and why it does not hold any more (``changes`` is empty when it does)."""

    run: str
    verdict: str
    sentence: str
    attempt: str | None
    changes: list[str]
    binding: Mapping[str, Any] | None

    @property
    def holds(self) -> bool:
        """Whether the verdict holds for the files on the disk."""
        return not self.changes

    @property
    def now(self) -> str:
        """The verdict on the files on the disk: the recorded one where it holds, else INVALID."""
        return self.verdict if self.holds else INVALID

    @property
    def passed(self) -> bool:
        """Whether it holds and is a pass."""
        return self.now in (PASS, DEGRADED)


def verdict_now(run_folder: Path, *, without: Container[str] = (), custom: Sequence[ClipMetric] = ()) -> VerdictNow:
    """Look at a run again.

    ``custom`` are the conditions that the run's conftest.py added; one that is missing here is named in ``changes``.

    ``without`` leaves out what is named: ``chain`` (the journal's hash chain), ``binding`` (what the verdict is bound
    to), ``evidence`` (the SHA-256 of its files) or ``files`` (what they say now). The product leaves out nothing: it
    shows what each is worth (docs/gate-power.md).

    Raises:
        GateError: the folder is no run, or its journal cannot be read.
    """
    folder = run_folder.resolve()
    record = load_record(project_of_run(folder, run_folder), folder)
    state, last = record.journal, record.last_attempt
    record.journal = None  # whose verdict is the recorded one
    verdict, sentence = record.verdict()
    name, binding = (None, None) if last is None else (last.name, (last.verdict or {}).get("binding"))

    def found(*changes: str) -> VerdictNow:
        return VerdictNow(record.run, verdict, sentence, name, list(changes), binding)

    if state is not None and "chain" not in without and (problem := state.problem or state.head_missing):
        return found(problem if isinstance(problem, str) else HEAD_GONE)
    if last is None or last.verdict is None or last.finished is None:
        return found("the journal holds no verdict of the gate")
    if record.status in UNENDED:
        return found(f"the run did not come to its end: {sentence}")
    now = AttemptAgain(record, last, last.verdict, last.finished, custom).look()
    said_otherwise = [*now.contradictions, *_stated_otherwise(record, last.verdict), *_earlier(record, last, custom)]
    said_otherwise += contradicted_comparison(record)
    return found(
        *([] if "binding" in without else now.changed),
        *([] if "evidence" in without else now.evidence),
        *([] if "files" in without else [*now.missing, *said_otherwise]),
    )


@dataclass(frozen=True)
class JudgedAgain:
    """The files of a run's last verdict, judged again: what contradicts it, and why they could not be judged."""

    contradictions: list[str] = field(default_factory=list)
    not_judged: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Conditions of the project's conftest.py, which were not computed again."""

    @property
    def disputed(self) -> str | None:
        """What the files say against the recorded verdict, as a sentence; None: nothing."""
        if not self.contradictions:
            return None
        return f"The recorded verdict does not hold for the files of the run: {'; '.join(self.contradictions)}."

    @property
    def unconfirmed(self) -> str | None:
        """What was not judged again, as a sentence; None: everything was, or something contradicts the verdict."""
        if self.contradictions or not (self.not_judged or self.left_out):
            return None
        if self.not_judged:
            return f"The verdict is the recorded one; its files were not judged again: {'; '.join(self.not_judged)}."
        return f"Conditions of the project's conftest.py were not judged again: {', '.join(self.left_out)}."


def judged_again(record: RunRecord, custom: Sequence[ClipMetric] = ()) -> JudgedAgain:
    """Judge the files of a run's last verdict again, with the run's own copy of its settings.

    Another state of the code, or other settings of the project, contradict no recorded verdict; under other code, the
    conditions and numbers that both versions know are compared.
    """
    last = record.last_attempt
    if last is None or last.verdict is None or last.finished is None:
        return JudgedAgain(not_judged=["the journal holds no verdict of the gate"])
    if last.verdict.get("binding") is None:
        return JudgedAgain(not_judged=["an older version took the verdict, and does not say what it depends on"])
    if record.status in UNENDED:
        return JudgedAgain(not_judged=["the run did not come to its end"])
    own = str(record.folder / "configs")
    if not (record.folder / "configs" / "profile.yaml").is_file():
        return JudgedAgain(_stated_otherwise(record, last.verdict), ["the run's copy of its settings is not there"])
    again = AttemptAgain(record, last, last.verdict, last.finished, custom, profile=own)
    now = again.look(any_code=True)
    changed = [one for one in (*now.changed, *now.evidence) if one != OLDER]
    missing = [*now.missing, *(one for one in changed if one.endswith(GONE))]
    contradictions = [one for one in changed if not one.endswith(GONE)]
    contradictions += [] if missing else now.contradictions
    left_out = sorted(again.other_custom())
    contradictions += [*_stated_otherwise(record, last.verdict), *_earlier(record, last, custom, profile=own)]
    contradictions += contradicted_comparison(record)
    return JudgedAgain(contradictions, missing, left_out)


def require_unedited_verdicts(
    record: RunRecord, settings: Settings, target: Target | None, custom: Sequence[ClipMetric] = ()
) -> None:
    """Refuse a run whose journal has another verdict than its files give, although nothing else has changed.

    A verdict that was taken in another state, or whose files are gone, is not judged; the newest one is taken again.

    Raises:
        GateError: a verdict was edited.
    """
    for attempt in record.attempts:
        now = look_again(record, attempt, settings, target, custom)
        if now is not None and now.contradictions and not (now.changed or now.evidence or now.missing):
            raise GateError(
                f"--resume-run {record.folder.name}: the journal has another verdict for {attempt.name} than its files "
                f"give, so it was edited ({'; '.join(now.contradictions)}). Restore the journal from a copy or start a "
                "new run."
            )


def _earlier(
    record: RunRecord, last: Attempt, custom: Sequence[ClipMetric], *, profile: str | None = None
) -> list[str]:
    """How the files of earlier attempts contradict their verdicts, where nothing else of these attempts has changed."""
    clauses: list[str] = []
    for attempt in record.attempts:
        if attempt is last or attempt.verdict is None or attempt.finished is None:
            continue
        now = AttemptAgain(record, attempt, attempt.verdict, attempt.finished, custom, profile=profile).look(
            any_code=True
        )
        clauses += [] if now.changed or now.evidence or now.missing else now.contradictions
    return clauses


def _stated_otherwise(record: RunRecord, verdict: Event) -> list[str]:
    """Whether the sentence of a run that passed is another than that of its gate's verdict."""
    finished = record.finished
    if finished is None or finished.get("status") not in ("passed", "degraded"):
        return []
    gate = without_word(str(verdict.get("sentence")))
    if gate.lower() in str(finished.get("sentence")).lower():
        return []
    return [f"the sentence of run_finished is not that of the gate's verdict, which says: {gate}"]
