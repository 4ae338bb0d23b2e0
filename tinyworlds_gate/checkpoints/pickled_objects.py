"""The objects that a pickle describes, without building them: their depth, their size and what they are made of.

A few hundred bytes can describe tuples inside tuples whose hash takes years or more stack than a process has, a table
of 64 GB, or a tensor of 10^12 elements. Each object is a `Node` with its depth and with its size as a tree, where
shared parts count each time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MOST_OBJECTS = 4_000_000
MOST_DEPTH = 64
MOST_KEYS = 4096
"""Keys and members of sets that are objects themselves, or numbers of more than 64 bits: their hashes may collide."""
MOST_CLASSES = 4096
MOST_AXES = 64
TENSOR_BYTES = 64 * 2**20
"""Tensors may be views that repeat elements: together up to this, or four times the bytes of all storages."""

_REPEATED = 4
_TENSORS = {("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor_v3")}
_FROM_TYPE = ("torch._tensor", "_rebuild_from_type_v2")
_ENCODE, _ORDERED = ("_codecs", "encode"), ("collections", "OrderedDict")
_FUNCTIONS = _TENSORS | {
    _FROM_TYPE,
    _ENCODE,
    _ORDERED,
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_parameter_with_state"),
    ("torch", "Size"),
    ("torch", "device"),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("set", "complex")),
}
_HASHING = {"set", "frozenset", "OrderedDict"}
_ITEM_BYTES = {
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("CharStorage", "ByteStorage", "BoolStorage", "UntypedStorage"), 1),
    **dict.fromkeys(("QInt8Storage", "QUInt8Storage", "QUInt4x2Storage", "QUInt2x4Storage"), 1),
    "ComplexDoubleStorage": 16,
}
_DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "complex128", "complex64", "complex32", "bool"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
)
NAMES_OF_TENSORS = frozenset(
    _FUNCTIONS
    | {("torch", name) for name in (*_DTYPES, *_ITEM_BYTES, "Tensor")}
    | {("torch.storage", "UntypedStorage"), ("torch.nn.parameter", "Parameter")}
)
"""What torch.save names for tensors, numbers and text; of these only `_FUNCTIONS` are called."""


class Unsafe(Exception):
    """Loading the pickle could hang, crash or take all memory; the message says why."""


class ForbiddenName(Unsafe):
    """The pickle names something that it may not use; the message has the name."""


class Node:
    """An object that the pickle builds."""

    __slots__ = ("depth", "held", "item_bytes", "items", "name", "nodes", "size")

    def __init__(self, items: tuple[Any, ...] = ()) -> None:
        self.items = items
        self.name: tuple[str, str] | None = None
        """Module and name, of a class or function."""
        self.item_bytes = 0
        """Bytes of an element, of a storage."""
        self.held = False
        self.depth, self.size, self.nodes = 1, 1 + len(items), 1
        for item in items:
            if type(item) is not int:
                self.size -= 1
                self._add(item)

    def grow(self, item: Any) -> None:
        """Put an object into this one."""
        if self.held:
            raise Unsafe("has an object that contains itself, or changes after it was put into another")
        self._add(item)

    def _add(self, item: Any) -> None:
        kind = type(item)
        if kind is Node:
            item.held = True
            self.size += item.size
            self.nodes += item.nodes
            if item.depth >= self.depth:
                self.depth = item.depth + 1
                if self.depth > MOST_DEPTH:
                    raise Unsafe(f"nests objects more than {MOST_DEPTH} deep")
        else:
            self.size += 1 + len(item) // 64 if kind is str or kind is bytes else 1
        if self.size > MOST_OBJECTS:
            raise Unsafe(f"describes more than {MOST_OBJECTS} objects, shared ones counted each time")


class PickledObjects:
    """The stack and the memo of an unpickler, with nodes in place of objects."""

    def __init__(self, storages: Mapping[str, int], allowed: frozenset[tuple[str, str]] | None) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.names = set[tuple[str, str]]()
        self._kinds: dict[str, tuple[str, str]] = {}
        self._storages, self._allowed = storages, allowed
        self._most_tensor_bytes = TENSOR_BYTES + _REPEATED * sum(storages.values())
        self._keys = self._work = self._tensor_bytes = 0

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def require_small_memo(self) -> None:
        """Refuse a number far beyond the others, for which an unpickler makes a table of that length."""
        if (last := max(self.memo, default=0)) > 2 * len(self.memo) + 65_536:
            raise Unsafe(f"stores an object under the number {last}, far beyond the others")

    def node(self) -> Node:
        found = self.stack[-1]
        if not isinstance(found, Node):
            raise ValueError(f"a {type(found).__name__} cannot hold anything")
        return found

    def grow(self, items: list[Any]) -> None:
        node = self.node()
        for item in items:
            node.grow(item)

    def key(self, key: Any) -> None:
        """Count a key of a mapping or a member of a set, which is hashed."""
        if isinstance(key, Node):
            self._count(key.nodes)
            self.work(key)
        elif isinstance(key, int) and key.bit_length() > 64:
            self._count(1)

    def _count(self, keys: int) -> None:
        self._keys += keys
        if self._keys > MOST_KEYS:
            raise Unsafe(f"has more than {MOST_KEYS} keys that are no text and no number of 64 bits")

    def work(self, item: Any) -> None:
        """Count an object that an operation may walk over."""
        self._work += item.size if isinstance(item, Node) else 1
        if self._work > 4 * MOST_OBJECTS:
            raise Unsafe("has operations that walk over the same objects again and again")

    def mapping(self, node: Node, items: list[Any]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:
                self.key(key)
            node.grow(key)
            node.grow(value)

    def global_name(self, module: Any, name: Any) -> Node:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        if self._allowed is not None and (module, name) not in self._allowed:
            raise ForbiddenName(ascii(f"{module}.{name}")[1:201].rstrip("'"))
        self.names.add((module, name))
        if len(self.names) > MOST_CLASSES:
            raise Unsafe(f"names more than {MOST_CLASSES} classes")
        node = Node()
        node.name = (module, name)
        return node

    def call(self, function: Any, arguments: Any) -> Node:
        self.work(arguments)
        made = Node((function, arguments))
        name = function.name if isinstance(function, Node) else None
        if self._allowed is not None and name not in _FUNCTIONS:
            raise Unsafe(f"calls {'an object' if name is None else '.'.join(name)}")
        if name is None or not isinstance(arguments, Node):
            return made
        if name[1] in _HASHING:
            self._count(arguments.nodes - 1)
        items = arguments.items
        if name == _FROM_TYPE:
            if len(items) > 2 and isinstance(items[0], Node) and isinstance(items[2], Node):
                return self.call(items[0], items[2])
            raise Unsafe("rebuilds a tensor from something else than a function and arguments")
        if name in _TENSORS:
            self._tensor(items)
        if name == _ENCODE and items[1:] != ("latin1",):
            raise Unsafe("has bytes in another encoding than latin1")
        return made

    def build(self, state: Any) -> None:
        """Set the state of an object; tensors have none, so that nothing resizes them."""
        made = self.node()
        function = made.items[0] if made.items else None
        if self._allowed is not None and not (isinstance(function, Node) and function.name == _ORDERED):
            raise Unsafe("sets the state of something else than an OrderedDict")
        self.work(state)
        made.grow(state)

    def _tensor(self, items: tuple[Any, ...]) -> None:
        storage, offset, size, stride, *_ = (*items, None, None, None, None)
        axes: list[tuple[Any, ...]] = [one.items if isinstance(one, Node) else ("",) for one in (size, stride)]
        shape, steps = axes
        if not isinstance(storage, Node) or any(type(one) is not int or one < 0 for one in (offset, *shape, *steps)):
            raise Unsafe("rebuilds a tensor from something else than a storage and numbers")
        if len(shape) > MOST_AXES or len(steps) > MOST_AXES:
            raise Unsafe(f"has a tensor of more than {MOST_AXES} axes")
        elements = math.prod(shape)
        self._tensor_bytes += elements * storage.item_bytes
        if self._tensor_bytes > self._most_tensor_bytes:
            raise Unsafe(f"has tensors of {min(elements, 10**18)} and more elements, which are not in the file")

    def storage(self, pid: Any) -> Node:
        """Return the node of a storage; what a record holds is at least what the pickle says."""
        items = pid.items if isinstance(pid, Node) else ()
        if len(items) != 5 or items[0] != "storage":
            raise ValueError("a persistent id that is no tensor storage")
        _, kind, key, _, count = items
        width = _ITEM_BYTES.get(kind.name[1]) if isinstance(kind, Node) and kind.name is not None else None
        if width is None or type(key) is not str or type(count) is not int:
            raise ValueError("a persistent id that is no tensor storage")
        if not 0 <= count * width <= self._storages.get(key, -1):
            found = self._storages.get(key, 0)
            raise ValueError(f"storage {key} has {found} bytes for {count} elements of {width} bytes")
        if self._kinds.setdefault(key, kind.name) != kind.name:
            raise Unsafe(f"reads the storage {key} as two types")
        made = Node()
        made.item_bytes = width
        return made
