"""One comment on a pull request, as GitHub's markdown: merge or not, why, the numbers, the film strips, the details.

`tinyworlds-gate report results/<run> --comment` prints it; `python -m tinyworlds_gate.github comment` posts it. It is
written from the journal and the project's files, escaped and redacted, and fits into GitHub's limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.names import NOT_RUN, PASS
from tinyworlds_gate.reports import comment_tables as tables
from tinyworlds_gate.reports import gate_views, retrospective
from tinyworlds_gate.reports.advice import LOOK, MERGE, STOP, Advice, advice_of, comparison_of
from tinyworlds_gate.reports.comment_markup import (
    MOST_CHARACTERS,
    Safe,
    comment_text,
    environment,
    length_of,
    one_line,
    picture_text,
)
from tinyworlds_gate.reports.missing import Missing
from tinyworlds_gate.reports.model import RunRecord
from tinyworlds_gate.reports.page import read_picture
from tinyworlds_gate.reports.render import requirement_counts
from tinyworlds_gate.reports.verdict_picture.captions import mse_text
from tinyworlds_gate.run.redact import redact_command

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MARKER = "tinyworlds-gate:comment"
SIZES = ((30, 600, 4000), (12, 300, 1000), (0, 80, 200))
"""Rows, characters of a text, characters of the command: the first that fits into a comment is used. The last fits
whatever a journal holds: escaping makes eight characters of one at most."""
MOST_LINES = 10


@dataclass(frozen=True)
class Strip:
    """A film strip. ``path``: PNG file of the project; None where there is none, with the reason in ``problem``."""

    what: str
    path: str | None
    problem: str | None = None


@dataclass(frozen=True)
class Around:
    """What the place of a comment adds to a run: addresses, and by what the comment is found again."""

    key: str = "tinyworlds-gate"
    order: tuple[int, int] | None = None
    """Number and attempt of the workflow's run: an older one does not replace a newer comment."""
    page_url: str | None = None
    evidence_url: str | None = None
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Path of a film strip → its checked address."""
    no_pictures: str = "a comment shows only pictures that have an address; name it with --picture-url"
    """Why there are none, as a part of a sentence."""
    commit: str | None = None
    note: str | None = None
    """What every reader of a run that others made must know, shown below the verdict; then nothing says `Merge`."""


def run_comment(record: RunRecord, around: Around, strips: Sequence[Strip], missing: Sequence[Missing] = ()) -> str:
    """Return the comment on a run.

    Args:
        strips: those of `film_strips`.
        missing: the result of `missing_reports`; missing evidence fails a run.
    """
    advice = advice_on(record, around, missing)
    for rows, letters, command in SIZES:
        text = _rendered(record, around, strips, missing, advice, rows, letters, command)
        if length_of(text) <= MOST_CHARACTERS:
            return text
    raise AssertionError("the smallest comment is bounded by construction")


def advice_on(record: RunRecord, around: Around, missing: Sequence[Missing] = ()) -> Advice:
    """Return whether to merge; arguments as for `run_comment`. Missing reports fail a run, whatever its verdict is."""
    advice = advice_of(record)
    if missing and advice.sign in (MERGE, LOOK):
        return Advice(STOP, f"INVALID, {len(missing)} of the reports are missing")
    if around.note is not None and advice.sign == MERGE:
        return Advice(LOOK, f"{advice.words}, as its own job states")
    return advice


def no_run_comment(reason: str, around: Around) -> str:
    """Return the comment of a job that started no run."""
    template = environment().get_template("comment_no_run.md.j2")
    return template.render(reason=one_line(reason, 600), around=around, marker=marker(around))


def marker(around: Around) -> Safe:
    """Return the hidden line by which the comment is found and updated."""
    order = "" if around.order is None else f" run={around.order[0]}.{around.order[1]}"
    return Safe(f"<!-- {MARKER} key={checked_key(around.key)}{order} -->")


def checked_key(key: str) -> str:
    """Return the key of a comment.

    Raises:
        GateError: it has other characters than a marker can hold.
    """
    if not KEY.fullmatch(key):
        raise GateError(
            f"The comment's key {key!r} is not usable: allowed are up to 64 letters, digits, '.', '_' and '-', "
            "starting with a letter or a digit. Use the name of the job."
        )
    return key


def marked(body: str, key: str) -> tuple[int, int] | None:
    """Return number and attempt of the run that wrote a comment with this key, (0, 0) if it names none; None: not ours.

    The marker is the comment's last line, where no text of a run can be.
    """
    last = body.rstrip().rpartition("\n")[2].strip()
    found = re.fullmatch(rf"<!-- {re.escape(MARKER)} key={re.escape(key)}(?: run=(\d{{1,12}})\.(\d{{1,6}}))? -->", last)
    return None if found is None else (int(found[1] or 0), int(found[2] or 0))


def film_strips(record: RunRecord, baseline_picture: str | None = None) -> list[Strip]:
    """Return the strip of the last verdict, and that of the baseline where the run was compared with one.

    Args:
        baseline_picture: PNG file of the project that shows the baseline; by default the one beside the baseline's
            file, with its name.
    """
    drawn = (record.last_attempt.drawn if record.last_attempt else None) or {}
    name = drawn.get("film_strip")
    strips = [] if record.last_attempt is None else [_strip(record, "this run", name, "the run drew none")]
    compared = comparison_of(record)
    if compared is None and baseline_picture is None:
        return strips
    beside = str(((compared or {}).get("baseline") or {}).get("path") or "")
    name = baseline_picture or (PurePosixPath(beside).with_suffix(".png").as_posix() if beside else None)
    why = f"commit its film strip as {name}" if name else "its film strip is not known"
    return [*strips, _strip(record, "the baseline", name, why)]


def _strip(record: RunRecord, what: str, name: object, why: str) -> Strip:
    if not name:
        return Strip(what, None, why)
    try:
        read_picture(record.project_root, str(name))
    except (FileNotFoundError, NotADirectoryError):
        return Strip(what, None, why if what != "this run" else "its file is no longer there")
    except OSError as error:
        return Strip(what, None, f"{name}: {error.strerror}")
    return Strip(what, str(name))


def addresses(strips: Sequence[Strip], prefix: str) -> dict[str, str]:
    """Return path → address of each strip below a checked address: the file's own name is appended."""
    paths = [strip.path for strip in strips if strip.path is not None]
    return {path: f"{prefix.rstrip('/')}/{quote(PurePosixPath(path).name)}" for path in paths}


