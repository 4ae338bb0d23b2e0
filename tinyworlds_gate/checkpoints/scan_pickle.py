"""Check a pickle before it is loaded: follow its operations without building what they describe.

Opcodes: https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from tinyworlds_gate.checkpoints.pickled_objects import Node, PickledObjects, Unsafe

MOST_OPERATIONS = 1_000_000
"""A tensor takes about 30, so that models of 30,000 tensors are read."""
MOST_BITS = 256
"""Of a whole number; the states of random number generators have numbers of 128 bits."""

_EMPTY_TUPLE = Node()
_EMPTY_TUPLE.held = True


def scan_pickle(data: bytes, storages: Mapping[str, int], allowed: frozenset[tuple[str, str]] | None = None) -> None:
    """Check the operations of a pickle.

    Args:
        data: the pickle.
        storages: key → bytes of each tensor storage in the file.
        allowed: the names that it may use, each (module, name); None: any.

    Raises:
        Unsafe: it is not to be loaded.
        ValueError, IndexError, KeyError, AttributeError: it is broken.
    """
    scan, at, stream = PickledObjects(storages, allowed), 0, io.BytesIO(data)
    memo = scan.memo
    for _ in range(MOST_OPERATIONS):
        code = data[at]
        at += 1
        argument: Any = None
        if code in _BYTE:
            argument = data[at]
            at += 1
        elif code in _UINT4:
            argument = int.from_bytes(data[at : at + 4], "little")
            at += 4
        if code in _PUT:
            memo[argument] = scan.stack[-1]
            continue
        if code in _GET:
            scan.stack.append(memo[argument])
            continue
        if code == _BININT1:
            scan.stack.append(argument)
            continue
        if code == _BINUNICODE:
            scan.stack.append(str(data[at : at + argument], "utf-8", "surrogatepass"))
            at += argument
            continue
        if (reader := _READERS.get(code)) is not None:
            stream.seek(at)
            argument = reader(stream)
            at = stream.tell()
        if code == _STOP:
            scan.require_small_memo()
            return
        _STEPS[code](scan, argument)
    raise Unsafe(f"has more than {MOST_OPERATIONS} operations")


def _push(scan: PickledObjects, argument: Any) -> None:
    scan.stack.append(argument)


def _push_integer(scan: PickledObjects, argument: int) -> None:
    if argument.bit_length() > MOST_BITS:
        raise Unsafe(f"has a whole number of {argument.bit_length()} bits, and {MOST_BITS} are allowed")
    scan.stack.append(argument)


def _push_node(scan: PickledObjects, _: Any) -> None:
    scan.stack.append(Node())


def _mark(scan: PickledObjects, _: Any) -> None:
    scan.marks.append(scan.stack)
    scan.stack = []


def _put(scan: PickledObjects, argument: int) -> None:
    scan.memo[argument] = scan.stack[-1]


def _get(scan: PickledObjects, argument: int) -> None:
    scan.stack.append(scan.memo[argument])


def _tuple(scan: PickledObjects, _: Any) -> None:
    items = scan.pop_mark()
    scan.stack.append(Node(tuple(items)))


def _last(count: int) -> Callable[[PickledObjects, Any], None]:
    def step(scan: PickledObjects, _: Any) -> None:
        items = tuple(scan.stack[-count:])
        del scan.stack[-count:]
        scan.stack.append(Node(items))

    return step


def _frozenset(scan: PickledObjects, _: Any) -> None:
    items = scan.pop_mark()
    for item in items:
        scan.key(item)
    scan.stack.append(Node(tuple(items)))


def _dict(scan: PickledObjects, _: Any) -> None:
    items = scan.pop_mark()
    scan.stack.append(Node())
    scan.mapping(scan.node(), items)


def _set_item(scan: PickledObjects, _: Any) -> None:
    value, key = scan.stack.pop(), scan.stack.pop()
    scan.mapping(scan.node(), [key, value])


def _set_items(scan: PickledObjects, _: Any) -> None:
    items = scan.pop_mark()
    scan.mapping(scan.node(), items)


def _add_items(scan: PickledObjects, _: Any) -> None:
    items = scan.pop_mark()
    for item in items:
        scan.key(item)
    scan.grow(items)


def _append(scan: PickledObjects, _: Any) -> None:
    scan.grow([scan.stack.pop()])


def _appends(scan: PickledObjects, _: Any) -> None:
    scan.grow(scan.pop_mark())


def _build(scan: PickledObjects, _: Any) -> None:
    scan.build(scan.stack.pop())


def _global(scan: PickledObjects, argument: str) -> None:
    scan.stack.append(scan.global_name(*argument.split(" ", 1)))


def _stack_global(scan: PickledObjects, _: Any) -> None:
    name, module = scan.stack.pop(), scan.stack.pop()
    scan.stack.append(scan.global_name(module, name))


def _reduce(scan: PickledObjects, _: Any) -> None:
    arguments, function = scan.stack.pop(), scan.stack.pop()
    scan.stack.append(scan.call(function, arguments))


def _new_with_keywords(scan: PickledObjects, _: Any) -> None:
    keywords, arguments, function = scan.stack.pop(), scan.stack.pop(), scan.stack.pop()
    scan.work(keywords)
    made = scan.call(function, arguments)
    made.grow(keywords)
    scan.stack.append(made)


def _instance(scan: PickledObjects, argument: str) -> None:
    function = scan.global_name(*argument.split(" ", 1))
    arguments = Node(tuple(scan.pop_mark()))
    scan.stack.append(scan.call(function, arguments))


def _object(scan: PickledObjects, _: Any) -> None:
    function, *arguments = scan.pop_mark()
    scan.stack.append(scan.call(function, Node(tuple(arguments))))


def _persistent(scan: PickledObjects, _: Any) -> None:
    scan.stack.append(scan.storage(scan.stack.pop()))


def _pop(scan: PickledObjects, _: Any) -> None:
    if scan.stack:
        scan.stack.pop()
    else:
        scan.pop_mark()


def _pop_mark(scan: PickledObjects, _: Any) -> None:
    scan.pop_mark()


def _refuse(scan: PickledObjects, _: Any) -> None:
    raise Unsafe("has an operation that plain data does not need (copyreg extension code, external buffer)")


def _nothing(scan: PickledObjects, _: Any) -> None:
    """Do nothing: the operation changes neither the stack nor the memo."""


_BY_NAME: dict[str, Callable[[PickledObjects, Any], None]] = {
    **dict.fromkeys(("INT", "LONG", "LONG1", "LONG4", "BININT"), _push_integer),
    **dict.fromkeys(
        ("BININT1", "BININT2", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"), _push
    ),
    **dict.fromkeys(("BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _push),
    **dict.fromkeys(("FLOAT", "BINFLOAT", "NONE"), _push),
    **dict.fromkeys(("NEWTRUE", "NEWFALSE"), lambda scan, _: scan.stack.append(True)),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"), _push_node),
    "EMPTY_TUPLE": lambda scan, _: scan.stack.append(_EMPTY_TUPLE),
    **dict.fromkeys(("LIST", "TUPLE"), _tuple),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    **{f"TUPLE{count}": _last(count) for count in (1, 2, 3)},
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _reduce),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER", "PERSID"), _refuse),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    "MARK": _mark,
    "FROZENSET": _frozenset,
    "DICT": _dict,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "ADDITEMS": _add_items,
    "APPEND": _append,
    "APPENDS": _appends,
    "BUILD": _build,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "NEWOBJ_EX": _new_with_keywords,
    "INST": _instance,
    "OBJ": _object,
    "BINPERSID": _persistent,
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "DUP": lambda scan, _: scan.stack.append(scan.stack[-1]),
    "MEMOIZE": lambda scan, _: _put(scan, len(scan.memo)),
}
_STEPS = {ord(one.code): _BY_NAME[one.name] for one in pickletools.opcodes}
_READERS = {ord(one.code): one.arg.reader for one in pickletools.opcodes if one.arg is not None}
_BYTE, _UINT4, _PUT, _GET = frozenset(b"Kqh"), frozenset(b"Xrj"), frozenset(b"qr"), frozenset(b"hj")
"""Most operations of a tensor: BININT1, BINPUT, BINGET; BINUNICODE, LONG_BINPUT, LONG_BINGET."""
_BININT1, _BINUNICODE, _STOP = ord("K"), ord("X"), ord(".")
