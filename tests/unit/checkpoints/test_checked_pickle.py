"""A pickle is checked once, with its storages and its allowed names.

pytest tests/unit/checkpoints/test_checked_pickle.py
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tinyworlds_gate.checkpoints import checked_pickle as module
from tinyworlds_gate.checkpoints.checked_pickle import FIX, checked_pickle, shortened
from tinyworlds_gate.checkpoints.pickled_objects import NAMES_OF_TENSORS
from tinyworlds_gate.errors import CheckpointError

PLAIN, THEIRS = b"]K\x01a.", b"ctheirs\nThing\n)R."
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nLongStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ."


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_known", {})


def archive(data: bytes, **sizes: int) -> Any:
    """Return an archive with this pickle and records of these sizes; `data__0` is the record `data/0`."""
    records = {name.replace("__", "/"): SimpleNamespace(size=size) for name, size in sizes.items()}
    return SimpleNamespace(path=Path("x.pt"), records=records, pickle=lambda: data)


def refusal(made: Any, allowed: frozenset[tuple[str, str]] | None = None) -> str:
    with pytest.raises(CheckpointError) as error:
        checked_pickle(made, allowed)
    return str(error.value)


def test_a_good_pickle_is_returned_and_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = list[bytes]()
    whole = module.scan_pickle

    def scan(data: bytes, *rest: Any) -> None:
        checked.append(data)
        whole(data, *rest)

    monkeypatch.setattr(module, "scan_pickle", scan)
    for _ in range(2):
        assert checked_pickle(archive(PLAIN)) == PLAIN
    assert checked == [PLAIN]
    for _ in range(2):
        assert "calls theirs" not in refusal(archive(THEIRS), frozenset())
    assert checked == [PLAIN, THEIRS]


def test_what_is_known_is_of_the_storages_and_of_the_allowed_names_too() -> None:
    assert checked_pickle(archive(STORAGE, data__0=32)) == STORAGE
    assert "storage 0 has 31 bytes" in refusal(archive(STORAGE, data__0=31))
    assert "storage 0 has 0 bytes" in refusal(archive(STORAGE, other__0=32, code0=32))
    assert checked_pickle(archive(THEIRS)) == THEIRS
    assert refusal(archive(THEIRS), NAMES_OF_TENSORS) == (
        f"x.pt is refused: it holds more than tensors and plain data (its pickle names theirs.Thing). {FIX}"
    )


def test_what_is_unsafe_and_what_is_broken_is_refused_with_the_reason() -> None:
    assert refusal(archive(b"]q\x00\x850h\x00K\x01a.")) == (
        "x.pt is refused: its pickle has an object that contains itself, or changes after it was put into another. "
        f"{FIX}"
    )
    assert refusal(archive(b"]")) == "x.pt is damaged: its pickle cannot be read (IndexError: index out of range)"
    assert "is damaged: its pickle cannot be read (KeyError: 7)" in refusal(archive(b"h\x07."))


def test_the_number_of_known_pickles_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._MOST_KNOWN == 1000
    monkeypatch.setattr(module, "_MOST_KNOWN", 2)
    for number, known in enumerate((1, 2, 1, 2)):
        checked_pickle(archive(b"K" + bytes([number]) + b"."))
        assert len(module._known) == known


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\ntwo", "one"),
        ("", "ValueError"),
        ("x" * 300, "x" * 300),
        ("x" * 301, "x" * 300 + "…"),
    ],
)
def test_an_error_is_shown_by_its_first_line(text: str, shown: str) -> None:
    assert shortened(ValueError(text)) == shown
