"""Find the values of secret names: ``KEY=value``, JSON, YAML, Python, XML, headers, options (pure).

The names are found in one pass over the text. A value is read only behind a secret name, and each value at most once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tinyworlds_gate.run.secret_names import STRONG, is_header, may_name_long_secret, secret_kind
from tinyworlds_gate.run.secret_shapes import Span, is_random

REDACTED = "[redacted]"

_QUOTE = r"\\{0,3}['\"]"
_NAMED = re.compile(
    r"(?<![\w.$-])(?P<name>-{0,2}[\w$][\w.$-]*+)"
    r"(?P<close>\\{0,3}['\"]?\]?[ \t]{0,20}+)"
    r"(?P<sep>=>|:=|={1,2}|:(?!:)|>|,(?=[ \t]{0,8}[bBuUrR]{0,2}" + _QUOTE + r"))[ \t]{0,20}+"
)
_OPTION = re.compile(r"(?<![^\s'\"])(?P<name>--?[A-Za-z][\w.-]*+)[ \t]{1,8}+(?![-|&;>])")
_COLUMN = re.compile(r"(?<![\w.$-])(?P<name>[A-Z][A-Z0-9]*_[A-Z0-9_]*+)(?:[ \t]*[|\t ][ \t]*)(?=\S)")
_OPENING = re.compile(r"(?P<bracket>[\[({][ \t]{0,8}+)?[bBuUrRfF]{0,2}(?P<quote>\\{0,3}(?:\"\"\"|'''|['\"`]))")
_BLOCK = re.compile(r"[|>][-+\d]{0,2}[ \t]*\n(?P<lines>(?:[ \t]+[^\n]*+\n?|\n)++)")
_WORD = re.compile(r"(?:[^\s'\"`&;,<\\]|\\(?![nrt'\"])|[&;,](?!\s?[\w.-]{1,64}+=)(?!\s|$)|(?<=\w)['`](?=\w)|<)++")
_LINE = re.compile(r"[^\n\"'`\\]++")
_MORE = re.compile(r"[ \t]*,\s{0,20}[bBuU]{0,2}(?=['\"])")
_TRAILING = ")]}>,.;:"
_EMPTY = re.compile(
    r"(?i)(?:none|null|nil|true|false|undefined|unset|\*+|x{3,}|\.{3}|…|\$\{[\w.]+\}|\$\(.*|\[redacted.*|<redacted>)?"
)
_HARMLESS = re.compile(
    r"[-+]?[\d.,:/x%]{1,12}(?:e[-+]?\d+)?|(?i:yes|no|on|off|auto|default)|<[^>]*>|\[[A-Z]+\]|\$[A-Z_]+|%\w+%|\{\{?.*"
    r"|[A-Za-z_][\w.]*[\[(].*|[a-z_]+(?:\.[a-z_]+)+"
)
_PROSE = re.compile(r"[A-Za-z]?[a-z]{0,15}(?:-[a-z]{1,12})?")
_SENTENCE = re.compile(r"(?!(?i:basic|bearer|digest|token|negotiate|apikey) )[a-z]{1,20}(?:[,;.]?\s|$)")
_LONGEST_HARMLESS = 200


def assignment_spans(text: str) -> Iterator[Span]:
    """Yield (start, end) of the values of secret names."""
    if ":" in text or "=" in text or "," in text or ">" in text:
        yield from _named_spans(text)
    if "-" in text:
        yield from _option_spans(text)
    if "_" in text:
        yield from _column_spans(text)


def _named_spans(text: str) -> Iterator[Span]:
    done = 0
    for found in _NAMED.finditer(text):
        if found.start() < done:
            continue
        name = found["name"]
        if name[0] in "nrt" and text.startswith("\\", found.start() - 1):
            name = name[1:]  # behind a line end that is written as two letters
        kind, long = secret_kind(name), may_name_long_secret(name)
        if kind is None and not long:
            continue
        sep, close = found["sep"], found["close"]
        quoted_name = "'" in close or '"' in close
        if sep == "," and not (quoted_name and kind is not None):
            continue
        if sep == ">" and not text.startswith("<", found.start() - 1):
            continue
        for start, end in _value_spans(text, found, name, kind):
            done = max(done, end)
            yield start, end


def _value_spans(text: str, found: re.Match[str], name: str, kind: str | None) -> Iterator[Span]:
    at, sep = found.end(), found["sep"]
    opening = _OPENING.match(text, at)
    if opening is not None and not (opening["bracket"] and kind is None):
        while opening is not None:
            start, end = opening.end(), _closing(text, opening)
            listed = sep == "," and not _follows_in_list(name, text[start:end])
            if not listed and _is_secret(text[start:end], kind, in_prose=False, quoted=True):
                yield start, end
            more = _MORE.match(text, end + len(opening["quote"])) if opening["bracket"] or sep == "[" else None
            following = None if more is None else _OPENING.match(text, more.end())
            opening = following
            if end == start:
                break
        return
    block = _BLOCK.match(text, at)
    if block is not None and kind is not None and sep == ":":
        lines = block["lines"]
        start = block.start("lines") + len(lines) - len(lines.lstrip())
        if not lines.lstrip().startswith(REDACTED):
            yield start, block.start("lines") + len(lines.rstrip())
        return
    header = is_header(name) and not _SENTENCE.match(text, at)
    whole_line = sep == ":" and kind is not None and (header or (kind == STRONG and text[at - 1] == " "))
    value = (_LINE if whole_line else _WORD).match(text, at)
    if value is None:
        return
    end = value.end()
    if name.upper() in ("PWD", "OLDPWD") and value[0].startswith(("/", "~")):
        return  # the working folder
    while end > value.start() and text[end - 1] in _TRAILING and not whole_line:
        end -= 1
    if whole_line:
        end = value.start() + len(value[0].rstrip())
    if _is_secret(text[value.start() : end], kind, in_prose=sep == ":" and not whole_line):
        yield value.start(), end


def _follows_in_list(name: str, value: str) -> bool:
    """Whether a text after a comma is the value of the text before: of an option, of a variable's pair."""
    if value.startswith("-"):
        return False
    return name.startswith("-") or (name.isupper() and len(name) > 3) or is_random(value, 8)


