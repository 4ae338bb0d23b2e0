"""Checkpoints whose zip files are not as torch.save writes them."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial

import torch

from tests.hostile_files.case import Case
from tests.hostile_files.checkpoint_cases import FILES, STEP, Edit, base, make, records, write_records

Records = list[tuple[str, bytes]]
EMPTY = b"\x80\x02N."
"""A pickle of None."""


def _rewrite(file: str, change: Callable[[Records], Records], method: int = zipfile.ZIP_STORED) -> Edit:
    return lambda path: write_records(path / file, change(records(file)), method)


def _patch(file: str, change: Callable[[bytearray], bytes | bytearray]) -> Edit:
    return lambda path: (path / file).write_bytes(change(bytearray(base()[file])))


def _central(data: bytearray, offset: int, form: str, *values: int) -> bytearray:
    """Change the first entry of the directory."""
    struct.pack_into(form, data, data.index(b"PK\1\2") + offset, *values)
    return data


def _end(data: bytearray, offset: int, form: str, *values: int) -> bytearray:
    """Change the end of the directory."""
    struct.pack_into(form, data, data.rindex(b"PK\5\6") + offset, *values)
    return data


def _overlapping(data: bytearray) -> bytearray:
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    return data


def _replaced(end: str, content: bytes, parts: Records) -> Records:
    """Replace the record whose name ends so."""
    return [(name, content if name.endswith(end) else data) for name, data in parts]


def _record_edits(file: str) -> dict[str, Edit]:
    prefix = records(file)[0][0].split("/")[0]
    bomb = _rewrite(file, lambda parts: [*parts, (f"{prefix}/data/99", bytes(2**26))], zipfile.ZIP_DEFLATED)
    many = [(f"{prefix}/{number}", b"") for number in range(101_000)]
    large = _rewrite(file, lambda parts: _replaced("data.pkl", bytes(2 * 10**8), parts), zipfile.ZIP_DEFLATED)
    return {
        "compressed": _rewrite(file, lambda parts: parts, zipfile.ZIP_DEFLATED),
        "compressed with bzip2": _rewrite(file, lambda parts: parts, zipfile.ZIP_BZIP2),
        "a bomb": bomb,
        "a compressed pickle of 200 MB": large,
        "101,000 records": _rewrite(file, lambda parts: [*parts, *many]),
        "a second pickle": _rewrite(file, lambda parts: [*parts, (f"x{parts[0][0]}", EMPTY)]),
        "a pickle in capitals": _rewrite(file, lambda parts: [(f"{prefix}/DATA.PKL", EMPTY), *parts]),
        "no pickle": _rewrite(file, lambda parts: [one for one in parts if "data.pkl" not in one[0]]),
        "no record": _rewrite(file, lambda parts: []),
        "only a pickle": _rewrite(file, lambda parts: parts[:1]),
        "records outside": _rewrite(file, lambda parts: [*parts, ("../../outside", b"x"), ("/outside/outside", b"x")]),
        "a version that is no number": _rewrite(file, partial(_replaced, "/version", b"x" * 99)),
        "an unknown order of bytes": _rewrite(file, partial(_replaced, "byteorder", b"middle")),
        "a program of TorchScript": _rewrite(file, lambda parts: [*parts, (f"{prefix}/constants.pkl", EMPTY)]),
        "an old torch file": lambda path: torch.save({"step": STEP}, path / file, _use_new_zipfile_serialization=False),
    }


def _byte_edits(file: str) -> dict[str, Edit]:
    changes: dict[str, Callable[[bytearray], bytes | bytearray]] = {
        "a size of 4 GB": lambda data: _central(data, 20, "<2I", 2**32 - 2, 2**32 - 2),
        "a zip64 size": lambda data: _central(data, 20, "<2I", 2**32 - 1, 2**32 - 1),
        "an offset beyond the end": lambda data: _central(data, 42, "<I", 2**31),
        "a name of 60,000 bytes": lambda data: _central(data, 28, "<H", 60_000),
        "a null in a name": lambda data: _central(data, 47, "<B", 0),
        "an encrypted record": lambda data: _central(data, 8, "<H", 2057),
        "an unknown method": lambda data: _central(data, 10, "<H", 99),
        "65,000 records declared": lambda data: _end(data, 8, "<2H", 65_000, 65_000),
        "a directory of 4 GB": lambda data: _end(data, 12, "<I", 2**32 - 2),
        "a comment at the end": lambda data: _end(data, 20, "<H", 4) + b"text",
        "a second end": lambda data: data + data[-22:],
        "bytes before it": lambda data: bytes(100) + data,
        "bytes after it": lambda data: data + bytes(100),
        "overlapping records": _overlapping,
        "empty": lambda _: b"",
        "a text": lambda _: b"version https://git-lfs",
        "a gzip file": lambda _: b"\x1f\x8b" + bytes(99),
    }
    return {name: _patch(file, change) for name, change in changes.items()}


def zip_cases() -> Iterator[Case]:
    """Return the cases, each with and without a manifest that fits."""
    for file in FILES:
        for name, edit in {**_record_edits(file), **_byte_edits(file)}.items():
            for signed in (False, True):
                text = f"{file}: {name}{', signed' if signed else ''}"
                yield Case("zip files", text, partial(make, edit, signed=signed))
