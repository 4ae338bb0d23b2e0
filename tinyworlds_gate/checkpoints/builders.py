"""Allow-list of callables for the restricted unpickler: they build plain data and tensors only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from tinyworlds_gate.checkpoints.plain import Intermediate

_STORAGE_DTYPES = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}
_TORCH_DTYPES = tuple(sorted({dtype for dtype, _ in _STORAGE_DTYPES.values()}))
_NUMPY_KINDS = frozenset("biufcSU")  # bool, integers, floats, complex, bytes, text: never objects


class Builder(Intermediate):
    """A callable whose attributes a pickle cannot change."""

    __slots__ = ("_build",)
    _build: Callable[..., Any]

    def __init__(self, build: Callable[..., Any]) -> None:
        object.__setattr__(self, "_build", build)

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError("a builder is read-only")

    def __call__(self, *arguments: Any) -> Any:
        return self._build(*arguments)


class StorageType(Intermediate):
    """The element type of a tensor's bytes."""

    __slots__ = ("dtype", "itemsize")

    def __init__(self, dtype: str, itemsize: int) -> None:
        self.dtype, self.itemsize = dtype, itemsize

    def __setstate__(self, state: Any) -> None:
        raise TypeError("a storage type is read-only")


class TensorStorage(Intermediate):
    """The bytes of one storage, with the type of its elements."""

    __slots__ = ("data", "kind")

    def __init__(self, kind: StorageType, data: bytearray) -> None:
        self.kind, self.data = kind, data

    def __setstate__(self, state: Any) -> None:
        raise TypeError("a storage is read-only")


class DtypeName(Intermediate):
    """A numpy dtype as the pickle names it; its byte order comes with ``__setstate__``."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_flags: Any) -> None:
        if not isinstance(code, str) or code[:1] not in _NUMPY_KINDS or not code[1:].isdigit():
            raise TypeError(f"numpy dtype {code!r} is not read")
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def dtype(self) -> Any:
        import numpy as np

        return np.dtype(self.order + self.code)

    def plain(self) -> str:
        return str(self.dtype())


class PendingArray(Intermediate):
    """A numpy array before its ``__setstate__``: (version, shape, dtype, Fortran order, bytes)."""

    __slots__ = ("state",)

    def __init__(self, *_arguments: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def plain(self) -> Any:
        import numpy as np

        _version, shape, dtype, fortran, data = self.state
        if not isinstance(dtype, DtypeName) or not isinstance(data, bytes):
            raise TypeError("a numpy array of objects is not read")
        flat = np.frombuffer(data, dtype=dtype.dtype())
        return flat.reshape(shape, order="F" if fortran else "C").copy()


def _rebuild_tensor(
    storage: TensorStorage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Any:
    """A CPU tensor over the storage's bytes; as_strided refuses a view that leaves them (RuntimeError)."""
    import torch

    dtype = getattr(torch, storage.kind.dtype)
    flat = torch.frombuffer(storage.data, dtype=dtype) if storage.data else torch.empty(0, dtype=dtype)
    return torch.as_strided(flat, size, stride, offset)


def _numpy_scalar(dtype: DtypeName, data: bytes) -> Any:
    import numpy as np

    return np.frombuffer(data, dtype=dtype.dtype(), count=1)[0].item()


def _reconstruct_object(cls: Any, _base: Any, _state: Any) -> Any:
    """Protocol 0 and 1 objects: ``cls`` is a stand-in class, anything else cannot be called without arguments."""
    return cls()


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


def _device(kind: str, index: int | None = None) -> str:
    return kind if index is None else f"{kind}:{index}"


def builders() -> dict[tuple[str, str], Any]:
    """Return (module, name) → allowed callable or value; made anew for each file, so that no file can change it."""
    table: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): Builder(OrderedDict),  # not dict: a module's state_dict sets attributes on it
        ("torch._utils", "_rebuild_tensor_v2"): Builder(_rebuild_tensor),
        ("torch._utils", "_rebuild_parameter"): Builder(lambda data, *_: data),
        ("torch", "Size"): Builder(tuple),
        ("torch", "device"): Builder(_device),
        ("_codecs", "encode"): Builder(_latin1),
        ("copyreg", "_reconstructor"): Builder(_reconstruct_object),
        ("copy_reg", "_reconstructor"): Builder(_reconstruct_object),
        ("numpy", "ndarray"): Builder(PendingArray),
        ("numpy", "dtype"): Builder(DtypeName),
    }
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table[core, "scalar"] = Builder(_numpy_scalar)
        table[core, "_reconstruct"] = Builder(PendingArray)
    for module in ("builtins", "__builtin__"):
        table[module, "set"] = Builder(set)
        table[module, "frozenset"] = Builder(frozenset)
        table[module, "complex"] = Builder(complex)
        table[module, "bytes"] = Builder(lambda: b"")  # protocol 2 writes empty bytes as this call
        table[module, "object"] = Builder(dict)
    for name, (dtype, itemsize) in _STORAGE_DTYPES.items():
        table["torch", name] = StorageType(dtype, itemsize)
    for dtype in _TORCH_DTYPES:
        table["torch", dtype] = f"torch.{dtype}"
    return table
