"""The operations of a pickle, followed without building what they describe.

pytest tests/unit/checkpoints/test_scan_pickle.py
"""

from __future__ import annotations

import array
import collections
import pickle
import pickletools
from typing import Any

import pytest

from tinyworlds_gate.checkpoints import pickled_objects, scan_pickle
from tinyworlds_gate.checkpoints.pickled_objects import Node, PickledObjects, Unsafe

ONE = b"K\x01"


def top(operations: bytes, **storages: int) -> Any:
    """Return what the scan has on its stack after these operations."""
    made = list[PickledObjects]()

    class Kept(PickledObjects):
        def require_small_memo(self) -> None:
            made.append(self)
            super().require_small_memo()

    original, scan_pickle.PickledObjects = scan_pickle.PickledObjects, Kept  # type: ignore[misc]
    try:
        scan_pickle.scan_pickle(operations + b".", storages)
    finally:
        scan_pickle.PickledObjects = original  # type: ignore[misc]
    return made[0].stack[-1]


def size(operations: bytes) -> tuple[int, int]:
    """Return the size and depth of the object on top."""
    node = top(operations)
    assert isinstance(node, Node)
    return node.size, node.depth


VALUES = [
    *([1, "two", 3.5, None, True], {"a": 1, "b": [2, 3]}, (1, 2, 3, 4), {1, 2}, frozenset({1, 2}), b"bytes" * 60),
    *(2**40, -(2**200), "x" * 300, "é\udc80", [[]] * 3, collections.OrderedDict(a=1), bytearray(b"x"), 1 + 2j),
    *(list(range(2000)), {number: str(number) for number in range(300)}, array.array("d", [1.0])),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_what_python_pickles_is_followed_to_its_end(value: Any, protocol: int) -> None:
    scan_pickle.scan_pickle(pickle.dumps(value, protocol), {})


def test_every_operation_has_a_step() -> None:
    assert set(scan_pickle._STEPS) == {ord(one.code) for one in pickletools.opcodes}


@pytest.mark.parametrize(
    ("operations", "found"),
    [
        (b")", (1, 1)),
        (ONE + b"\x85", (2, 1)),
        (ONE * 3 + b"\x86", (3, 1)),
        (ONE * 4 + b"\x87", (4, 1)),
        (b"(" + ONE * 4 + b"t", (5, 1)),
        (b"(" + ONE * 4 + b"l", (5, 1)),
        (b"]" + ONE + b"a" + ONE + b"a", (3, 1)),
        (b"](" + ONE * 3 + b"e", (4, 1)),
        (b"}" + ONE * 2 + b"s", (3, 1)),
        (b"}(" + ONE * 4 + b"u", (5, 1)),
        (b"(" + ONE * 4 + b"d", (5, 1)),
        (b"\x8f(" + ONE * 3 + b"\x90", (4, 1)),
        (b"(" + ONE * 3 + b"\x91", (4, 1)),
        (b"]q\x05h\x05\x85", (2, 2)),
        (b"]r\x05\x00\x00\x00j\x05\x00\x00\x00\x85", (2, 2)),
        (b"]p5\ng5\n\x85", (2, 2)),
        (b"]\x94h\x00\x85", (2, 2)),
        (b"]2\x86", (3, 2)),
        (b"]" + ONE + b"0\x85", (2, 2)),
        (b"](" + ONE * 3 + b"1\x85", (2, 2)),
        (b"](0\x85", (2, 2)),
        (b"ctheirs\nThing\n)R", (3, 2)),
        (b"ctheirs\nThing\n)\x81", (3, 2)),
        (b"(ctheirs\nThing\n" + ONE * 2 + b"o", (5, 2)),
        (b"(" + ONE * 2 + b"itheirs\nThing\n", (5, 2)),
        (b"ctheirs\nThing\n)}\x92", (4, 2)),
        (b"ctheirs\nThing\n)R}b", (4, 2)),
        (b"X\x06\x00\x00\x00theirsX\x05\x00\x00\x00Thing\x93)R", (3, 2)),
        (b"\x88\x89\x86", (3, 1)),
        (b"(((" + b"ttt", (3, 3)),
    ],
)
def test_the_size_and_depth_of_what_operations_build(operations: bytes, found: tuple[int, int]) -> None:
    assert size(operations) == found


def test_a_persistent_id_is_a_storage() -> None:
    storage = b"(X\x07\x00\x00\x00storagectorch\nLongStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
    node = top(storage, **{"0": 32})
    assert node.item_bytes == 8
    with pytest.raises(ValueError, match="storage 0 has 31 bytes for 4 elements of 8 bytes"):
        top(storage, **{"0": 31})


@pytest.mark.parametrize(
    "operations", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"\x97", b"\x98", b"P1\n"]
)
def test_operations_that_plain_data_does_not_need_are_refused(operations: bytes) -> None:
    with pytest.raises(Unsafe, match="an operation that plain data does not need"):
        scan_pickle.scan_pickle(operations + b".", {})


