"""YAML that a person or an attacker wrote: values as in YAML 1.2, or one sentence.

pytest tests/unit/config/test_strict_yaml.py
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tinyworlds_gate.config.strict_yaml import DEEPEST, LARGEST_BYTES, MOST_VALUES, parse_yaml, problem_text
from tinyworlds_gate.config.yaml_io import read_mapping
from tinyworlds_gate.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("8:00", "8:00"), ("1:30:00", "1:30:00"), ("2025-01-01", "2025-01-01"), ("12:30:45.5", "12:30:45.5")),
        *(("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"), ("NO", "NO"), ("on", "on"), ("y", "y")),
        *(("yes", "yes"), ("Off", "Off"), ("true", True), ("False", False), ("TRUE", True), ("~", None), ("", None)),
        *(
            ("null", None),
            ("0", 0),
            ("-3", -3),
            ("+12", 12),
            ("0x1F", 31),
            ("0o17", 15),
            ("1e-3", 1e-3),
            ("1.5e3", 1500.0),
        ),
        *((".5", 0.5), ("1.", 1.0), ("-.inf", -math.inf), ("1UP", "1UP"), ("'0120'", "0120"), ('"8:00"', "8:00")),
        *(
            ("=", "="),
            ("[1, a, null]", [1, "a", None]),
            ("{a: {b: 2}}", {"a": {"b": 2}}),
            ("a b", "a b"),
            ("1.2.3", "1.2.3"),
        ),
        *(("\ufeffa: 1", {"a": 1}), ("!!str 12", "12"), ("!!int '12'", 12), ("9223372036854775807", 2**63 - 1)),
        ("a: &b {c: 1}\nd: *b", {"a": {"c": 1}, "d": {"c": 1}}),
        ("a: &b {c: 1, d: 2}\ne: {<<: *b, d: 3}", {"a": {"c": 1, "d": 2}, "e": {"c": 1, "d": 3}}),
        (
            "a: &a {c: 1}\nb: &b {c: 2, d: 4}\ne: {<<: [*a, *b]}",
            {"a": {"c": 1}, "b": {"c": 2, "d": 4}, "e": {"c": 1, "d": 4}},
        ),
    ],
)
def test_a_value_is_read_as_in_yaml_1_2(text: str, value: object) -> None:
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGE_BOMB = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{n}: &a{n} {{k: *a{n - 1}, l: *a{n - 1}, m: *a{n - 1}, <<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 14)
)
HOSTILE = {
    "octal": (
        "a: 0120",
        "line 1, column 4: 0120 is read differently by different YAML readers: write 120 for the number",
    ),
    "octal with 8": ("a: 089", "089 is read differently"),
    "underscore": (
        "a: 1_000",
        "1_000 is read differently by different YAML readers: write 1000 for the number, or quote",
    ),
    "binary": ("a: 0b101", "0b101 is read differently"),
    "underscore in a float": ("a: 1_0.5", "1_0.5 is read differently"),
    "huge integer": ("a: " + "9" * 6000, "is no whole number of at most 19 digits"),
    "huge hexadecimal": ("a: 0x" + "f" * 6000, "is no whole number"),
    "huge float": ("a: 1e999", "1e999 is too large for a number"),
    "deep lists": ("[" * 100_000, "nested deeper than the 32 levels that are allowed"),
    "deep mappings": ("{a: " * 60_000, "nested deeper than the 32 levels"),
    "deep block": ("- " * 100_000, "nested deeper than the 32 levels"),
    "deep keys": ("? " * 100_000, "nested deeper than the 32 levels"),
    "deep indents": ("\n".join(" " * n + "a:" for n in range(600)), "nested deeper than the 32 levels"),
    "alias bomb": (BOMB, f"more than the {MOST_VALUES:,} values that are allowed, with its aliases"),
    "merge bomb": (MERGE_BOMB, f"more than the {MOST_VALUES:,} values"),
    "alias to itself": ("a: &a [*a]", "an alias refers to the value that contains it"),
    "unknown alias": ("a: *b", "found undefined alias 'b'"),
    "merge of a text": ("a: {<<: b}", "the merge key `<<` needs a mapping"),
    "duplicate key": ("a: 1\na: 2", "line 2, column 1: the key 'a' appears twice"),
    "number as key": ("1: a", "the key 1 is not a string; quote it"),
    "list as key": ("[a]: 1", "the key ['a'] is not a string"),
    "tab": ("a:\n\tb: 1", "found character '\\t' that cannot start any token"),
    "NUL": ("a: b\0c", "it has the control character U+0000"),
    "escape": ("a: \x1b[31m", "it has the control character U+001B"),
    "python object": ("a: !!python/object/apply:os.system ['true']", "is not allowed; use plain values"),
    "date tag": ("a: !!timestamp 2025-01-01", "the tag !!timestamp is not allowed"),
    "binary tag": ("a: !!binary aGk=", "the tag !!binary is not allowed"),
    "own tag": ("a: !env HOME", "the tag !env is not allowed"),
    "wrong tag": ("a: !!int [1]", "a plain value was expected"),
    "wrong mapping tag": ("a: !!map 1", "a mapping was expected"),
    "two documents": ("a: 1\n---\nb: 2", "expected a single document"),
    "too large": ("a: " + "b" * LARGEST_BYTES, f"at most {LARGEST_BYTES:,} are allowed"),
    "many values": ("a: [" + "1, " * (MOST_VALUES + 1) + "1]", f"more than the {MOST_VALUES:,} values"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_in_one_sentence(name: str) -> None:
    text, said = HOSTILE[name]
    began = time.process_time()
    with pytest.raises(yaml.YAMLError) as caught:
        parse_yaml(text)
    assert said in problem_text(caught.value)
    assert "\n" not in problem_text(caught.value)
    assert len(problem_text(caught.value)) < 300
    assert time.process_time() - began < 20


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_named_with_its_fault(name: str, tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    path.write_text(HOSTILE[name][0], encoding="utf-8")
    with pytest.raises(ConfigError, match=r"training\.yaml") as caught:
        read_mapping(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("dataset: Pokémon\n".encode("latin-1"), r"line 1 is not UTF-8: it has the byte 0xe9"),
        ("a: 1\n".encode("utf-16"), r"line 1 is not UTF-8"),
        (b"a: " + b"b" * 10_000_000, r"it has 10,000,003 bytes; at most 262,144 are allowed"),
        (b"- a\n", r"contains a list; it must contain `key: value` lines"),
        (b"just text", r"contains a str"),
    ],
)
def test_a_file_that_is_no_settings_file_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        read_mapping(path)


def test_a_pipe_is_no_settings_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "training.yaml")
    with pytest.raises(ConfigError, match="it is no regular file"):
        read_mapping(tmp_path / "training.yaml")


@pytest.mark.parametrize("content", ["", "# nothing\n", "---\n", "\ufeff", "null"])
def test_an_empty_file_is_an_empty_mapping(content: str, tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    path.write_text(content, encoding="utf-8")
    found: dict[str, Any] = read_mapping(path)
    assert found == {}


@pytest.mark.parametrize(
    ("within", "beyond", "said"),
    [
        ("#" + "x" * 262_143, "#" + "x" * 262_144, "it has 262,145 bytes; at most 262,144 are allowed"),
        (
            f"[{'1,' * 9_999}]",
            f"[{'1,' * 10_000}]",
            "it has more than the 10,000 values that are allowed, with its alia",
        ),
        ("[" * 32 + "]" * 32, "[" * 33 + "]" * 33, "it is nested deeper than the 32 levels that are allowed"),
        ("9" * 19, "9" * 20, f"{'9' * 20} is no whole number of at most 19 digits"),
        ("0x" + "f" * 15, "0x" + "f" * 16, f"0x{'f' * 16} is no whole number of at most 19 digits"),
    ],
)
def test_each_limit_is_exact(within: str, beyond: str, said: str) -> None:
    parse_yaml(within)
    with pytest.raises(yaml.YAMLError) as caught:
        parse_yaml(beyond)
    assert said in problem_text(caught.value)
    assert (LARGEST_BYTES, MOST_VALUES, DEEPEST) == (262_144, 10_000, 32)


AMBIGUOUS = "is read differently by different YAML readers:"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9" * 40, f"{'9' * 40} is no whole number of at most 19 digits"),
        ("9" * 41, f"{'9' * 20}… (41 characters) is no whole number of at most 19 digits"),
        ("!!int 0o9", "0o9 is no whole number"),
        ("!!bool maybe", "'maybe' is neither true nor false"),
        (f"!!bool {'a' * 41}", f"'{'a' * 40}' is neither true nor false"),
        ("!!float abc", "'abc' is no number"),
        (f"!!float {'a' * 41}", f"'{'a' * 40}' is no number"),
        ("!!float inf", "inf is too large for a number"),
        (f"{'9' * 400}.0", f"{'9' * 40} is too large for a number"),
        ("0120", f"0120 {AMBIGUOUS} write 120 for the number, or quote it for the text ('0120')"),
        ("0_0", f"0_0 {AMBIGUOUS} quote it for the text ('0_0')"),
        (
            "0" + "1" * 19,
            f"0{'1' * 19} {AMBIGUOUS} write {'1' * 19} for the number, or quote it for the text ('0{'1' * 19}')",
        ),
        ("0" + "1" * 20, f"0{'1' * 20} {AMBIGUOUS} quote it for the text ('0{'1' * 20}')"),
        ("0" * 40, f"{'0' * 40} {AMBIGUOUS} quote it for the text ('{'0' * 40}')"),
        ("0" * 41, f"{'0' * 40}… {AMBIGUOUS} quote it for the text ('{'0' * 40}…')"),
        (f"!{'a' * 70} b", f"the tag !{'a' * 59} is not allowed; use plain values"),
        ("!!seq a", "a list was expected"),
        ("{<<: [b]}", "the merge key `<<` needs a mapping or a list of mappings (`<<: *base`)"),
    ],
)
def test_the_sentence_names_the_value_and_the_fix(text: str, said: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        parse_yaml(text)
    assert problem_text(caught.value).partition(": ")[2] == said


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("!!float -.inf", -math.inf), ("+.INF", math.inf), ("!!float -1", -1.0), ("-2.5", -2.5), ("0o7", 7)),
        *(("0x0", 0), ("-0", 0), ("+5", 5), ("!!bool TRUE", True), ("!!null x", None)),
        ("a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a, z: 4}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3, "z": 4}}),
    ],
)
def test_more_values_are_read(text: str, value: object) -> None:
    found = parse_yaml(text)
    assert found == value
    assert repr(found) == repr(value), "the keys of a merge come first, then its own in order"


def test_nan_is_read() -> None:
    assert math.isnan(parse_yaml(".nan"))


def test_a_problem_is_placed_by_its_mark_or_its_context_s() -> None:
    first, second = (yaml.Mark("x", 0, line, column, None, 0) for line, column in ((0, 4), (2, 0)))
    for error, said in (
        (yaml.MarkedYAMLError("a", first, "b", second), "line 3, column 1: a, b"),
        (yaml.MarkedYAMLError("a", first, "b"), "line 1, column 5: a, b"),
        (yaml.MarkedYAMLError(None, None, "b"), "b"),
        (yaml.YAMLError("a  \n b"), "a b"),
    ):
        assert problem_text(error) == said
