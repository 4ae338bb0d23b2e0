"""Overrides on a command line reach the stage unchanged, whatever a folder is called.

pytest tests/unit/launch/test_command_overrides.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyworlds_gate.config.stage_config import parse_overrides
from tinyworlds_gate.launch.command import override_arguments

TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff\u2028\u2029"), min_size=1, max_size=40
)
"""Any text without control characters (which are refused) that a file name can hold."""


def arrives(value: str | Path) -> object:
    """Return the value that the stage parses."""
    (argument,) = override_arguments({"data_path": value})
    return parse_overrides([argument], ["data_path"])["data_path"]


@pytest.mark.parametrize(
    "path",
    [
        "/data/run #2/frames.h5",
        "/data/run: last/frames.h5",
        '/data/it\'s 100% "ours"/frames.h5',
        "/data/[a]{b}&c*d!e|f>g`h@i/frames.h5",
        "/data/$HOME/~/frames.h5",
        "- frames.h5",
        "12",
        "1e-3",
        "null",
        "true",
        "~",
        " leading and trailing ",
        "Zürich →",
    ],
)
def test_a_path_that_yaml_would_read_differently_arrives_unchanged(path: str) -> None:
    assert arrives(path) == path
    assert arrives(Path(path)) == path


def test_a_plain_path_is_written_unquoted() -> None:
    assert override_arguments({"data_path": "/data/a b/x.h5"}) == ["data_path=/data/a b/x.h5"]


@settings(max_examples=300, deadline=None)
@given(text=TEXT)
def test_any_text_arrives_unchanged(text: str) -> None:
    assert arrives(text) == text


@settings(max_examples=100, deadline=None)
@given(number=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-sys.maxsize, sys.maxsize) | st.booleans())
def test_any_number_arrives_as_the_same_number(number: float) -> None:
    (argument,) = override_arguments({"learning_rate": number})
    read = parse_overrides([argument], ["learning_rate"])["learning_rate"]
    assert (read, type(read)) == (number, type(number))
