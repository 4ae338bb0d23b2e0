"""Read a torch zip file without running pickled code.

Every name in the pickle passes ``RestrictedUnpickler.find_class``. The names that plain data needs (ordered
dictionaries, tensors, numpy scalars and arrays) resolve to the allow-list in ``builders.py``. An unknown class, such as
the configuration dataclass of a TinyWorlds checkout, becomes an inert stand-in whose fields are read as plain data.
Every other name (functions, the standard library, other names of torch and numpy) is refused. No module is ever
imported because a file names it.
"""

from __future__ import annotations

import io
import pickle
import sys
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.archive import Archive, open_archive
from tinyworlds_gate.checkpoints.builders import StorageType, TensorStorage, builders
from tinyworlds_gate.checkpoints.checked_pickle import FIX, checked_pickle, shortened
from tinyworlds_gate.checkpoints.plain import Foreign, foreign_class, to_plain
from tinyworlds_gate.errors import CheckpointError

# Inert stand-ins are made for these classes of the standard library too: they carry data and hide no call.
_INERT = frozenset(
    {("argparse", "Namespace"), ("types", "SimpleNamespace"), ("collections", "defaultdict"), ("typing", "Any")}
    | {("pathlib", name) for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")}
    | {
        (m, name)
        for m in ("builtins", "__builtin__")
        for name in ("dict", "list", "tuple", "str", "int", "float", "bool")
    }
)
# Protocol 2, which torch.save uses, writes Python 2's names of modules (subprocess becomes commands).
_OLD_ROOTS = frozenset(module.partition(".")[0] for module in IMPORT_MAPPING)
_GUARDED_ROOTS = frozenset(sys.stdlib_module_names) | _OLD_ROOTS | {"torch", "numpy"}

# Exceptions that a broken or hostile pickle causes; anything else is a bug in the harness.
_BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
    RecursionError,
    RuntimeError,
)


class RefusedName(CheckpointError):
    """The pickle names something that plain data does not need."""


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that resolves names from a fixed table and from inert stand-ins, never from a module."""

    def __init__(self, data: bytes, load_storage: Callable[[str, StorageType, int], TensorStorage]) -> None:
        super().__init__(io.BytesIO(data))
        self._load_storage = load_storage
        self._builders = builders()
        self._foreign: dict[tuple[str, str], type[Foreign]] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = self._builders.get((module, name))
        if known is not None:
            return known
        root, last = module.partition(".")[0], name.rpartition(".")[2]
        is_class_of_theirs = root not in _GUARDED_ROOTS and last[:1].isupper()
        if (module, name) not in _INERT and not is_class_of_theirs:
            raise RefusedName(ascii(f"{module}.{name}")[1:201].rstrip("'"))
        return self._foreign.setdefault((module, name), foreign_class(module, name))

    def persistent_load(self, pid: Any) -> TensorStorage:
        match pid:
            case ("storage", StorageType() as kind, str() as key, str(), int() as numel):
                return self._load_storage(key, kind, numel)
        raise pickle.UnpicklingError("a persistent id that is no tensor storage")


def load_plain(path: Path) -> Any:
    """The object that ``torch.save`` wrote at ``path``, as plain data and CPU tensors; no pickled code runs.

    Objects of unknown classes become dictionaries of their fields, an enum member its value, numpy scalars Python
    numbers; a tensor that was saved on a GPU comes back on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, no torch zip file, or its pickle names something to call.
    """
    with open_archive(path) as archive:
        return _load_archive(path, archive)


def _load_archive(path: Path, archive: Archive) -> Any:
    if "byteorder" in archive.records and archive.read("byteorder") != b"little":
        raise CheckpointError(f"{path} was written on a big-endian machine; only little-endian files are read")
    storages: dict[str, TensorStorage] = {}

    def load_storage(key: str, kind: StorageType, numel: int) -> TensorStorage:
        if key not in storages:
            size = archive.records[f"data/{key}"].size
            if size != numel * kind.itemsize:
                raise ValueError(f"storage {key} has {size} bytes for {numel} elements of {kind.dtype}")
            storages[key] = TensorStorage(kind, bytearray(archive.read(f"data/{key}")))
        return storages[key]

    data = checked_pickle(archive)
    try:
        return to_plain(RestrictedUnpickler(data, load_storage).load())
    except RefusedName as error:
        raise CheckpointError(
            f"{path} is refused: its pickle names {error}, which plain data does not need and which could run code. "
            f"{FIX}"
        ) from error
    except _BROKEN as error:
        raise CheckpointError(
            f"{path} is damaged: its pickle cannot be read ({type(error).__name__}: {shortened(error)})"
        ) from error