def _rendered(
    record: RunRecord,
    around: Around,
    strips: Sequence[Strip],
    missing: Sequence[Missing],
    advice: Advice,
    most_rows: int,
    letters: int,
    command: int,
) -> str:
    compared, rows = comparison_of(record), tables.open_rows(record)
    argv = [str(word) for word in record.started.get("command") or []]
    last = record.last_attempt.verdict if record.last_attempt else None
    settings = tables.changed_settings(record)
    return (
        environment()
        .get_template("comment.md.j2")
        .render(
            record=record,
            around=around,
            advice=advice,
            why=one_line(_why(record, advice, compared), 1200),
            gate=one_line(record.verdict()[1], 1200) if compared is not None else None,
            effects=tables.effect_rows(compared),
            comparison=tables.comparison_note(compared),
            numbers=tables.number_rows(record),
            pictures=[_picture(record, strip, around) for strip in strips if strip.path in around.pictures],
            not_shown=_not_shown(strips, around, letters),
            broken=[row for row in rows if row.verdict != NOT_RUN],
            not_run=any(row.verdict == NOT_RUN for row in rows),
            counts=requirement_counts(record),
            missing=[(key, path.name, reason) for key, path, reason in missing[:MOST_LINES]],
            required=gate_views.required(record),
            weights=tables.weight_rows(record)[:MOST_LINES],
            bound=[row for row in tables.bound_rows(record) if row[1]][:MOST_LINES],
            settings=settings[:most_rows],
            command=one_line(redact_command(argv), command),
            next_steps=[] if advice.sign == MERGE else retrospective.next_steps(record)[:5],
            commit=around.commit or record.started.get("commit"),
            seconds=(record.finished or {}).get("seconds"),
            measured=tables.measured_on(record) if last is not None else None,
            most_rows=most_rows,
            cut=lambda text: text if isinstance(text, Safe) else one_line(text, letters),
            passed=PASS,
            marker=marker(around),
        )
        .strip()
        + "\n"
    )


def _why(record: RunRecord, advice: Advice, compared: Mapping[str, Any] | None) -> str:
    """Return the sentence that decides: the comparison's where it does, else the run's."""
    _, sentence = record.verdict()
    if compared is not None and "the baseline" in advice.words:
        reason = compared.get("reason")
        sentence = str(compared.get("sentence") or "The comparison has no sentence.")
        sentence = sentence.removeprefix(f"{compared.get('verdict')}: ")
        if reason and str(reason) not in sentence:
            sentence = f"{sentence} {reason}"
    return sentence[:1].upper() + sentence[1:]


def _picture(record: RunRecord, strip: Strip, around: Around) -> tuple[str, Safe]:
    """Return a heading and the picture; readers who do not see it read what it shows."""
    mse = record.measures.get("mse")
    error = f", mean squared error {mse_text(mse)}" if strip.what == "this run" else ""
    shown = f"Film strip of {strip.what}: true frames, generated frames and the error of each pixel{error}"
    return strip.what[:1].upper() + strip.what[1:], picture_text(shown, around.pictures[str(strip.path)])


def _not_shown(strips: Sequence[Strip], around: Around, letters: int) -> list[Safe]:
    """Return a sentence for each strip that has no address or no file, so that no picture is broken."""
    sentences = []
    for strip in strips:
        if strip.path is None:
            sentences.append(Safe(f"No film strip of {strip.what}: {comment_text(one_line(strip.problem, letters))}."))
        elif strip.path not in around.pictures:
            name = environment().from_string("{{ path | code }}").render(path=one_line(strip.path, 300))
            sentences.append(
                Safe(f"Film strip of {strip.what}: {name} in the evidence ({comment_text(around.no_pictures)}).")
            )
    return sentences
