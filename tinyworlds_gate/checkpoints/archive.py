"""Read the directory of a torch zip file strictly: what it declares is in the file, uncompressed, once.

torch.save stores every record uncompressed, one after the other. Compressed records, records that overlap, several
directories and names that differ by case only are refused, so that torch's zip reader and this one see the same
records, and no record takes more memory than the file has bytes.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.run.formats import size_text
from tinyworlds_gate.run.machine import GIB, total_memory_gib
from tinyworlds_gate.run.regular_file import open_regular

MOST_RECORDS = 100_000
MAX_PICKLE_BYTES = 256 * 2**20
_DIRECTORY_BYTES = 32 * 2**20
_LOCAL, _CENTRAL = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I")
_END, _LOCATOR, _END64 = struct.Struct("<4s4H2IH"), struct.Struct("<4sIQI"), struct.Struct("<4sQ2H2I4Q")
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_PICKLE = "data.pkl"
_BLOCK = 2**20


@dataclass(frozen=True)
class Record:
    """Where the bytes of a record are in the file."""

    offset: int
    size: int
    crc: int


class Archive:
    """An open torch file; ``records`` are named without the folder that holds them in the file."""

    def __init__(self, path: Path, descriptor: int, records: dict[str, Record]) -> None:
        self.path, self._descriptor, self.records = path, descriptor, records

    def read(self, name: str) -> bytes:
        """Return the bytes of a record; raises CheckpointError when its checksum does not hold."""
        record = self.records[name]
        data = _read(self._descriptor, record.offset, record.size)
        if zlib.crc32(data) != record.crc:
            raise CheckpointError(f"{self.path} is damaged: the checksum of {name} does not hold")
        return data

    def damaged(self) -> str | None:
        """Return the name of a record whose checksum does not hold."""
        for name, record in self.records.items():
            crc, at, end = 0, record.offset, record.offset + record.size
            while data := os.pread(self._descriptor, min(_BLOCK, end - at), at):
                crc, at = zlib.crc32(data, crc), at + len(data)
            if crc != record.crc:
                return name
        return None

    def pickle(self) -> bytes:
        """Return the bytes of the pickle."""
        return self.read(_PICKLE)

    def name(self) -> str:
        """Return a name under which the open file itself can be opened, whatever its path is by now."""
        by_descriptor = f"/proc/self/fd/{self._descriptor}"
        return by_descriptor if os.path.exists(by_descriptor) else str(self.path)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a torch zip file.

    Raises:
        CheckpointError: it is no regular file, no whole torch file, or not as torch.save writes it.
    """
    try:
        descriptor = open_regular(path)
    except OSError as error:
        raise CheckpointError(f"{path} {_reason(error)}; a file that torch.save wrote is needed") from error
    try:
        _require_memory(path, os.fstat(descriptor))
        yield Archive(path, descriptor, _records(path, descriptor))
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return f"cannot be read: {error.strerror}" if error.strerror else str(error)


def _require_memory(path: Path, found: os.stat_result) -> None:
    """Refuse a file that does not fit into memory."""
    if found.st_size <= GIB:
        return
    memory = total_memory_gib()
    if found.st_size > memory * GIB:
        raise CheckpointError(
            f"{path} has {size_text(found.st_size)}; this machine has {memory:.0f} GiB of memory. Use a checkpoint of "
            "a smaller model"
        )


def _records(path: Path, descriptor: int) -> dict[str, Record]:
    size = os.fstat(descriptor).st_size
    try:
        start, directory, count = _directory(descriptor, size)
        whole = _entries(descriptor, directory, count, start)
    except (ValueError, struct.error, OSError) as error:
        raise CheckpointError(
            f"{path} is no whole torch file ({size} bytes): {error}; it is truncated or was not written by torch.save"
        ) from error
    pickles = [name for name in whole if f"/{name}".lower().endswith(f"/{_PICKLE}")]
    if len(pickles) != 1 or len({name.lower() for name in whole}) != count:
        raise CheckpointError(
            f"{path} holds {len(pickles)} pickles named {_PICKLE} or a name twice; expected exactly one"
        )
    [pickle] = pickles
    if whole[pickle].size > MAX_PICKLE_BYTES:
        raise CheckpointError(f"{path} has a pickle of more than {MAX_PICKLE_BYTES} bytes; such a file is not read")
    prefix = pickle[: -len(_PICKLE)]
    return {name.removeprefix(prefix): record for name, record in whole.items()}


