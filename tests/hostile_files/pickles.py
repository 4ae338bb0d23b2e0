"""Pickles that hang, crash or fill the memory of a reader that is not careful; each pushes one value.

Opcodes: https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import os
import pickle
import random
import struct
from collections.abc import Iterator
from pathlib import Path

DEEP = 50_000
_ONE = b"K\x01"
_TENSOR, _SIZE, _ORDERED = b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nSize\n", b"ccollections\nOrderedDict\n"


def text(value: str) -> bytes:
    """Return the operation that pushes a text."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def storage(key: str = "0", count: int = 128, kind: str = "FloatStorage") -> bytes:
    """Return the operations that push a storage."""
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(count) + b"tQ"


def number(value: int) -> bytes:
    """Return the operation that pushes a whole number."""
    return b"\x8a" + bytes([len(pickle.encode_long(value))]) + pickle.encode_long(value)


def tensor(size: list[int], stride: list[int], offset: int = 0, stored: bytes = b"") -> bytes:
    """Return the operations that push a tensor over a storage."""
    shape, steps = (b"(" + b"".join(map(number, one)) + b"t" for one in (size, stride))
    rest = b"\x89" + _ORDERED + b")R"
    return _TENSOR + b"(" + (stored or storage()) + number(offset) + shape + steps + rest + b"tR"


