"""How an object of an unknown class reads, and which data a checkpoint may hold.

pytest tests/unit/checkpoints/test_plain.py
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch

from tinyworlds_gate.checkpoints.plain import (
    Foreign,
    Intermediate,
    foreign_class,
    on_cpu,
    require_plain,
    tensor_bytes,
    to_plain,
)
from tinyworlds_gate.errors import CheckpointError

THING = foreign_class("lib.config", "Thing")


def thing(*arguments: Any, states: Any = (), items: Any = (), entries: Any = (), **keywords: Any) -> Foreign:
    """Return an object of an unknown class as a pickle builds it."""
    made = THING(*arguments, **keywords)
    for state in states:
        made.__setstate__(state)
    for item in items:
        made.append(item)
    for key, value in entries:
        made[key] = value
    return made


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (thing(), {}),
        (thing("cuda"), "cuda"),
        (thing(None), None),
        (thing("a", 2), ["a", 2]),
        (thing(a=1), {"a": 1}),
        (thing(states=[{"a": 1, "b": 2}]), {"a": 1, "b": 2}),
        (thing(states=[({"a": 1}, {"slot": 2})]), {"a": 1, "slot": 2}),
        (thing(states=[(None, {"slot": 2})]), {"slot": 2}),
        (thing(states=[{"a": 1}, {"a": 2, "b": 3}]), {"a": 2, "b": 3}),
        (thing(states=[5]), {"state": 5}),
        (thing(states=[None]), {}),
        (thing(items=[1, "b"]), [1, "b"]),
        (thing(entries=[("a", 1), ("b", 2)]), {"a": 1, "b": 2}),
        (thing("argument", items=[1]), [1]),
        (thing("argument", items=[1], states=[{"a": 1}]), {"a": 1}),
        (thing(a=1, b=1, c=1, states=[{"b": 2, "c": 2}], entries=[("c", 3)]), {"a": 1, "b": 2, "c": 3}),
        (thing(states=[{"inner": thing(states=[{"a": [thing("x")]}])}]), {"inner": {"a": ["x"]}}),
    ],
)
def test_an_object_of_an_unknown_class_reads_as_its_data(made: Foreign, expected: object) -> None:
    read = to_plain({"value": made})["value"]
    assert (read, type(read)) == (expected, type(expected))


def test_a_class_reads_as_its_name_and_cannot_be_written_to() -> None:
    assert to_plain([THING]) == ["lib.config.Thing"]
    with pytest.raises(TypeError, match=r"the stand-in for lib\.config\.Thing is read-only"):
        THING.arguments = ()


def test_collections_keep_their_kind_and_a_key_that_cannot_be_hashed_is_text() -> None:
    value = {"a": (1, [2.5, b"x"]), "set": {1, 2}, thing("k"): 1, thing(a=1): 2}
    assert to_plain(value) == {"a": (1, [2.5, b"x"]), "set": {1, 2}, "k": 1, "{'a': 1}": 2}
    assert type(to_plain(OrderedDict(a=1))) is dict


def test_shared_objects_stay_shared_and_one_that_contains_itself_is_refused() -> None:
    shared = [1]
    first, second = to_plain([shared, shared])
    assert first is second
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="an object that contains itself"):
        to_plain(loop)
    with pytest.raises(TypeError, match="Intermediate is no data"):
        to_plain([Intermediate()])


@pytest.mark.parametrize(
    "value", [None, True, 1, 0.5, "a", b"a", torch.ones(1), torch.Size([2]), [1, (2,)], {"a": {1: None}, None: 1}]
)
def test_plain_data_may_be_saved(value: object) -> None:
    require_plain(value, "state")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (thing(), r"state is a lib\.config\.Thing; a checkpoint holds"),
        ([1, {2}], r"state\[1\] is a builtins\.set; a checkpoint holds numbers"),
        ({"a": [({"b": print},)]}, r"state\['a'\]\[0\]\[0\]\['b'\] is a builtins\.builtin_function_or_method;"),
        ({(1,): 1}, "state has a key of type tuple; allowed: text and numbers"),
        ({"a": {(1,): 1}}, r"state\['a'\] has a key of type tuple"),
    ],
)
def test_other_data_is_refused_with_its_place_and_type(value: object, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        require_plain(value, "state")


def test_tensors_go_to_a_file_with_their_own_bytes_only() -> None:
    whole = torch.arange(10.0)
    saved = on_cpu({"whole": whole, "part": OrderedDict(a=[whole[2:4]]), "pair": (whole[:1], "text")})
    assert (type(saved["part"]), type(saved["pair"])) == (dict, tuple)
    assert saved["whole"].untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
    for tensor, expected in ((saved["part"]["a"][0], whole[2:4]), (saved["pair"][0], whole[:1])):
        assert torch.equal(tensor, expected)
        assert tensor.untyped_storage().nbytes() == 4 * tensor.numel()
    assert on_cpu(torch.nn.Parameter(torch.ones(1))).requires_grad is False


def test_a_shared_tensor_counts_once_and_parts_of_one_each_by_itself() -> None:
    whole = torch.zeros(10)
    assert tensor_bytes({"a": whole, "b": (whole, [whole.view(2, 5)])}) == 40
    assert tensor_bytes([whole, torch.zeros(10, dtype=torch.int64)]) == 120
    assert tensor_bytes([whole[:4], whole[:4], "text", 3, None]) == 32
    assert tensor_bytes([]) == 0