def _directory(descriptor: int, size: int) -> tuple[int, bytes, int]:
    """Return the offset of the central directory, its bytes and the number of its entries."""
    at = size - _END.size
    tail = _read(descriptor, max(0, at), _END.size)
    if len(tail) < _END.size or not tail.startswith(b"PK\5\6"):
        raise ValueError("it does not end with the directory of a zip file")
    _, disk, first_disk, here, count, length, start, comment = _END.unpack(tail)
    locator = _read(descriptor, at - _LOCATOR.size, _LOCATOR.size) if at >= _LOCATOR.size else b""
    if locator.startswith(b"PK\6\7"):
        at -= _LOCATOR.size + _END64.size
        if _LOCATOR.unpack(locator)[2] != at:
            raise ValueError("its zip64 directory is not where its end says")
        found = _END64.unpack(_read(descriptor, at, _END64.size))
        for short, full, limit in zip((count, length, start), found[7:], (_FULL_16, _FULL_32, _FULL_32), strict=True):
            if short not in (full, limit):
                raise ValueError("its two directories differ")
        here, (count, length, start) = found[6], found[7:]
        if found[0] != b"PK\6\6":
            raise ValueError("its zip64 directory is not where its end says")
    if comment or disk or first_disk or here != count or start + length != at:
        raise ValueError("its directory does not end where the file ends")
    if count > MOST_RECORDS or length > _DIRECTORY_BYTES:
        raise ValueError(f"it has {count} records, and {MOST_RECORDS} are allowed")
    return start, _read(descriptor, start, length), count


def _entries(descriptor: int, directory: bytes, count: int, end: int) -> dict[str, Record]:
    """Return name → record; their bytes lie before ``end`` and do not overlap."""
    found: dict[str, Record] = {}
    places: list[tuple[int, int, str]] = []
    at = 0
    for _ in range(count):
        mark, _, _, flags, method, _, _, crc, packed, size, *lengths, _, _, _, header = _CENTRAL.unpack_from(
            directory, at
        )
        names, extras, comments = lengths
        raw = directory[at + _CENTRAL.size : at + _CENTRAL.size + names]
        extra = directory[at + _CENTRAL.size + names : at + _CENTRAL.size + names + extras]
        at += _CENTRAL.size + names + extras + comments
        name = raw.decode("utf-8", "backslashreplace")
        record = f"its record {name[:80]}"
        if mark != b"PK\1\2" or at > len(directory) or b"\0" in raw:
            raise ValueError("its directory is broken")
        if _FULL_32 in (size, packed, header):
            size, packed, header = _zip64(extra, size, packed, header)
        if method or packed != size:
            raise ValueError(f"{record} is compressed, which torch.save never does")
        if flags & 0x2041:
            raise ValueError(f"{record} is encrypted")
        local = _read(descriptor, header, _LOCAL.size)
        local_mark, *_, local_names, local_extras = _LOCAL.unpack(local)
        offset = header + _LOCAL.size + local_names + local_extras
        if local_mark != b"PK\3\4" or local_names != names or offset + size > end:
            raise ValueError(f"{record} is not in the file")
        places.append((header, offset + size, record))
        found[name] = Record(offset, size, crc)
    places.sort()
    if at != len(directory) or (places and places[0][0] != 0):
        raise ValueError("there is something before its records or after its directory")
    for (_, stop, record), (start, _, _) in pairwise(places):
        if stop > start:
            raise ValueError(f"{record} overlaps another")
    return found


def _zip64(extra: bytes, *short: int) -> list[int]:
    """Return size, packed size and header's offset, those of the extra field where the short ones are full."""
    while extra:
        code, length = struct.unpack_from("<2H", extra)
        if code == 1:
            long = iter(struct.unpack_from(f"<{short.count(_FULL_32)}Q", extra, 4))
            return [next(long) if one == _FULL_32 else one for one in short]
        extra = extra[4 + length :]
    raise ValueError("its directory is broken")


def _read(descriptor: int, offset: int, size: int) -> bytes:
    """Read up to ``size`` bytes, of which one call may return 2 GiB at most."""
    parts = []
    while data := os.pread(descriptor, size, offset):
        parts.append(data)
        size -= len(data)
        offset += len(data)
    return b"".join(parts)
