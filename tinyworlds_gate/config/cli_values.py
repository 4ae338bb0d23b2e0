"""Parsers of option values: each returns the value, or raises a usage error that says what is allowed."""

from __future__ import annotations

import math
import os
import re
from argparse import ArgumentTypeError
from collections.abc import Callable

from tinyworlds_gate.config.rendezvous import endpoint_problem, id_problem


def parse_bool(text: str) -> bool:
    """Parse ``true`` or ``false``, in any case."""
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise ArgumentTypeError(f"{text!r} is neither true nor false; write true or false")
    return values[text.lower()]


LARGEST = 10**12
"""Largest whole number of an option; more updates, frames or steps fit on no disk."""
_SHOWN = 60
_LONGEST_NAME = 255
_LONGEST_DATASET = 200
_LONGEST_PATH = 4000


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:20]}… ({len(text):,} characters)"


def _whole(low: int, high: int | None = None) -> Callable[[str], int]:
    allowed = f"a whole number from {low}" + ("" if high is None else f" to {high}")

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{_shown(text)!r} is not a whole number; give {allowed}") from None
        if value < low or (high is not None and value > high):
            raise ArgumentTypeError(f"{_shown(text)} is not allowed; give {allowed}")
        if value > LARGEST:
            raise ArgumentTypeError(f"{_shown(text)} is not allowed; give a whole number from {low} to {LARGEST}")
        return value

    return parse


def _number(allowed: str, holds: Callable[[float], bool]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ArgumentTypeError(f"{_shown(text)!r} is not a number; give a number {allowed}") from None
        if not math.isfinite(value) or not holds(value):
            raise ArgumentTypeError(f"{_shown(text)} is not allowed; give a number {allowed}")
        return value

    return parse


parse_whole = _whole(-LARGEST, LARGEST)
"""Any whole number; what it may be, the command says."""
parse_positive_int = _whole(1)
parse_count = _whole(0)
parse_seed = _whole(0, 2**32 - 1)
parse_year = _whole(1970, 9999)
parse_positive_float = _number("above 0", lambda value: value > 0)
parse_temperature = _number("0 or above", lambda value: value >= 0)
parse_rate = _number("above 0 and at most 1", lambda value: 0 < value <= 1)
"""A learning rate or a decay factor."""
parse_percent = _number("from 0 to 100, without a percent sign", lambda value: 0 <= value <= 100)


def parse_text(text: str) -> str:
    """Parse a path or a name; it must not be empty."""
    if not text.strip():
        raise ArgumentTypeError("the value is empty; give a path or a name, or leave the option out")
    if "\0" in text:
        raise ArgumentTypeError("the value has a NUL character; give a path or a name without it")
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in text.split("/")) or len(text) > _LONGEST_PATH:
        raise ArgumentTypeError(
            f"{_shown(text)!r} is too long; a name may have {_LONGEST_NAME} bytes, a path {_LONGEST_PATH} characters"
        )
    return text


def parse_dataset(text: str) -> str:
    """Parse the name of a dataset, in any case; return it in upper case."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text):
        raise ArgumentTypeError(
            f"{_shown(text)!r} is not the name of a dataset; give a name such as PONG, which begins with a letter and "
            "has letters, digits, - and _ only (its frames are in data/pong_frames.h5)"
        )
    if len(text) > _LONGEST_DATASET:
        raise ArgumentTypeError(f"{_shown(text)!r} is too long; give a name of at most {_LONGEST_DATASET} characters")
    return text.upper()


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
