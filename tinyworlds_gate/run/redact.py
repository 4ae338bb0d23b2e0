"""Remove secrets from text and command lines before they are shown or recorded."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

REDACTED = "[redacted]"

_SECRET_WORDS = {"token", "secret", "password", "passwd", "pwd", "credential", "credentials", "auth", "authorization"}
_SECRET_PAIRS = {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("apikey",), ("accesskey",)}
_ASSIGNMENT = re.compile(r"(?P<name>-{0,2}[A-Za-z][\w.-]*)(?P<sep>=|:\s*)(?P<quote>['\"]?)(?P<value>[^\s'\"]+)")
_OPTION = re.compile(r"(?<!\S)(?P<name>--?[A-Za-z][\w-]*)(?P<sep>\s+)(?P<quote>['\"]?)(?P<value>[^\s'\"]+)")
_KNOWN_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}"
    r"|glpat-[\w-]{16,}|AKIA[0-9A-Z]{16}|wandb_v\d_\w{16,})"
)
_LOGIN_IN_URL = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_BEARER = re.compile(r"(?i)\b(?P<scheme>bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_LONG_KEY = re.compile(r"[A-Za-z0-9_\-+/]{32,}={0,2}")


def redact(text: str) -> str:
    """``text`` with the values of secret names, known token shapes and logins in URLs replaced by ``[redacted]``."""
    text = _LOGIN_IN_URL.sub(REDACTED, text)
    text = _BEARER.sub(lambda found: f"{found['scheme']} {REDACTED}", text)
    text = _KNOWN_SHAPES.sub(REDACTED, text)
    text = _ASSIGNMENT.sub(_hide_value, text)
    return _OPTION.sub(_hide_value, text)


def redact_command(argv: Sequence[str]) -> str:
    """A command line as one shell-quoted text without its secrets."""
    hidden: list[str] = []
    for index, word in enumerate(argv):
        before = argv[index - 1] if index else ""
        follows_secret_option = before.startswith("-") and "=" not in before and _is_secret(before, word)
        hidden.append(REDACTED if follows_secret_option and not word.startswith("-") else redact(word))
    return shlex.join(hidden)


def _hide_value(found: re.Match[str]) -> str:
    if not _is_secret(found["name"], found["value"]) or found["value"].startswith(REDACTED):
        return found[0]
    return f"{found['name']}{found['sep']}{found['quote']}{REDACTED}"


def _is_secret(name: str, value: str) -> bool:
    """By the words of the name (``video_tokenizer_path``, ``num_tokens`` are none), or ``…key`` with a long value."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    if _SECRET_WORDS.intersection(words):
        return True
    neighbours = {tuple(words[at : at + size]) for size in (1, 2) for at in range(len(words))}
    if _SECRET_PAIRS & neighbours:
        return True
    return bool(words) and words[-1] in ("key", "keys") and _LONG_KEY.fullmatch(value) is not None
