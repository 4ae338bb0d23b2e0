"""Find the secrets of this process's environment wherever they occur in a text, also escaped or encoded."""

from __future__ import annotations

import html
import json
import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from functools import lru_cache
from urllib.parse import quote, quote_plus

from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.secret_assignments import assignment_spans
from tinyworlds_gate.run.secret_names import may_name_long_secret, secret_kind
from tinyworlds_gate.run.secret_shapes import Span, is_random, is_scrambled, shape_spans

_SHORTEST = 6
_ANYWHERE = 12
"""From this length on, a value is replaced inside longer words too."""
_LONGEST = 64 * 1024
_HARMLESS = frozenset((*STAGES, "true", "false", "none", "null", "changeme", "password", "localhost", "disabled"))
_PLACES = frozenset(("PWD", "OLDPWD", "INIT_CWD"))
_ENDS_AS_SECRET = re.compile(r"(?i)(?:^|_)(?:pass|pw|pat|creds?|dsn)$")
_WORD = re.compile(r"[a-z]+|[A-Z][a-z]+|[A-Z]+")


def value_spans(text: str) -> Iterator[Span]:
    """Yield (start, end) of the environment's secrets in ``text``."""
    for needle, whole_word in _needles(environment_now()):
        at = text.find(needle)
        while at >= 0:
            end = at + len(needle)
            if not whole_word or _stands_alone(text, at, end):
                yield at, end
            at = text.find(needle, end)


def environment_now() -> frozenset[tuple[bytes, bytes]]:
    """Return the variables of this process; ``os.environb`` itself would check and convert each of them again."""
    plain: Mapping[bytes, bytes] = getattr(os.environ, "_data", os.environb)
    return frozenset(plain.items())


def _stands_alone(text: str, start: int, end: int) -> bool:
    around = (text[start - 1 : start], text[end : end + 1])
    return not any(one.isalnum() or one == "_" for one in around if one)


@lru_cache(maxsize=8)
def _needles(environment: frozenset[tuple[bytes, bytes]]) -> tuple[tuple[str, bool], ...]:
    """Return (what to look for, whether only as a whole word), the longest first."""
    found: dict[str, bool] = {}
    for name, value in environment:
        for secret in _secrets(os.fsdecode(name), os.fsdecode(value)):
            for form in _forms(secret):
                found[form] = len(form) < _ANYWHERE or (form.isalpha() and form.islower()) or form.isdigit()
    return tuple(sorted(found.items(), key=lambda one: (-len(one[0]), one[0])))


def _secrets(name: str, value: str) -> Iterator[str]:
    value = value.strip()
    if len(value) < _SHORTEST or len(value) > _LONGEST or name in _PLACES:
        return
    if _is_secret(name, value):
        yield value
        yield from (line.strip() for line in value.splitlines() if len(line.strip()) >= 16 and "-----" not in line)
    for start, end in (*shape_spans(value), *assignment_spans(value)):
        inner = value[start:end]
        yield from (part for part in (inner, inner.partition(":")[2]) if _is_distinct(part))
        if _is_distinct(inner):
            yield from (line for line in inner.splitlines() if len(line) >= 16 and "-----" not in line)


def _is_secret(name: str, value: str) -> bool:
    if value.startswith(("/", "~/", "./")) and ("/" in value[1:] or os.path.exists(value)) and not is_scrambled(value):
        return False  # a path: of a socket, of a file with the key
    if secret_kind(name) is not None or _ENDS_AS_SECRET.search(name):
        return _is_distinct(value)
    if may_name_long_secret(name):
        return is_random(value)
    return is_random(value, 24) and is_scrambled(value)


def _is_distinct(value: str) -> bool:
    """Whether a value is no ordinary word or number, which a text can contain without being secret."""
    if len(value) < _SHORTEST or value.lower() in _HARMLESS:
        return False
    if value.isdigit():
        return len(value) >= 9
    return len(value) >= _ANYWHERE or not _WORD.fullmatch(value)


def _forms(secret: str) -> set[str]:
    """Return the ways in which a value is written: plain, in URLs, JSON, Python, HTML and shell, in base64 and hex."""
    plain = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    plain |= {json.dumps(one)[1:-1] for one in tuple(plain)} | {secret.replace("\n", "\\n"), " ".join(secret.split())}
    plain |= {html.escape(secret), html.escape(secret, quote=False), secret.replace("'", "'\"'\"'")}
    data = secret.encode("utf-8", "surrogateescape")
    plain |= {quote(data, safe=""), quote(data), quote_plus(data)}
    plain |= {re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), one) for one in tuple(plain) if "%" in one}
    if len(data) >= 8:
        plain |= {data.hex(), data.hex().upper()}
        for encode in (b64encode, urlsafe_b64encode):
            for shift in range(3):  # behind `user:` the same bytes give other letters
                text = encode(b"\0" * shift + data).decode("ascii").rstrip("=")
                whole = (len(data) + shift) * 8 // 6
                plain.add(text[(0, 2, 3)[shift] : whole])
    return {one for one in plain if len(one) >= _SHORTEST}
