"""Parsers of option values: each returns the value, or raises a usage error that says what is allowed."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable

from tinyworlds_gate.config.rendezvous import endpoint_problem, id_problem


def parse_bool(text: str) -> bool:
    """Parse ``true`` or ``false``, in any case."""
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise ArgumentTypeError(f"{text!r} is neither true nor false; write true or false")
    return values[text.lower()]


def parse_positive_int(text: str) -> int:
    """Parse an integer from 1."""
    return _whole(text, 1, None)


def parse_count(text: str) -> int:
    """Parse an integer from 0."""
    return _whole(text, 0, None)


def parse_seed(text: str) -> int:
    """Parse an integer from 0 to 2**32 - 1."""
    return _whole(text, 0, 2**32 - 1)


def parse_year(text: str) -> int:
    """Parse a year from 1970 to 9999."""
    return _whole(text, 1970, 9999)


def parse_positive_float(text: str) -> float:
    """Parse a finite number above 0."""
    return _number(text, "above 0", lambda value: value > 0)


def parse_temperature(text: str) -> float:
    """Parse a finite number from 0."""
    return _number(text, "0 or above", lambda value: value >= 0)


def parse_rate(text: str) -> float:
    """Parse a number above 0 and at most 1: a learning rate or a decay factor."""
    return _number(text, "above 0 and at most 1", lambda value: 0 < value <= 1)


def parse_percent(text: str) -> float:
    """Parse a number from 0 to 100."""
    return _number(text, "from 0 to 100, without a percent sign", lambda value: 0 <= value <= 100)


def parse_text(text: str) -> str:
    """Parse a path or a name; it must not be empty."""
    if not text.strip():
        raise ArgumentTypeError("the value is empty; give a path or a name, or leave the option out")
    return text


def parse_endpoint(text: str) -> str:
    """Parse ``host:port``, the address at which node 0's launcher listens."""
    return _checked(text, endpoint_problem(text))


def parse_rendezvous_id(text: str) -> str:
    """Parse a name of letters, digits, ``.``, ``_`` and ``-``."""
    return _checked(text, id_problem(text))


def parse_choice(*allowed: str) -> Callable[[str], str]:
    """Return a parser that accepts one of these values."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ArgumentTypeError(f"{text!r} is not known; use one of {', '.join(allowed)}")
        return text

    return parse


def _checked(text: str, problem: str | None) -> str:
    if problem is not None:
        raise ArgumentTypeError(problem)
    return text


def _whole(text: str, low: int, high: int | None) -> int:
    allowed = f"a whole number from {low}" + ("" if high is None else f" to {high}")
    try:
        value = int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a whole number; give {allowed}") from None
    if value < low or (high is not None and value > high):
        raise ArgumentTypeError(f"{text} is not allowed; give {allowed}")
    return value


def _number(text: str, allowed: str, holds: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number; give a number {allowed}") from None
    if not math.isfinite(value) or not holds(value):
        raise ArgumentTypeError(f"{text} is not allowed; give a number {allowed}")
    return value
