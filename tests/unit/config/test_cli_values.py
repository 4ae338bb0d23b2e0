"""What each parser of an option's value takes, at its limits, and its usage error.

pytest tests/unit/config/test_cli_values.py
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

import pytest

from tinyworlds_gate.config import cli_values as values


@pytest.mark.parametrize(
    ("parse", "accepted", "refused", "allowed"),
    [
        (values.parse_positive_int, (1, 10**12), ("0", "-1"), "a whole number from 1"),
        (values.parse_count, (0, 10**12), ("-1",), "a whole number from 0"),
        (values.parse_seed, (0, 4294967295), ("-1", "4294967296"), "a whole number from 0 to 4294967295"),
        (values.parse_year, (1970, 9999), ("1969", "10000"), "a whole number from 1970 to 9999"),
        (values.parse_positive_float, (1e-9, 1e9), ("0", "-1", "nan", "inf"), "a number above 0"),
        (values.parse_temperature, (0.0, 1e9), ("-0.001", "nan", "inf"), "a number 0 or above"),
        (values.parse_rate, (1e-9, 1.0), ("0", "1.001", "nan"), "a number above 0 and at most 1"),
        (values.parse_percent, (0.0, 100.0), ("-0.1", "100.1"), "a number from 0 to 100, without a percent sign"),
    ],
)
def test_a_number_is_taken_up_to_its_limits_and_refused_beyond(
    parse: Callable[[str], float], accepted: tuple[float, ...], refused: tuple[str, ...], allowed: str
) -> None:
    assert [parse(str(value)) for value in accepted] == list(accepted)
    for text in refused:
        with pytest.raises(ArgumentTypeError) as error:
            parse(text)
        assert str(error.value) == f"{text} is not allowed; give {allowed}"
    kind = "whole number" if "whole" in allowed else "number"
    for text in ("x", "", "1,5"):
        with pytest.raises(ArgumentTypeError) as error:
            parse(text)
        assert str(error.value) == f"{text!r} is not a {kind}; give {allowed}"


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (values.parse_bool, "true", True),
        (values.parse_bool, "False", False),
        (values.parse_text, " a b ", " a b "),
        (values.parse_choice("one", "two"), "two", "two"),
        (values.parse_endpoint, "host:29500", "host:29500"),
        (values.parse_rendezvous_id, "run-1_a.b", "run-1_a.b"),
    ],
)
def test_a_text_that_is_allowed_is_the_value(parse: Callable[[str], Any], text: str, value: object) -> None:
    assert parse(text) == value
    assert type(parse(text)) is type(value)


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (values.parse_bool, "1", "'1' is neither true nor false; write true or false"),
        (values.parse_text, " ", "the value is empty; give a path or a name, or leave the option out"),
        (values.parse_choice("one", "two"), "three", "'three' is not known; use one of one, two"),
    ],
)
def test_a_text_that_is_not_allowed_says_what_is(parse: Callable[[str], Any], text: str, said: str) -> None:
    with pytest.raises(ArgumentTypeError) as error:
        parse(text)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("parse", "text"), [(values.parse_endpoint, "host"), (values.parse_rendezvous_id, "two words")]
)
def test_an_endpoint_or_a_name_that_no_launcher_takes_is_refused(parse: Callable[[str], str], text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=text):
        parse(text)


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (values.parse_count, str(10**12 + 1), f"{10**12 + 1} is not allowed; give a whole number from 0 to {10**12}"),
        (
            values.parse_whole,
            str(10**12 + 1),
            f"{10**12 + 1} is not allowed; give a whole number from {-(10**12)} to {10**12}",
        ),
        (values.parse_count, "x" * 60, f"{'x' * 60!r} is not a whole number; give a whole number from 0"),
        (
            values.parse_count,
            "x" * 61,
            f"'{'x' * 20}… (61 characters)' is not a whole number; give a whole number from 0",
        ),
        (values.parse_text, "a\0", "the value has a NUL character; give a path or a name without it"),
        (
            values.parse_text,
            "a/" + "ü" * 128,
            f"'a/{'ü' * 18}… (130 characters)' is too long; a name may have 255 bytes, a path 4000 characters",
        ),
        (
            values.parse_text,
            "a/" * 2000 + "b",
            f"'{'a/' * 10}… (4,001 characters)' is too long; a name may have 255 bytes, a path 4000 characters",
        ),
    ],
)
def test_a_long_value_is_cut_in_the_sentence(parse: Callable[[str], Any], text: str, said: str) -> None:
    with pytest.raises(ArgumentTypeError) as error:
        parse(text)
    assert str(error.value) == said


def test_a_name_of_255_bytes_and_a_path_of_4000_characters_are_taken() -> None:
    for text in ("a" * 255, "ü" * 127 + "a", "a/" * 2000):
        assert values.parse_text(text) == text
    assert [values.parse_whole(str(value)) for value in (-(10**12), 10**12)] == [-(10**12), 10**12]
    with pytest.raises(ArgumentTypeError):
        values.parse_whole(str(-(10**12) - 1))
