"""Markdown for a comment on GitHub: text of others is shown literally, mentions nobody and links to nothing.

GitHub turns `@name`, `#12`, `GH-12`, `owner/name#12`, addresses and `:emoji:` into something else wherever they are in
text, escaped or not. A zero-width space behind their first letter prevents that; in code it is not needed.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

import jinja2

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.reports import markdown
from tinyworlds_gate.reports.markdown import Safe, clean, code, escape, short_hash

MOST_CHARACTERS = 65_536
"""GitHub's limit for the body of a comment."""
BREAK = "&#8203;"
_REFERENCES = re.compile(
    r"@(?=\w)"  # a mention, an e-mail address, owner/name@commit
    r"|#(?=\d)"  # an issue
    r"|(?<![A-Za-z0-9])GH-(?=\d)"
    r"|:(?=//)"  # an address
    r"|(?<![A-Za-z0-9])www\.(?=\w)"
    r"|:(?=(?:[+-]1|[a-z0-9_+-]*[a-z][a-z0-9_+-]*):)",  # an emoji
    re.IGNORECASE,
)
_URL_LETTERS = "/:?&=#%+,;@!~*'-._"


def comment_text(value: object) -> Safe:
    """Return text as GitHub shows it literally, on one line; `Safe` text is returned as it is."""
    if isinstance(value, Safe):
        return value
    return Safe(_REFERENCES.sub(lambda found: found[0] + BREAK, escape(value)))


def code_text(value: object) -> Safe:
    """Return inline code outside of a table; a `|` in it needs no backslash there."""
    return Safe(code(value).replace("\\|", "|"))


def checked_url(url: str, what: str) -> str:
    """Return an http(s) address in which nothing ends a markdown link.

    Raises:
        GateError: it is another kind of address, or no address.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise GateError(
            f"{what} {url!r} is no address for a link: allowed are http:// and https:// with a host name and without a "
            "login. Name the page where the file can be seen."
        )
    return quote(url, safe=_URL_LETTERS)


def link_text(label: object, url: str) -> Safe:
    """Return a link; the address was checked."""
    return Safe(f"[{comment_text(label)}]({url})")


def picture_text(alternative: object, url: str) -> Safe:
    """Return a picture with the text for readers who do not see it; the address was checked."""
    return Safe(f"![{comment_text(alternative)}]({url})")


def length_of(text: str) -> int:
    """Return the length as GitHub counts it at most: in units of UTF-16."""
    return len(text.encode("utf-16-le", "replace")) // 2


def one_line(value: object, longest: int) -> str:
    """Return plain text of at most `longest` characters."""
    text = clean(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _finalize(value: Any) -> Any:
    return value if isinstance(value, jinja2.Undefined) else comment_text(value)


@cache
def environment() -> jinja2.Environment:
    """Return the template environment of comments: `{{ … }}` prints text as GitHub shows it literally."""
    env = markdown.environment().overlay(finalize=_finalize)
    env.filters = {**env.filters, "code": code_text, "cell_code": code, "hash": short_hash}
    return env
