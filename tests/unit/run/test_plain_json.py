"""JSON that anybody may have written. ``pytest tests/unit/run/test_plain_json.py``"""

from __future__ import annotations

import math
from typing import Any

import pytest

from tinyworlds_gate.run.plain_json import load_json, parse_json


@pytest.mark.parametrize("encode", [str, str.encode])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9" * 19, 10**19 - 1),
        ("-" + "9" * 19, 1 - 10**19),
        ("1.5e3", 1500.0),
        ('{"a": [null, true]}', {"a": [None, True]}),
        ('"\\ud800"', "?"),
        ('{"\\UD800": 1}'.replace("U", "u"), {"?": 1}),
        ('"\\uD83D\\uDE00"', "\U0001f600"),
        ('"a"', "a"),
    ],
)
def test_a_value_is_read_from_text_or_bytes(encode: Any, text: str, value: object) -> None:
    assert parse_json(encode(text)) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9" * 20, "a number has 20 digits"),
        ("-" + "9" * 20, "a number has 21 digits"),
        ("1e999", "the number 1e999 is too large"),
        ("1" * 400 + ".0", f"the number {'1' * 40} is too large"),
        ("NaN", "NaN is no number of JSON"),
        ("[-Infinity]", "-Infinity is no number of JSON"),
        ("[" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_python_cannot_hold_or_print_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}$"):
        parse_json(text)


def test_a_file_of_ours_may_have_any_number() -> None:
    assert math.isnan(load_json("NaN"))
    assert load_json(b"1e999") == math.inf
    assert load_json("9" * 30) == 10**30 - 1
    with pytest.raises(ValueError, match="it is nested too deeply"):
        load_json("[" * 100_000)
    with pytest.raises(ValueError, match="Expecting"):
        load_json("")
