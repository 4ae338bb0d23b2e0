"""Numbers, durations and sizes as text. ``pytest tests/unit/run/test_formats.py``"""

from __future__ import annotations

import math

import pytest

from tinyworlds_gate.run.formats import duration_text, number_text, rounded_duration, size_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0.0 s"),
        (42.34, "42.3 s"),
        (59.94, "59.9 s"),
        (59.95, "1 min 00 s"),
        (59.97, "1 min 00 s"),
        (213, "3 min 33 s"),
        (3599, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (48 * 3600 - 60, "47 h 59 min"),
        (48 * 3600, "2 d 0 h"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_a_duration_has_the_units_of_its_size(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0.0 s"),
        (8.04, "8.0 s"),
        (9.94, "9.9 s"),
        (9.95, "10 s"),
        (9.99, "10 s"),
        (89.4, "89 s"),
        (89.5, "1 min"),
        (120, "2 min"),
        (840, "14 min"),
        (3569, "59 min"),
        (3570, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_a_rounded_duration_has_fewer_digits(seconds: float, text: str) -> None:
    assert rounded_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (812, "812 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (3500, "3.4 KiB"),
        (1024**2 - 1, "1024.0 KiB"),
        (1024**2, "1.0 MiB"),
        (2 * 1024**2, "2.0 MiB"),
        (1024**3 - 1, "1024.0 MiB"),
        (1024**3, "1.0 GiB"),
        (2**32, "4.0 GiB"),
    ],
)
def test_a_size_has_a_binary_unit(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize("value", [None, True, "7", math.nan, math.inf])
def test_what_is_no_finite_number_is_missing(value: object) -> None:
    assert number_text(value, ".2f", "?") == "?"
    assert number_text(7, ".2f", "?") == "7.00"