def call(name: str, *arguments: bytes) -> bytes:
    """Return the operations that push the result of a call of ``module name``."""
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n(".encode() + b"".join(arguments) + b"tR"


def deep() -> Iterator[tuple[str, bytes]]:
    """Objects inside objects, DEEP times."""
    yield "tuples", b")" + b"\x85" * DEEP
    yield "tuples in the middle of others", b")" + b"K\x01\x86" * DEEP
    yield "lists", b"]" * DEEP + b"a" * (DEEP - 1)
    yield "mappings", (b"}" + text("a")) * DEEP + b"}" + b"s" * DEEP
    yield "frozen sets", b"(" * DEEP + _ONE + b"\x91" * DEEP
    yield "calls", b"cthing\nThing\n" * DEEP + b")R" + b"\x85R" * (DEEP - 1)
    yield "states", b"cthing\nThing\n)R" * DEEP + b"b" * (DEEP - 1)
    yield "ordered dictionaries", (_ORDERED + b")R" + text("a")) * DEEP + b"}" + b"s" * DEEP
    yield "a persistent id", b")" + b"\x85" * DEEP + b"Q"
    yield "marks", b"(" * DEEP
    yield "just too deep", b"]" * 66 + b"a" * 65
    yield "stack", _ONE * DEEP + b"\x85"


def shared() -> Iterator[tuple[str, bytes]]:
    """Objects that grow exponentially when they are walked over, hashed or printed."""
    yield "tuples", b")" + b"2\x86" * 200
    yield "tuples by number", b")q\x00" + b"h\x00h\x00\x86q\x00" * 200
    yield "lists", b"]q\x00" + b"](h\x00h\x00eq\x00" * 200
    yield "mappings", b"}q\x00" + (b"}(" + text("a") + b"h\x00" + text("b") + b"h\x00uq\x00") * 200
    yield "objects", b")q\x00" + b"cthing\nThing\nh\x00h\x00\x86Rq\x00" * 200
    yield "frozen sets", b"(\x91q\x00" + b"(h\x00K\x01\x91h\x00\x86q\x00" * 200
    yield "a long text", text("x" * 2**20) + b"q\x00(" + b"h\x00" * 100_000 + b"l"
    yield "a list copied again and again", b"(" + _ONE * 50_000 + b"lq\x00(" + (_SIZE + b"h\x00\x85R") * 5000 + b"l"
    yield "a key hashed again and again", b"(" + _ONE * 50_000 + b"tq\x00}(" + b"h\x00K\x01" * 5000 + b"u"


def numbers() -> Iterator[tuple[str, bytes]]:
    """Whole numbers that are too long."""
    yield "10,000 bytes", b"\x8b" + struct.pack("<i", 10_000) + b"\x7f" * 10_000
    yield "1 MB", b"\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6
    yield "6,000 digits", b"I" + b"9" * 6000 + b"\n"
    yield "4,000 digits", b"L" + b"9" * 4000 + b"L\n"
    yield "300 bits", number(2**300)
    yield "a negative length", b"\x8b" + struct.pack("<i", -5)
    yield "keys of equal hashes", b"}(" + b"".join(number(n * (2**61 - 1)) + b"N" for n in range(20_000)) + b"u"


def memory() -> Iterator[tuple[str, bytes]]:
    """Tables and texts that are far larger than the pickle."""
    yield "number 2^31 of the memo", b"K\x01r\xff\xff\xff\x7f"
    yield "number 4 · 10^9 of the memo", b"K\x01p4000000000\n"
    yield "number 10^30 of the memo", b"K\x01p" + b"9" * 30 + b"\n"
    yield "a number that was never stored", b"j\xff\xff\xff\x7f"
    yield "a text of 4 GB", b"X\xff\xff\xff\xff"
    yield "bytes of 2^60", b"\x8e" + struct.pack("<Q", 2**60)
    yield "1.2 million operations", b"N0" * 600_000 + b"N"
    yield "10,000 classes", b"".join(b"cthing\nThing%d\n0" % n for n in range(10_000)) + b"N"
    yield "10,000 tuples as keys", b"}(" + b"".join(number(n) + b"\x85N" for n in range(10_000)) + b"u"
    yield (
        "10,000 tuples in a set",
        call("builtins.set", b"(" + b"".join(number(n) + b"\x85" for n in range(9999)) + b"l"),
    )


def calls(mark: Path) -> Iterator[tuple[str, bytes]]:
    """Calls that run code or take memory."""
    command, ten12 = text(f"touch '{mark}'"), number(10**12)
    for name in ("os.system", "posix.system", "subprocess.getoutput", "builtins.eval", "builtins.exec", "os.popen"):
        yield name, call(name, command)
    yield "runpy", call("runpy._run_code", command, b"}")
    yield "by a mark", b"(" + command + b"ios\nsystem\n"
    yield "by an object", b"(cos\nsystem\n" + command + b"o"
    yield "by names on the stack", text("posix") + text("system") + b"\x93(" + command + b"tR"
    yield "by an extension code", b"\x82\x01"
    yield "getattr", call("builtins.getattr", b"cos\nsystem\n", text("__call__"))
    yield "a dotted name", b"\x80\x04" + text("collections") + text("OrderedDict.fromkeys") + b"\x93" + b"]\x85R"
    yield "bytearray", call("builtins.bytearray", ten12)
    yield "bytearray of Python 2", call("__builtin__.bytearray", ten12)
    yield "a storage", call("torch.storage.UntypedStorage", ten12)
    yield "a new storage", b"ctorch.storage\nUntypedStorage\n" + ten12 + b"\x85\x81"
    yield "a tensor", call("torch.Tensor", ten12)
    yield "a float tensor", call("torch.FloatTensor", ten12)
    yield "a counter", call("collections.Counter", b"]")
    yield "an encoding", call("_codecs.encode", text("x" * 50_000), text("idna"))
    yield (
        "an array of objects",
        call("numpy.core.multiarray._reconstruct", b"cnumpy\nndarray\n", b"K\x00\x85", text("b")),
    )
    yield "a long type of numpy", call("numpy.dtype", text("S" + "9" * 12), b"\x89", b"\x88")
    yield "a sparse tensor", call("torch._utils._rebuild_sparse_tensor", b"N", b"N")
    yield (
        "a tensor without bytes",
        call(
            "torch._utils._rebuild_meta_tensor_no_storage", b"ctorch\nfloat32\n", ten12 + b"\x85", b"K\x01\x85", b"\x89"
        ),
    )
    yield "a state of a tensor", tensor([1], [1]) + storage() + number(0) + ten12 + b"\x85\x87b"


def tensors() -> Iterator[tuple[str, bytes]]:
    """Tensors whose elements are not in the file."""
    yield "one element repeated 10^12 times", tensor([10**12], [0])
    yield "10^6 by 10^6 elements", tensor([10**6, 10**6], [0, 0])
    yield "2^62 by 2^62 elements", tensor([2**62, 2**62], [0, 0])
    yield "elements beyond the storage", tensor([10**6], [1])
    yield "an offset beyond the storage", tensor([1], [1], 10**9)
    yield "a negative offset", tensor([1], [1], -4)
    yield "a negative size", tensor([-1], [1])
    yield "a negative stride", tensor([2], [-1])
    yield "100,000 axes", tensor([1] * DEEP, [1] * DEEP)
    yield "another number of strides", tensor([2, 2], [1])
    yield "a storage of 10^9 elements", tensor([10**9], [1], 0, storage(count=10**9))
    yield "a storage of -1 elements", tensor([1], [1], 0, storage(count=-1))
    yield "a storage that is absent", tensor([1], [1], 0, storage("9"))
    yield "a storage of another folder", tensor([1], [1], 0, storage("../0"))
    yield "a storage of no type", tensor([1], [1], 0, storage(kind="Tensor"))
    yield "a storage of text", tensor([1], [1], 0, text("storage") + b"Q")
    yield "a size that is text", _TENSOR + b"(" + storage() + b"K\x00" + text("ab") + b")\x89NtR"
    yield "1,000 tensors of one large storage", b"(" + tensor([100, 10**6], [0, 0]) * 50 + b"l"
    yield (
        "one storage as two types",
        tensor([1], [1]) + tensor([1], [1], 0, storage(count=64, kind="LongStorage")) + b"\x86",
    )


def cycles() -> Iterator[tuple[str, bytes]]:
    """Objects that contain themselves."""
    yield "a list", b"]q\x00h\x00a"
    yield "a mapping", b"}q\x00" + text("a") + b"h\x00s"
    yield "a list through a tuple", b"]q\x00h\x00\x85a"
    yield "a state", b"cthing\nThing\n)Rq\x00h\x00b"
    yield "an ordered dictionary", _ORDERED + b")Rq\x00" + text("a") + b"h\x00s"


def texts() -> Iterator[tuple[str, bytes]]:
    """Texts that cannot be printed, and operations that are cut off or in the wrong order."""
    yield "half of a surrogate pair", b"X\x03\x00\x00\x00\xed\xa0\x80"
    yield "no UTF-8", b"X\x02\x00\x00\x00\xff\xfe"
    yield "a null character in a name", b"cth\x00ing\nThing\n)R"
    yield "a class of a line break", text("a\nb") + text("Thing") + b"\x93)R"
    yield "an unknown operation", b"\xff"
    yield "a frame of 2^62 bytes", b"\x95" + struct.pack("<Q", 2**62) + b"N"
    yield "an external buffer", b"\x97"
    yield "items for a number", b"K\x01(K\x02e"
    yield "a call of a number", b"K\x01)R"
    yield "a mark without items", b"(" + b"t" * 5


def random_streams(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Random operations, mostly such as torch.save writes."""
    parts = [b"(", b")", b"]", b"}", b"2", b"0", b"1", b"N", b"\x88", b"R", b"b", b"t", b"\x85", b"\x86", b"\x87"]
    parts += [
        b"s",
        b"u",
        b"a",
        b"e",
        b"l",
        b"d",
        b"Q",
        b"\x81",
        b"\x91",
        b"h\x00",
        b"q\x00",
        b"h\x01",
        b"q\x01",
        b"\x94",
    ]
    parts += [
        _ONE,
        text("step"),
        text("config"),
        _ORDERED,
        _SIZE,
        _TENSOR,
        storage(),
        tensor([2], [1]),
        b"cthing\nThing\n",
    ]
    for number_ in range(count):
        rng = random.Random(seed * 1000 + number_)
        yield f"random operations {number_}", b"".join(rng.choices(parts, k=rng.choice((5, 20, 100, 1000))))


def positions(value: bytes) -> dict[str, list[tuple[str, bytes]]]:
    """File name → the places in its pickle at which a value can be."""
    weight = text("output_mlp.weight")
    return {
        "state.pt": [
            ("config", b"\x80\x02}(" + text("step") + b"K\x05" + text("config") + value + b"u."),
            ("step", b"\x80\x02}(" + text("config") + b"}" + text("step") + value + b"u."),
            ("key", b"\x80\x02}(" + value + b"N" + text("step") + b"K\x05u."),
        ],
        "model_state_dict.pt": [
            ("tensor", b"\x80\x02}(" + weight + value + b"u."),
            ("key", b"\x80\x02}(" + value + tensor([16, 8], [8, 1]) + b"u."),
        ],
        "optim_state_dict.pt": [
            ("state", b"\x80\x02}(" + text("state") + value + text("param_groups") + b"]K\x01au."),
            ("everything", b"\x80\x02" + value + b"."),
        ],
    }


def is_root() -> bool:
    """Whether no file is unreadable for this process."""
    return os.geteuid() == 0
