"""Markdown that stays whole whatever the journal holds: escaping, links, code, numbers, and the template environment.

Everything that a template prints with `{{ … }}` is escaped, and its secrets are hidden, unless a function of this
module made it (`Safe`). Template text itself is left alone.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote

import jinja2

from tinyworlds_gate.run.redact import redact

MISSING = "—"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
_SPECIAL = re.compile(r"[\\`*|\[~$]")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_BLOCK_START = re.compile(r"^\s*(?:[-+](?=\s|$)|#{1,6}(?=\s|$)|>|[-=]{2,}\s*$|\d+[.)](?=\s))")
_ESCAPED = re.compile(r"\\([\\`*|\[~$_+#>=.)-])")
_EDGE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


class Safe(str):
    """Text that is markdown already."""

    __slots__ = ()


def clean(value: object) -> str:
    """One line of plain text: no secret, no control or direction-changing character, missing as a dash."""
    if value is None:
        return MISSING
    text = redact(" ".join(str(value).splitlines()))
    return _CONTROL.sub("�", text.replace("\t", " "))


def escape(value: object) -> Safe:
    """Text for a sentence, a list item or a table cell: marks, pipes and HTML are shown as they are written."""
    if isinstance(value, Safe):
        return value
    text = clean(number(value) if isinstance(value, bool | int | float) else value)
    text = _SPECIAL.sub(lambda match: "\\" + match[0], _ENTITY.sub("&amp;", text).replace("<", "&lt;"))
    text = _BLOCK_START.sub(lambda match: match[0][:-1] + "\\" + match[0][-1], text)
    return Safe(_EDGE_UNDERSCORE.sub(r"\\_", text))


def plain(text: str) -> str:
    """The text that `escape` made markdown of: for a sentence that is read back out of a report."""
    return _ESCAPED.sub(r"\1", text).replace("&lt;", "<").replace("&amp;", "&")


def code(value: object) -> Safe:
    """Inline code, also where the text holds backticks or pipes (escaped for a table cell)."""
    text = clean(value)
    if value is None or not text.strip():
        return Safe(MISSING)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    marks = "`" * (longest + 1)
    pad = " " if longest else ""
    return Safe(f"{marks}{pad}{text}{pad}{marks}".replace("|", "\\|"))


def fence(lines: list[str]) -> Safe:
    """A code block that its own content cannot close."""
    body = [clean(line) if line.strip() else "" for line in lines]
    longest = max((len(run) for line in body for run in re.findall(r"`+", line)), default=0)
    marks = "`" * max(3, longest + 1)
    return Safe("\n".join([f"{marks}text", *body, marks]))


def link(path: object, label: object = None) -> Safe:
    """A link from docs/action/ to a file of the project; an absolute path is shown, not linked."""
    if path is None:
        return Safe(MISSING)
    text = clean(path)
    shown = escape(label if label is not None else text.rsplit("/", 1)[-1])
    return code(text) if text.startswith("/") else Safe(f"[{shown}](../../{quote(text, safe='/')})")


def number(value: object, digits: int = 6) -> str:
    """A number as the journal has it, to `digits` significant digits; missing as a dash."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def duration(seconds: object) -> str:
    """Seconds for people: `42.3 s`, `3 min 33 s`, `5 h 02 min`."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def clock(unix_s: object) -> str:
    """Unix seconds as UTC date and time."""
    if not isinstance(unix_s, int | float) or isinstance(unix_s, bool):
        return MISSING
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def short_hash(value: object) -> Safe:
    """The first 12 digits of a hash, as code."""
    return code(str(value)[:12]) if value else Safe(MISSING)


def _finalize(value: Any) -> Any:
    return value if isinstance(value, jinja2.Undefined) else escape(value)


@cache
def environment() -> jinja2.Environment:
    """The templates of this package; an unknown name in a template is an error, not an empty space."""
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