def _closing(text: str, opening: re.Match[str]) -> int:
    """Return the end of a quoted value; of one without its closing quote, the end of the line."""
    quote = opening["quote"]
    if len(quote) == 1:
        pattern = _QUOTED[quote]
    elif quote[0] == "\\":
        pattern = _ESCAPED
    else:
        end = text.find(quote, opening.end())
        return len(text) if end < 0 else end
    found = pattern.match(text, opening.end())
    return opening.end() if found is None else found.end()


_QUOTED = {quote: re.compile(rf"(?:[^\\\n{quote}]|\\.)*+") for quote in "'\"`"}
_ESCAPED = re.compile(r"(?:[^\\\n'\"]|\\{1,7}(?!['\"\\])|\\{4,9}['\"])*+")


def _is_secret(value: str, kind: str | None, *, in_prose: bool, quoted: bool = False) -> bool:
    value = value.strip()
    if value.startswith(REDACTED) or (len(value) < _LONGEST_HARMLESS and _EMPTY.fullmatch(value)):
        return False
    if kind is None:
        return is_random(value, 32) or (quoted and is_random(value, 24))
    if kind == STRONG or len(value) >= _LONGEST_HARMLESS:
        return True
    return not (_HARMLESS.fullmatch(value) or (in_prose and _PROSE.fullmatch(value)))


def _option_spans(text: str) -> Iterator[Span]:
    """Yield the values of options with a space between: ``--api-key X``."""
    done = 0
    for found in _OPTION.finditer(text):
        kind = secret_kind(found["name"])
        if kind is None or found.start() < done:
            continue
        opening = _OPENING.match(text, found.end())
        if opening is not None and not opening["bracket"]:
            start, done = opening.end(), _closing(text, opening)
        else:
            value = _WORD.match(text, found.end())
            if value is None:
                continue
            start, done = value.span()
        if _is_secret(text[start:done], STRONG, in_prose=False):
            yield start, done


def _column_spans(text: str) -> Iterator[Span]:
    """Yield the values of a table of variables: ``WANDB_API_KEY   0123…``."""
    for found in _COLUMN.finditer(text):
        if secret_kind(found["name"]) is not None:
            value = _WORD.match(text, found.end())
            if value is not None and is_random(value[0].strip(_TRAILING), 8):
                yield value.span()
