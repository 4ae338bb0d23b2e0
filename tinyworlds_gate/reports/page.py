"""HTML fragments of the page (A8): banner, numbers, verdict picture, attempts, chunks, pictures, plots, requirements.

`summary_html` returns the strings for pytest-html's results summary. jinja2 escapes everything from the journal, and
the pictures are embedded, so that the page is one file.
"""

from __future__ import annotations

import base64
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tinyworlds_gate.gate.verdict_words import LOOP_ONLY, OLDER_RULE
from tinyworlds_gate.reports import checkout_views, gate_views, retrospective, views
from tinyworlds_gate.reports.artifact_names import evidence_of, report_paths
from tinyworlds_gate.reports.glance import glance
from tinyworlds_gate.reports.markdown import MISSING, clean, clock, duration, number
from tinyworlds_gate.reports.model import Attempt, RunRecord
from tinyworlds_gate.reports.render import requirement_counts
from tinyworlds_gate.reports.verdict_picture.captions import mse_text
from tinyworlds_gate.run.owned import read_owned
from tinyworlds_gate.run.redact import redact_command

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PICTURE_BYTES = 1_500_000
MAX_ALL_PICTURES_BYTES = 6_000_000
"""Limits that keep the page under 10 MB (base64 adds a third); larger pictures are linked instead."""

WORST_FIRST = ("FAIL", "INVALID", "DEGRADED", "NOT-RUN")
FILES = {
    "A1": "train-to-inference report",
    "A2": "git evidence",
    "A3": "analysis of the stages' metrics",
    "A5": "retrospective",
    "A6": "training-loop report",
}
VERDICT_PHRASES = {
    "PASS": "passed",
    "FAIL": "failed",
    "DEGRADED": "passed, degraded",
    "INVALID": "has no valid result",
    "NOT-RUN": "did not take place",
}
LIMIT_PHRASES = {
    LOOP_ONLY: "checked the loop, not the model",
    OLDER_RULE: "passed a rule without G8",
}


def read_picture(root: Path, path: str) -> bytes:
    """Return the content of a PNG file below ``root``; of a file that is too large to embed, more than the limit.

    Raises:
        OSError: it is absent, outside ``root``, behind a link, or no PNG file. A journal may name any path.
    """
    content = read_owned(root, path, MAX_PICTURE_BYTES)
    if not content.startswith(PNG_SIGNATURE):
        raise OSError(errno.EINVAL, "it is no PNG image", path)
    return content


class Pictures:
    """Embed PNG files until the page's size budget is used up."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._left = MAX_ALL_PICTURES_BYTES

    def embed(self, path: str | None, caption: str) -> dict[str, Any]:
        """Return a figure: `data` is a data URI, or None with the reason in `why`."""
        shown: dict[str, Any] = {"caption": caption, "alt": caption, "data": None, "why": None, "path": path}
        if not path:
            return {**shown, "why": "no picture was recorded", "path": None}
        try:
            content = read_picture(self._root, path)
        except (FileNotFoundError, NotADirectoryError):
            return {**shown, "why": "the file is no longer there"}
        except OSError as error:
            return {**shown, "why": f"it is not embedded: {error.strerror}"}
        if len(content) > min(MAX_PICTURE_BYTES, self._left):
            return {**shown, "why": "too large to embed"}
        self._left -= len(content)
        data = Markup(f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}")
        return {**shown, "data": data}


@cache
def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("tinyworlds_gate.reports", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=lambda value: clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(num=number, duration=duration, clock=clock, mse=mse_text, two=_two_digits)
    return env


def _two_digits(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}".replace("-", "−")


def summary_html(record: RunRecord, page_dir: Path | None = None) -> list[str]:
    """Return the fragments in page order.

    Args:
        page_dir: the folder that the page is written to, for relative links (default: the project's folder).
    """
    base = (page_dir or record.project_root).resolve()
    drawn = [attempt for attempt in reversed(record.attempts) if attempt.drawn is not None]

    def href(path: str | Path | None) -> str:
        target = record.project_root.resolve() / str(path)
        return Path(os.path.relpath(target, base)).as_posix()

    pictures = Pictures(record.project_root)
    verdict, sentence = record.verdict()
    requirements = record.requirements()
    limit = record.limit if verdict == "PASS" else None
    context: dict[str, Any] = {
        "record": record,
        "href": href,
        "MISSING": MISSING,
        "verdict": verdict,
        "plain": LIMIT_PHRASES[limit] if limit else VERDICT_PHRASES[verdict],
        "word": record.word(),
        "tone": "DEGRADED" if verdict == "PASS" and (limit or record.not_strict) else verdict,
        "sentence": sentence,
        "glance": glance(record),
        "facts": gate_views.gate_facts(record),
        "required": gate_views.required(record),
        "custom": gate_views.custom_rows(record),
        "attempts": [views.attempt_row(attempt) for attempt in record.attempts],
        "gates": checkout_views.gate_rows(record),
        "disagreements": checkout_views.disagreements(record),
        "changes": retrospective.changes(record),
        "chunks": [views.chunk_row(chunk) for chunk in record.chunks],
        "checkpoints": views.checkpoint_rows(record),
        "next_steps": retrospective.next_steps(record),
        "risks": retrospective.risks(record),
        "counts": requirement_counts(record),
        "requirements": requirements,
        "evidence_of": evidence_of,
        "attention": sorted(
            (row for row in requirements if row.verdict != "PASS"), key=lambda row: WORST_FIRST.index(row.verdict)
        ),
        "environment": views.environment_rows(record),
        "command": redact_command([str(word) for word in record.started.get("command") or []]),
        "files": [(key, what, report_paths(record)[key]) for key, what in FILES.items()],
        "verdict_figure": _verdict_figure(drawn[0], pictures) if drawn else None,
        "figures": [_verdict_figure(one, pictures) for one in drawn[1:]] + _attempt_figures(record, pictures),
        "plots": [pictures.embed(plot, _caption(plot)) for plot in (record.wandb or {}).get("plots") or []],
    }
    names = ("style", "banner", "verdict", "attempts", "pictures", "requirements", "plots", "files")
    return [_environment().get_template(f"page_{name}.html.j2").render(**context) for name in names]


def _verdict_figure(attempt: Attempt, pictures: Pictures) -> dict[str, Any]:
    """Return the figure of a verdict; its `why` is the reason when it could not be drawn."""
    row = views.attempt_row(attempt)
    figure = pictures.embed(row["verdict_picture"], f"{row['name']}, {row['verdict']}: the verdict in one picture")
    problem = row["verdict_picture_problem"]
    return {**figure, "alt": row["sentence"], "why": f"it could not be drawn: {problem}" if problem else figure["why"]}


def no_record_html(problem: str) -> str:
    """Return the banner of a run whose journal cannot be read: INVALID with the reason."""
    template = _environment().get_template("page_no_record.html.j2")
    return template.render(plain=VERDICT_PHRASES["INVALID"], problem=problem)


def _attempt_figures(record: RunRecord, pictures: Pictures) -> list[dict[str, Any]]:
    """Return the figures, newest attempt first, so that the budget reaches it."""
    figures = []
    for attempt in reversed(record.attempts):
        row = views.attempt_row(attempt)
        caption = f"{row['name']}, {row['verdict']}, MSE {number(row['mse'])}: true, predicted, error"
        figures.append(pictures.embed(row["picture"], caption))
    return figures


def _caption(path: str) -> str:
    return Path(path).stem.replace("_", " ")
