"""The pickle of a torch file, checked before anything loads it; a pickle that was checked is not checked again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from tinyworlds_gate.checkpoints.archive import Archive
from tinyworlds_gate.checkpoints.pickled_objects import ForbiddenName, Unsafe
from tinyworlds_gate.checkpoints.scan_pickle import scan_pickle
from tinyworlds_gate.errors import CheckpointError

FIX = "Nothing was executed. Use a checkpoint that was written by torch.save of plain data"
_BROKEN = (ValueError, TypeError, IndexError, KeyError, AttributeError)
"""What a pickle that is cut off or has wrong arguments causes in the scan."""

_MOST_KNOWN = 1000
_LONGEST = 300
_known: dict[bytes, str | None] = {}


def checked_pickle(archive: Archive, allowed: frozenset[tuple[str, str]] | None = None) -> bytes:
    """Return the pickle.

    Args:
        archive: the file.
        allowed: the names that it may use, each (module, name); None: any.

    Raises:
        CheckpointError: loading it could run code, hang, crash or take all memory; or it is broken.
    """
    data = archive.pickle()
    storages = {name[5:]: record.size for name, record in archive.records.items() if name.startswith("data/")}
    key = hashlib.sha256(data + repr((storages, allowed is None)).encode("utf-8", "backslashreplace")).digest()
    if key not in _known:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[key] = _problem(data, storages, allowed)
    problem = _known[key]
    if problem is not None:
        raise CheckpointError(f"{archive.path} {problem}")
    return data


def _problem(data: bytes, storages: Mapping[str, int], allowed: frozenset[tuple[str, str]] | None) -> str | None:
    try:
        scan_pickle(data, storages, allowed)
    except ForbiddenName as error:
        return f"is refused: it holds more than tensors and plain data (its pickle names {error}). {FIX}"
    except Unsafe as error:
        return f"is refused: its pickle {error}. {FIX}"
    except _BROKEN as error:
        return f"is damaged: its pickle cannot be read ({type(error).__name__}: {shortened(error)})"
    return None


def shortened(error: BaseException) -> str:
    """Return the first line of an error, of up to 300 characters."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