@pytest.mark.parametrize("bits", [255, 256, 257])
def test_a_whole_number_has_up_to_256_bits(bits: int) -> None:
    for number in (2 ** (bits - 1), -(2 ** (bits - 1))):
        for protocol in (0, 1, 2):
            data = pickle.dumps(number, protocol)
            if bits <= 256:
                scan_pickle.scan_pickle(data, {})
            else:
                with pytest.raises(Unsafe, match=f"has a whole number of {bits} bits, and 256 are allowed"):
                    scan_pickle.scan_pickle(data, {})


def test_the_number_of_an_object_has_four_bytes() -> None:
    for number in (2**16 + 2**7, 2**24, 2**31):
        with pytest.raises(Unsafe, match=f"stores an object under the number {number}, far beyond the others"):
            scan_pickle.scan_pickle(b"]r" + number.to_bytes(4, "little") + b".", {})


def test_the_number_of_operations_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scan_pickle.MOST_OPERATIONS == 1_000_000
    monkeypatch.setattr(scan_pickle, "MOST_OPERATIONS", 4)
    scan_pickle.scan_pickle(ONE * 3 + b".", {})
    with pytest.raises(Unsafe, match="has more than 4 operations"):
        scan_pickle.scan_pickle(ONE * 4 + b".", {})


def test_members_of_sets_and_keys_are_counted_as_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled_objects, "MOST_KEYS", 2)
    pairs = {count: b")\x85" * count for count in (2, 3)}
    keys = {count: (b")\x85" + ONE) * count for count in (2, 3)}
    for before, members, after in (
        (b"(", pairs, b"\x91"),
        (b"\x8f(", pairs, b"\x90"),
        (b"}(", keys, b"u"),
        (b"(", keys, b"d"),
    ):
        with pytest.raises(Unsafe, match="has more than 2 keys"):
            top(before + members[2] + after)
    monkeypatch.setattr(pickled_objects, "MOST_KEYS", 6)
    for before, members, after in ((b"(", pairs, b"\x91"), (b"\x8f(", pairs, b"\x90"), (b"}(", keys, b"u")):
        assert top(before + members[3] + after).size > 3
    assert top(b"}" + b")" + ONE + b"s").size == 3


@pytest.mark.parametrize("operations", [b"", b"K", b"h\x07.", b"0.", b"\x85.", b"]", b"R.", b"q\x00."])
def test_a_pickle_that_is_cut_off_or_takes_what_is_not_there_is_an_error(operations: bytes) -> None:
    if operations == b"\x85.":
        scan_pickle.scan_pickle(operations, {})
        return
    with pytest.raises((IndexError, KeyError, ValueError, AttributeError)):
        scan_pickle.scan_pickle(operations, {})


def test_an_object_is_not_changed_after_it_was_put_into_another() -> None:
    with pytest.raises(Unsafe, match="contains itself, or changes after it was put into another"):
        top(b"]q\x00\x850h\x00" + ONE + b"a")
    with pytest.raises(Unsafe, match="contains itself"):
        top(b")" + ONE + b"a")
