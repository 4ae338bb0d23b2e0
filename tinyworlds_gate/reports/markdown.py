"""Markdown helpers: escaping, links, code, numbers, and the template environment.

Everything that a template prints with `{{ … }}` is escaped and redacted, unless a function of this module made it
(`Safe`). Template text itself is not changed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote

import jinja2

from tinyworlds_gate.run.formats import duration_text
from tinyworlds_gate.run.redact import redact

MISSING = "—"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
_SPECIAL = re.compile(r"[\\`*|\[~$]")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_BLOCK_START = re.compile(r"^\s*(?:[-+](?=\s|$)|#{1,6}(?=\s|$)|>|[-=]{2,}\s*$|\d+[.)](?=\s))")
_ESCAPED = re.compile(r"\\([\\`*|\[~$_+#>=.)-])")
_EDGE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


LONGEST_TEXT = 64 * 1024
"""Characters; the longest line of a journal of a long run has 21 KB."""


class Safe(str):
    """Text that is already markdown."""

    __slots__ = ()


def shortened(text: str) -> str:
    """Return a text of a journal as reports show it: of more than 64 KiB, the beginning, cut at a blank."""
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT].rpartition(' ')[0]} … ({len(text):,} characters)".lstrip()


def clean(value: object) -> str:
    """Return one line of plain text, without secrets, control or direction characters; a dash for None."""
    if value is None:
        return MISSING
    text = redact(" ".join(shortened(str(value)).splitlines()))
    return _CONTROL.sub("�", text.replace("\t", " "))


def escape(value: object) -> Safe:
    """Escape text for a sentence, list item or table cell, so that markup and HTML are shown literally."""
    if isinstance(value, Safe):
        return value
    text = clean(number(value) if isinstance(value, bool | int | float) else value)
    text = _SPECIAL.sub(lambda match: "\\" + match[0], _ENTITY.sub("&amp;", text).replace("<", "&lt;"))
    text = _BLOCK_START.sub(lambda match: match[0][:-1] + "\\" + match[0][-1], text)
    return Safe(_EDGE_UNDERSCORE.sub(r"\\_", text))


def plain(text: str) -> str:
    """Undo `escape`: return the original text of a sentence that was read from a report."""
    return _ESCAPED.sub(r"\1", text).replace("&lt;", "<").replace("&amp;", "&")


def code(value: object) -> Safe:
    """Return inline code; backticks and pipes in the text are handled."""
    text = clean(value)
    if value is None or not text.strip():
        return Safe(MISSING)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    marks = "`" * (longest + 1)
    pad = " " if longest else ""
    return Safe(f"{marks}{pad}{text}{pad}{marks}".replace("|", "\\|"))


def fence(lines: list[str]) -> Safe:
    """Return a code block whose fence is longer than any backticks in its content."""
    body = [clean(line) if line.strip() else "" for line in lines]
    longest = max((len(run) for line in body for run in re.findall(r"`+", line)), default=0)
    marks = "`" * max(3, longest + 1)
    return Safe("\n".join([f"{marks}text", *body, marks]))


def link(path: object, label: object = None) -> Safe:
    """Return a link from docs/action/ to a file of the project; an absolute path is shown as code, not linked."""
    if path is None:
        return Safe(MISSING)
    text = clean(path)
    shown = escape(label if label is not None else text.rsplit("/", 1)[-1])
    return code(text) if text.startswith("/") else Safe(f"[{shown}](../../{quote(text, safe='/')})")


def number(value: object, digits: int = 6) -> str:
    """Format a number to `digits` significant digits; a dash for None."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def duration(seconds: object) -> str:
    """Format seconds: `42.3 s`, `3 min 33 s`, `5 h 02 min`."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return MISSING
    return duration_text(seconds)


def clock(unix_s: object) -> str:
    """Format Unix seconds as UTC date and time."""
    if not isinstance(unix_s, int | float) or isinstance(unix_s, bool):
        return MISSING
    try:
        return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # no year that a calendar has
        return MISSING


def short_hash(value: object) -> Safe:
    """Return the first 12 digits of a hash, as code."""
    return code(str(value)[:12]) if value else Safe(MISSING)


def _finalize(value: Any) -> Any:
    return value if isinstance(value, jinja2.Undefined) else escape(value)


@cache
def environment() -> jinja2.Environment:
    """Return the template environment; an undefined name in a template is an error."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("tinyworlds_gate.reports", "templates"),
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters.update(
        code=code, fence=fence, link=link, num=number, duration=duration, clock=clock, hash=short_hash, md=Safe
    )
    return env
