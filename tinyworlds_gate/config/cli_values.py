"""Parsers of option values: text → value, or a usage error that says what is allowed."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable

from tinyworlds_gate.config.rendezvous import endpoint_problem, id_problem


def parse_bool(text: str) -> bool:
    """``true`` or ``false``, in any case."""
    words = {"true": True, "false": False}
    if text.lower() not in words:
        raise ArgumentTypeError(f"{text!r} is neither true nor false; write true or false")
    return words[text.lower()]


def parse_positive_int(text: str) -> int:
    """A whole number from 1."""
    return _whole(text, 1, None)


def parse_count(text: str) -> int:
    """A whole number from 0."""
    return _whole(text, 0, None)


def parse_seed(text: str) -> int:
    """A whole number from 0 to 2**32 - 1."""
    return _whole(text, 0, 2**32 - 1)


def parse_year(text: str) -> int:
    """A year from 1970 to 9999."""
    return _whole(text, 1970, 9999)


def parse_positive_float(text: str) -> float:
    """A finite number above 0."""
    return _number(text, "above 0", lambda value: value > 0)


def parse_temperature(text: str) -> float:
    """A finite number from 0."""
    return _number(text, "0 or above", lambda value: value >= 0)


def parse_rate(text: str) -> float:
    """A number above 0 and at most 1: a learning rate or a decay factor."""
    return _number(text, "above 0 and at most 1", lambda value: 0 < value <= 1)


def parse_percent(text: str) -> float:
    """A number from 0 to 100."""
    return _number(text, "from 0 to 100, without a percent sign", lambda value: 0 <= value <= 100)


def parse_text(text: str) -> str:
    """Any text but an empty one: a path or a name."""
    if not text.strip():
        raise ArgumentTypeError("the value is empty; give a path or a name, or leave the option out")
    return text


def parse_endpoint(text: str) -> str:
    """``host:port``, where node 0's launcher listens."""
    return _without(endpoint_problem(text), text)


def parse_rendezvous_id(text: str) -> str:
    """A name of letters, digits, ``.``, ``_`` and ``-``."""
    return _without(id_problem(text), text)


def parse_choice(*allowed: str) -> Callable[[str], str]:
    """A parser that takes one of these words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ArgumentTypeError(f"{text!r} is not known; use one of {', '.join(allowed)}")
        return text

    return parse


def _without(problem: str | None, text: str) -> str:
    if problem is not None:
        raise ArgumentTypeError(problem)
    return text


def _whole(text: str, low: int, high: int | None) -> int:
    allowed = f"a whole number from {low}" + ("" if high is None else f" to {high}")
    try:
        value = int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no whole number; give {allowed}") from None
    if value < low or (high is not None and value > high):
        raise ArgumentTypeError(f"{text} is not allowed; give {allowed}")
    return value


def _number(text: str, allowed: str, holds: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no number; give a number {allowed}") from None
    if not math.isfinite(value) or not holds(value):
        raise ArgumentTypeError(f"{text} is not allowed; give a number {allowed}")
    return value
