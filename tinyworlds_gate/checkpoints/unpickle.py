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
import pickletools
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.builders import StorageType, TensorStorage, builders
from tinyworlds_gate.checkpoints.plain import Foreign, foreign_class, to_plain
from tinyworlds_gate.errors import CheckpointError

MAX_PICKLE_BYTES = 256 * 2**20

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
    try:
        with zipfile.ZipFile(path) as archive:
            return _load_archive(path, archive)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise CheckpointError(
            f"{path} is no whole torch file ({error}); it is truncated or was not written by torch.save"
        ) from error


def _load_archive(path: Path, archive: zipfile.ZipFile) -> Any:
    names = archive.namelist()
    pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1 or len(set(names)) != len(names):
        raise CheckpointError(
            f"{path} holds {len(pickles)} pickles named data.pkl or a name twice; expected exactly one"
        )
    prefix = pickles[0].removesuffix("data.pkl")
    if f"{prefix}byteorder" in names and archive.read(f"{prefix}byteorder") != b"little":
        raise CheckpointError(f"{path} was written on a big-endian machine; only little-endian files are read")
    if archive.getinfo(pickles[0]).file_size > MAX_PICKLE_BYTES:
        raise CheckpointError(f"{path} has a pickle of more than {MAX_PICKLE_BYTES} bytes; such a file is not read")

    storages: dict[str, TensorStorage] = {}

    def load_storage(key: str, kind: StorageType, numel: int) -> TensorStorage:
        if key in storages and storages[key].kind is kind:
            return storages[key]
        info = archive.getinfo(f"{prefix}data/{key}")
        if numel < 0 or info.file_size != numel * kind.itemsize:
            raise ValueError(f"storage {key} has {info.file_size} bytes for {numel} elements of {kind.dtype}")
        storages[key] = TensorStorage(kind, bytearray(archive.read(info)))
        return storages[key]

    data = archive.read(pickles[0])
    try:
        # Extension codes are looked up in a table of the process, not through find_class.
        if any(opcode.name.startswith("EXT") for opcode, _, _ in pickletools.genops(data)):
            raise RefusedName("a copyreg extension code")
        return to_plain(RestrictedUnpickler(data, load_storage).load())
    except RefusedName as error:
        raise CheckpointError(
            f"{path} is refused: its pickle names {error}, which plain data does not need and which could run code. "
            "Nothing was executed. Use a checkpoint that was written by torch.save of plain data"
        ) from error
    except _BROKEN as error:
        raise CheckpointError(
            f"{path} is damaged: its pickle cannot be read ({type(error).__name__}: {error})"
        ) from error
