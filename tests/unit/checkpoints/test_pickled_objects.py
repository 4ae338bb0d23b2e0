"""The objects that a pickle describes, counted without building them.

pytest tests/unit/checkpoints/test_pickled_objects.py
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tinyworlds_gate.checkpoints import pickled_objects
from tinyworlds_gate.checkpoints.pickled_objects import NAMES_OF_TENSORS, ForbiddenName, Node, PickledObjects, Unsafe

TENSOR, ORDERED = ("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict")
FROM_TYPE = ("torch._tensor", "_rebuild_from_type_v2")


def objects(
    storages: dict[str, int] | None = None, allowed: frozenset[tuple[str, str]] | None = None
) -> PickledObjects:
    return PickledObjects(storages or {}, allowed)


def named(module: str, name: str) -> Node:
    node = Node()
    node.name = (module, name)
    return node


def stored(kind: str, key: Any = "0", count: Any = 4) -> Node:
    """Return the persistent id of a storage."""
    return Node(("storage", named("torch", kind), key, "cpu", count))


def tensor(storage: Any, offset: Any = 0, size: Any = (), stride: Any = ()) -> Node:
    """Return the arguments of a tensor; size and stride: tuples of numbers, or anything else as it is."""
    axes = [Node(one) if isinstance(one, tuple) else one for one in (size, stride)]
    return Node((storage, offset, *axes))


def test_the_limits_are_these() -> None:
    assert (pickled_objects.MOST_OBJECTS, pickled_objects.MOST_DEPTH, pickled_objects.MOST_AXES) == (4_000_000, 64, 64)
    assert (pickled_objects.MOST_KEYS, pickled_objects.MOST_CLASSES) == (4096, 4096)
    assert pickled_objects.TENSOR_BYTES == 67_108_864


@pytest.mark.parametrize(
    ("items", "size"),
    [
        ((), 1),
        ((7,), 2),
        ((7, 8, None), 4),
        (("a" * 63,), 2),
        (("a" * 64,), 3),
        (("a" * 4032,), 65),
        ((b"a" * 4032,), 65),
    ],
)
def test_an_object_counts_its_parts_and_long_text_more(items: tuple[Any, ...], size: int) -> None:
    node = Node(items)
    assert (node.size, node.depth, node.nodes, node.item_bytes) == (size, 1, 1, 0)
    grown = Node()
    for item in items:
        grown.grow(item)
    assert grown.size == size


def test_parts_that_are_objects_count_with_their_own_parts_each_time() -> None:
    inner = Node((1, 2))
    outer = Node((inner, inner, 5))
    assert (outer.size, outer.depth, outer.nodes) == (8, 2, 3)
    assert Node((Node((outer,)), inner)).depth == 4
    with pytest.raises(Unsafe, match="contains itself, or changes after it was put into another"):
        inner.grow(3)


def test_depth_and_size_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    for _ in range(63):
        node = Node((node,))
    assert node.depth == 64
    with pytest.raises(Unsafe, match="nests objects more than 64 deep"):
        Node((node,))
    monkeypatch.setattr(pickled_objects, "MOST_OBJECTS", 4)
    assert Node((1, 2, None)).size == 4
    with pytest.raises(Unsafe, match="describes more than 4 objects, shared ones counted each time"):
        Node((1, 2, 3, None))


def test_the_memo_has_no_number_far_beyond_the_others() -> None:
    scan = objects()
    scan.require_small_memo()
    scan.memo = dict.fromkeys((0, 1, 65_542))
    scan.require_small_memo()
    scan.memo = dict.fromkeys((0, 1, 65_543))
    with pytest.raises(Unsafe, match="stores an object under the number 65543, far beyond the others"):
        scan.require_small_memo()


def test_only_an_object_holds_others() -> None:
    scan = objects()
    scan.stack = [Node(), "text"]
    with pytest.raises(ValueError, match="a str cannot hold anything"):
        scan.grow([1])
    scan.stack = ["text", Node()]
    scan.grow([1, 2])
    assert scan.stack[-1].size == 3


def test_a_mark_gives_back_what_was_pushed_after_it() -> None:
    scan = objects()
    scan.stack, scan.marks = [3, 4], [[1, 2]]
    assert (scan.pop_mark(), scan.stack, scan.marks) == ([3, 4], [1, 2], [])


def counts(scan: PickledObjects) -> tuple[int, int]:
    return scan._keys, scan._work


@pytest.mark.parametrize(
    ("key", "keys", "work"),
    [("text", 0, 0), (2**64 - 1, 0, 0), (2**64, 1, 0), (-(2**64), 1, 0), (1.5, 0, 0), (Node((Node((1, 2)), 3)), 2, 5)],
)
def test_keys_whose_hashes_may_collide_are_counted(key: Any, keys: int, work: int) -> None:
    scan = objects()
    scan.key(key)
    assert counts(scan) == (keys, work)


def test_the_number_of_such_keys_and_the_work_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = objects()
    for _ in range(4096):
        scan.key(2**64)
    with pytest.raises(Unsafe, match="has more than 4096 keys that are no text and no number of 64 bits"):
        scan.key(2**64)
    scan = objects()
    monkeypatch.setattr(pickled_objects, "MOST_OBJECTS", 1)
    for item in (Node((7,)), "text", None):
        scan.work(item)
    with pytest.raises(Unsafe, match="has operations that walk over the same objects again and again"):
        scan.work(None)


def test_a_mapping_holds_its_keys_and_values() -> None:
    scan, node = objects(), Node()
    scan.mapping(node, ["a", 1, "b" * 64, Node((2,)), 3, "c"])
    assert (node.size, node.depth, counts(scan)) == (9, 2, (0, 0))
    scan.mapping(node, [Node((5,)), None])
    assert (node.size, node.nodes, counts(scan)) == (12, 3, (1, 2))
    with pytest.raises(ValueError, match="zip"):
        scan.mapping(node, ["a", 1, "b"])


@pytest.mark.parametrize(("module", "name"), [("torch", 1), (1, "Size"), (None, None), ("torch", b"Size")])
def test_a_name_is_two_texts(module: Any, name: Any) -> None:
    for allowed in (None, NAMES_OF_TENSORS):
        with pytest.raises(ValueError, match="a name that is no text"):
            objects(allowed=allowed).global_name(module, name)


def test_names_are_those_allowed_and_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert objects(allowed=NAMES_OF_TENSORS).global_name(*ORDERED).name == ORDERED
    with pytest.raises(ForbiddenName, match=r"^os\.system$"):
        objects(allowed=NAMES_OF_TENSORS).global_name("os", "system")
    with pytest.raises(ForbiddenName) as error:
        objects(allowed=frozenset()).global_name("é", "n" * 300)
    assert str(error.value) == r"\xe9." + "n" * 195
    scan = objects()
    monkeypatch.setattr(pickled_objects, "MOST_CLASSES", 2)
    for name in ("A", "B", "A"):
        assert scan.global_name("m", name).name == ("m", name)
    with pytest.raises(Unsafe, match="names more than 2 classes"):
        scan.global_name("m", "C")


def test_a_call_is_an_object_of_its_function_and_arguments() -> None:
    scan, function, arguments = objects(), named("theirs", "Config"), Node((1, 2))
    made = scan.call(function, arguments)
    assert (made.items, made.size, scan._work) == ((function, arguments), 5, 3)
    assert objects().call(Node(), arguments).depth == 2
    assert objects().call(named(*TENSOR), "no arguments").size == 3


def test_only_allowed_functions_are_called() -> None:
    def call(function: Any) -> Node:
        return objects(allowed=NAMES_OF_TENSORS).call(function, Node())

    assert call(named(*ORDERED)).size == 3
    with pytest.raises(Unsafe, match=r"calls torch\.float32"):
        call(named("torch", "float32"))
    for function in (Node(), "text"):
        with pytest.raises(Unsafe, match="calls an object"):
            call(function)


@pytest.mark.parametrize(("name", "keys"), [("set", 2), ("frozenset", 2), ("OrderedDict", 2), ("Size", 0)])
def test_the_arguments_of_what_hashes_them_count_as_keys(name: str, keys: int) -> None:
    scan = objects()
    scan.call(named("builtins", name), Node((Node((1,)), Node())))
    assert scan._keys == keys


def test_a_tensor_of_a_subclass_is_rebuilt_by_its_own_function() -> None:
    scan = objects({"0": 16})
    storage = scan.storage(stored("FloatStorage"))
    inner = tensor(storage, 0, (2**20, 16), (0, 0))
    scan.call(named(*FROM_TYPE), Node((named(*TENSOR), named("torch", "Tensor"), inner, None)))
    for items in ((inner,), (inner, None)):
        with pytest.raises(Unsafe, match="elements, which are not in the file"):
            scan.call(named(*FROM_TYPE), Node((named(*TENSOR), named("torch", "Tensor"), *items)))


@pytest.mark.parametrize(
    "items",
    [
        (named(*TENSOR), named("torch", "Tensor")),
        (named(*TENSOR), named("torch", "Tensor"), "text"),
        ("text", named("torch", "Tensor"), Node()),
        (),
    ],
)
def test_a_tensor_of_a_subclass_needs_a_function_and_arguments(items: tuple[Any, ...]) -> None:
    with pytest.raises(Unsafe, match="rebuilds a tensor from something else than a function and arguments"):
        objects().call(named(*FROM_TYPE), Node(items))


def test_text_becomes_bytes_in_one_encoding() -> None:
    encode = named("_codecs", "encode")
    assert objects().call(encode, Node(("x", "latin1"))).depth == 2
    for items in (("x", "utf-8"), ("x",), ("x", "latin1", "ignore")):
        with pytest.raises(Unsafe, match="has bytes in another encoding than latin1"):
            objects().call(encode, Node(items))


def test_only_an_ordered_dictionary_has_a_state() -> None:
    for made, allowed in ((Node((named(*ORDERED), Node())), NAMES_OF_TENSORS), (Node(), None)):
        scan = objects(allowed=allowed)
        scan.stack, size = [made], made.size
        scan.build(Node((1, 2)))
        assert (made.size, scan._work) == (size + 3, 3)
    for made in (Node((named("torch", "Size"), Node())), Node(), Node(("text",))):
        scan = objects(allowed=NAMES_OF_TENSORS)
        scan.stack = [made]
        with pytest.raises(Unsafe, match="sets the state of something else than an OrderedDict"):
            scan.build(Node())


def test_tensors_have_up_to_four_times_the_bytes_of_the_file_and_the_allowance() -> None:
    scan = objects({"0": 1024, "1": 1024})
    half = scan.storage(stored("HalfStorage", count=512))
    most = (67_108_864 + 4 * 2048) // 2
    scan.call(named(*TENSOR), tensor(half, 0, (most - 1,), (0,)))
    scan.call(named(*TENSOR), tensor(half))
    with pytest.raises(Unsafe, match="has tensors of 1 and more elements, which are not in the file"):
        scan.call(named(*TENSOR), tensor(half))
    with pytest.raises(Unsafe, match=f"has tensors of {10**18} and more"):
        scan.call(named(*TENSOR), tensor(half, 0, (10**10, 10**10), (0, 0)))


@pytest.mark.parametrize("version", ["_rebuild_tensor_v2", "_rebuild_tensor_v3"])
@pytest.mark.parametrize(
    "arguments",
    [
        lambda storage: tensor("no storage", 0, (1,), (1,)),
        lambda storage: tensor(storage, -1, (1,), (1,)),
        lambda storage: tensor(storage, True, (1,), (1,)),
        lambda storage: tensor(storage, 0, (-1,), (1,)),
        lambda storage: tensor(storage, 0, (1,), (-1,)),
        lambda storage: tensor(storage, 0, ("1",), (1,)),
        lambda storage: tensor(storage, 0, "1", (1,)),
        lambda storage: tensor(storage, 0, (1,), "1"),
        lambda storage: Node((storage,)),
        lambda storage: Node((storage, 0, Node((1,)))),
        lambda storage: Node(),
    ],
)
def test_a_tensor_is_a_storage_and_numbers(arguments: Callable[[Node], Node], version: str) -> None:
    scan = objects({"0": 16})
    storage = scan.storage(stored("FloatStorage"))
    with pytest.raises(Unsafe, match="rebuilds a tensor from something else than a storage and numbers"):
        scan.call(named("torch._utils", version), arguments(storage))


def test_a_tensor_has_up_to_64_axes() -> None:
    scan = objects({"0": 16})
    storage = scan.storage(stored("FloatStorage"))
    scan.call(named(*TENSOR), tensor(storage, 0, (1,) * 64, (0,) * 64))
    for shape, steps in (((1,) * 65, ()), ((), (1,) * 65)):
        with pytest.raises(Unsafe, match="has a tensor of more than 64 axes"):
            scan.call(named(*TENSOR), tensor(storage, 0, shape, steps))


@pytest.mark.parametrize(
    ("kind", "width"),
    [
        *((kind, 8) for kind in ("DoubleStorage", "LongStorage", "ComplexFloatStorage")),
        *((kind, 4) for kind in ("FloatStorage", "IntStorage", "QInt32Storage")),
        *((kind, 2) for kind in ("HalfStorage", "BFloat16Storage", "ShortStorage")),
        *((kind, 1) for kind in ("CharStorage", "ByteStorage", "BoolStorage", "UntypedStorage", "QInt8Storage")),
        *((kind, 1) for kind in ("QUInt8Storage", "QUInt4x2Storage", "QUInt2x4Storage")),
        ("ComplexDoubleStorage", 16),
    ],
)
def test_a_storage_has_at_least_the_bytes_of_its_elements(kind: str, width: int) -> None:
    assert objects({"0": 4 * width}).storage(stored(kind)).item_bytes == width
    with pytest.raises(ValueError, match=f"storage 0 has {4 * width - 1} bytes for 4 elements of {width} bytes"):
        objects({"0": 4 * width - 1}).storage(stored(kind))


@pytest.mark.parametrize(("count", "found"), [(-1, 16), (0, None), (1, None), (5, 16)])
def test_the_elements_of_a_storage_are_in_the_file(count: int, found: int | None) -> None:
    storages = {} if found is None else {"0": found}
    with pytest.raises(ValueError, match=f"storage 0 has {found or 0} bytes for {count} elements of 4 bytes"):
        objects(storages).storage(stored("FloatStorage", count=count))
    with pytest.raises(ValueError, match="for -1 elements of 1 bytes"):
        objects({"0": 4}).storage(stored("ByteStorage", count=-1))
    assert objects({"0": 0}).storage(stored("FloatStorage", count=0)).item_bytes == 4


@pytest.mark.parametrize(
    "pid",
    [
        "storage",
        Node(("storage", named("torch", "FloatStorage"), "0", "cpu")),
        Node(("module", named("torch", "FloatStorage"), "0", "cpu", 4)),
        stored("NoStorage"),
        Node(("storage", "FloatStorage", "0", "cpu", 4)),
        Node(("storage", Node(), "0", "cpu", 4)),
        stored("FloatStorage", key=0),
        stored("FloatStorage", count="4"),
        stored("FloatStorage", count=True),
        stored("NoStorage", key=0),
    ],
)
def test_a_persistent_id_is_that_of_a_storage(pid: Any) -> None:
    with pytest.raises(ValueError, match=re.escape("a persistent id that is no tensor storage")):
        objects({"0": 16}).storage(pid)


def test_a_storage_is_of_one_type() -> None:
    scan = objects({"0": 16})
    for _ in range(2):
        scan.storage(stored("FloatStorage"))
    with pytest.raises(Unsafe, match="reads the storage 0 as two types"):
        scan.storage(stored("IntStorage"))
