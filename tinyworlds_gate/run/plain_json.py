"""Parse JSON that anybody may have written: what Python cannot hold or print is refused as a ValueError."""

from __future__ import annotations

import json
import math
from typing import Any

LONGEST_INTEGER = 19
"""Digits of a whole number: as many as 64 bits hold."""


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; a half of a surrogate pair becomes ``?``.

    Raises:
        ValueError: it is not JSON in UTF-8, is nested too deeply, or has a number that is not finite or has more than
            19 digits.
    """
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_finite, parse_constant=_constant)
        if (b"\\ud" in text.lower()) if isinstance(text, bytes) else ("\\ud" in text.lower()):
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def load_json(text: str | bytes) -> Any:
    """Return the value of a JSON text with any number that Python reads, also NaN.

    Raises:
        ValueError: it is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > LONGEST_INTEGER:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:40]} is too large")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
