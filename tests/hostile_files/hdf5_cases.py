"""Hostile HDF5 files: frames files, files for `score --frames`, generated frames, probes and codes of frames."""

from __future__ import annotations

import os
import random
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile_files.case import Case
from tests.hostile_files.checkpoint_cases import make_kind_of_file, names_of_kinds

CHANGED, CUT = 180, 24
Write = Callable[[h5py.File], None]


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 9, shape, dtype=np.uint8)


def _frames(file: h5py.File) -> None:
    file.create_dataset("frames", data=_pixels(40, 8, 8, 3), chunks=(16, 8, 8, 3), compression="gzip")
    file["actions"], file["episode"] = np.zeros(40, np.uint8), np.repeat(np.arange(4), 10)
    file["player_position"] = np.zeros((40, 2), np.int16)
    file.attrs["game"], file.attrs["fps"] = "x", 10


def _judged(file: h5py.File) -> None:
    for name in ("context", "true", "generated"):
        file.create_dataset(name, data=_pixels(4, 3, 8, 8, 3), chunks=(1, 3, 8, 8, 3), compression="gzip")
    file["episode"] = np.arange(4)


def _rolled_out(file: h5py.File) -> None:
    file.create_dataset("predicted", data=_pixels(4, 3, 8, 8, 3), chunks=(1, 3, 8, 8, 3), compression="gzip")
    file["codes"] = np.zeros((4, 3, 2), np.int16)
    file.attrs["checkpoints"] = file.attrs["request"] = file.attrs["unknown"] = "{}"
    group = file.create_group("part")
    group["codes"], group["frame"], group["episode"] = np.zeros((4, 9), np.int16), np.arange(4), np.arange(4)
    group.attrs.update({"name": "x", "stride": 1, "count": 4})


LAYOUTS: dict[str, tuple[Write, str]] = {
    "frames": (_frames, "frames"),
    "judged": (_judged, "true"),
    "rolled out": (_rolled_out, "predicted"),
}
"""Name → how it is written, and its dataset of frames."""


def _written(folder: Path, write: Write, change: Write, **options: Any) -> Path:
    path = folder / "some_frames.h5"
    with h5py.File(path, "w", **options) as file:
        write(file)
        change(file)
    return path


@lru_cache
def _bytes(layout: str, libver: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write = LAYOUTS[layout][0]
        return _written(Path(folder), write, lambda file: None, libver=libver).read_bytes()


def _replace(name: str, **options: Any) -> Write:
    """Replace a dataset by one of these options."""

    def change(file: h5py.File) -> None:
        kept = dict(shape=file[name].shape, dtype=file[name].dtype) | options
        del file[name]
        file.create_dataset(name, **kept)

    return change


def _compressed(name: str, **options: Any) -> Write:
    """Write a dataset again with other filters."""

    def change(file: h5py.File) -> None:
        values = file[name][()]
        del file[name]
        file.create_dataset(name, data=values, chunks=True, **options)

    return change


def _stored_as(name: str, edit: Callable[[h5py.PropDCID, Path], None], shape: tuple[int, ...] | None = None) -> Write:
    """Replace a dataset by one of these creation properties, whose values are not written."""

    def change(file: h5py.File) -> None:
        shape_ = shape or file[name].shape
        del file[name]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        edit(properties, Path(file.filename))
        h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple(shape_), properties)

    return change


def _external(properties: h5py.PropDCID, path: Path) -> None:
    properties.set_external(b"/etc/passwd", 0, h5py.h5f.UNLIMITED)


def _early(properties: h5py.PropDCID, path: Path) -> None:
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)


def _chunk(name: str, data: bytes | int, mask: int = 0) -> Write:
    """Replace the stored bytes of the first chunk; a number: by so many compressed zeros."""

    def change(file: h5py.File) -> None:
        stored = data if isinstance(data, bytes) else zlib.compress(bytes(data), 1)
        file[name].id.write_direct_chunk((0,) * file[name].ndim, stored, mask)

    return change


def _virtual(name: str, exists: bool) -> Write:
    def change(file: h5py.File) -> None:
        shape = file[name].shape
        source = Path(file.filename).with_name("shard.h5")
        if exists:
            with h5py.File(source, "w") as shard:
                shard["frames"] = _pixels(*shape)
        layout = h5py.VirtualLayout(shape, np.uint8)
        layout[:] = h5py.VirtualSource(source, "frames", shape)
        del file[name]
        file.create_virtual_dataset(name, layout)

    return change


def _linked(name: str, link: Any) -> Write:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return change


def _nested(file: h5py.File) -> None:
    group: h5py.Group = file
    for _ in range(3000):
        group = group.create_group("g")


def _set(name: str, value: Any, *without: str) -> Write:
    def change(file: h5py.File) -> None:
        for one in (name, *without):
            file.pop(one, None)
        file[name] = value

    return change


def _attribute(name: str, value: Any) -> Write:
    return lambda file: file.attrs.__setitem__(name, value)


def _stored_elsewhere(name: str) -> dict[str, Write]:
    return {
        "a virtual dataset": _virtual(name, exists=True),
        "a virtual dataset whose source is gone": _virtual(name, exists=False),
        "external storage": _stored_as(name, _external),
        "a link to another file": _linked(name, h5py.ExternalLink("/etc/passwd", "/x")),
        "a soft link to nothing": _linked(name, h5py.SoftLink("/absent")),
        "a soft link to itself": _linked(name, h5py.SoftLink(f"/{name}")),
        "never-written chunks": _replace(name, chunks=True),
        "never-written chunks with gzip": _replace(name, chunks=True, compression="gzip"),
        "never-written values": _stored_as(name, lambda properties, path: None),
        "values that are gaps of the file": _stored_as(name, _early, (10**6, 100, 100, 3)),
        "1 TB of gaps": _stored_as(name, _early, (10**6, 600, 600, 3)),
    }


def _chunks(name: str) -> dict[str, Write]:
    return {
        "a chunk of 10 bytes": _chunk(name, 10),
        "a chunk that is no gzip": _chunk(name, b"garbage"),
        "a chunk of one byte": _chunk(name, b"x"),
        "half of a chunk": _chunk(name, zlib.compress(bytes(3072))[:20]),
        "a chunk without its filter": _chunk(name, b"short", mask=1),
        "a chunk of 500 MB": _chunk(name, 5 * 10**8),
        "lzf": _compressed(name, compression="lzf"),
        "shuffle and sums": _compressed(name, shuffle=True, fletcher32=True, compression="gzip"),
        "scale and offset": _compressed(name, scaleoffset=3),
    }


def _shapes(name: str) -> dict[str, Write]:
    huge = 2**40
    return {
        "10^12 frames": _replace(name, shape=(huge, 64, 64, 3), chunks=(1, 64, 64, 3), compression="gzip"),
        "frames of 10^6 pixels a side": _replace(name, shape=(9, 10**6, 10**6, 3), chunks=(1, 100, 100, 3)),
        "2^62 elements": _replace(name, shape=(2**20, 2**20, 2**20, 3), chunks=(1, 64, 64, 3)),
        "clips of 10^6 pixels a side": _replace(name, shape=(9, 3, 10**6, 10**6, 3), chunks=(1, 1, 100, 100, 3)),
        "chunks of 3 GB": _replace(
            name, shape=(1, 8, 8, 3), maxshape=(None,) * 4, chunks=(1, 30_000, 30_000, 3), compression="gzip"
        ),
        "no axis": _set(name, np.uint8(1)),
        "no element": _set(name, _pixels(0, 8, 8, 3)),
        "nothing": _set(name, h5py.Empty("u1")),
        "30 axes": _set(name, _pixels(*[1] * 30)),
        "no pixel": _set(name, _pixels(4, 3, 0, 8, 3)),
        "one axis": _set(name, _pixels(40)),
    }


def _types(name: str) -> dict[str, Write]:
    clips = (4, 3, 8, 8, 3)
    values: dict[str, Any] = {
        "text": np.array(["a"] * 40, dtype=h5py.string_dtype()),
        "bytes": np.full(clips, b"abc"),
        "records": np.zeros(40, [("a", "u1"), ("b", "f4")]),
        "NaN": np.full(clips, np.nan, np.float32),
        "infinity": np.full(clips, np.inf, np.float32),
        "-1": np.full(clips, -1, np.float32),
        "floats of 16 bits": np.full(clips, 0.5, np.float16),
        "floats of 128 bits": np.full(clips, 0.5, np.longdouble),
        "complex numbers": np.full(clips, 0.5j),
        "truth values": np.ones(clips, bool),
        "int64": np.ones(clips, np.int64),
        "arrays of arrays": np.zeros(4, np.dtype(("u1", (3, 8, 8, 3)))),
    }
    writes = {key: _set(name, value) for key, value in values.items()}
    references = h5py.special_dtype(ref=h5py.Reference)
    rows = h5py.special_dtype(vlen=np.uint8)
    return writes | {
        "a group": lambda file: (file.pop(name), file.create_group(name))[1] and None,
        "references": _replace(name, dtype=references),
        "rows of any length": _replace(name, shape=(4,), dtype=rows),
        "a named type": lambda file: (file.pop(name), file.__setitem__(name, np.dtype("u1")))[1],
    }


def _tables() -> dict[str, Write]:
    objects = np.zeros(3, [("clip", "f8"), ("step", "i4"), ("kind", "S16"), ("x", "f4"), ("y", "f4")])
    objects["clip"] = [np.nan, np.inf, 1e300]
    far = objects.copy()
    far["clip"] = 2**40
    return {
        "episodes of floats": _set("episode", np.full(40, np.nan)),
        "episodes of 2^63": _set("episode", np.full(40, 2**63, np.uint64)),
        "one episode too few": _set("episode", np.zeros(3, int)),
        "a group of episodes": lambda file: (file.pop("episode", None), file.create_group("episode"))[1] and None,
        "episodes never written": _set_never("episode"),
        "starts that go back": _set("episode_starts", np.array([0, 9, 3])),
        "starts without an end": lambda file: (file.pop("episode", None), file.__setitem__("episode_starts", [0, 99]))[
            1
        ],
        "no start": lambda file: (file.pop("episode", None), file.__setitem__("episode_starts", np.zeros(0, int)))[1],
        "actions of text": _set("actions", np.array([b"a"] * 40)),
        "positions of NaN": _set("player_position", np.full((40, 2), np.nan)),
        "clips at -1": _set("clip_starts", np.array([-1, 2**40])),
        "objects of NaN": _set("objects", objects),
        "objects far away": _set("objects", far),
        "objects without fields": _set("objects", np.zeros(3)),
        "a kind that is a number": _set(
            "objects", np.zeros(3, [(name, "f4") for name in ("clip", "step", "kind", "x", "y")])
        ),
        "fps of 0": _attribute("fps", 0),
        "fps of NaN": _attribute("fps", float("nan")),
        "fps of text": _attribute("fps", "x"),
        "fps of a list": _attribute("fps", [1, 2]),
        "no value of fps": _attribute("fps", h5py.Empty("f4")),
        "no JSON": lambda file: file.attrs.update({"checkpoints": "{", "request": "[", "unknown": "x"}),
        "deep JSON": lambda file: file.attrs.update(dict.fromkeys(("checkpoints", "request", "unknown"), "[" * 60_000)),
        "a list in JSON": lambda file: file.attrs.update(dict.fromkeys(("checkpoints", "request", "unknown"), "[1]")),
        "numbers for JSON": lambda file: file.attrs.update(dict.fromkeys(("checkpoints", "request", "unknown"), 3)),
        "3,000 groups in groups": _nested,
        "20,000 groups": lambda file: [file.create_group(f"g{number}") for number in range(20_000)] and None,
        "a group that contains itself": lambda file: file.create_group("a").__setitem__("b", file),
        "a link to another file beside it": lambda file: file.__setitem__("l", h5py.ExternalLink("/etc/passwd", "/")),
    }


def _set_never(name: str) -> Write:
    def change(file: h5py.File) -> None:
        file.pop(name, None)
        file.create_dataset(name, shape=(40,), chunks=(8,), dtype="i8")

    return change


def _made(folder: Path, layout: str, change: Write) -> Path:
    return _written(folder, LAYOUTS[layout][0], change)


def _content_cases() -> Iterator[Case]:
    for layout, (_, name) in LAYOUTS.items():
        groups = {
            "values elsewhere": _stored_elsewhere(name),
            "chunks": _chunks(name),
            "shapes": _shapes(name),
            "types": _types(name),
        }
        for kind, changes in groups.items():
            for what, change in changes.items():
                refused = kind == "values elsewhere" and layout != "rolled out"
                yield Case(kind, f"{what} in {layout}", partial(_made, layout=layout, change=change), refused)
        for what, change in _tables().items():
            yield Case("tables and attributes", f"{what} in {layout}", partial(_made, layout=layout, change=change))


def _damage_cases() -> Iterator[Case]:
    for number in range(CHANGED + CUT):
        layout = list(LAYOUTS)[number % 3]
        libver = "latest" if number % 5 == 4 else "earliest"

        def make(folder: Path, number: int = number, layout: str = layout, libver: str = libver) -> Path:
            rng, data = random.Random(number), bytearray(_bytes(layout, libver))
            for _ in range(rng.choice((1, 1, 2, 4, 8)) if number < CHANGED else 0):
                at = rng.randrange(min(len(data), 3000) if rng.random() < 0.7 else len(data))
                data[at] = rng.choice((0, 255, rng.randrange(256), data[at] ^ 1 << rng.randrange(8)))
            if number >= CHANGED:
                del data[rng.randrange(len(data)) :]
            path = folder / "some_frames.h5"
            path.write_bytes(data)
            return path

        kind = "changed bytes" if number < CHANGED else "truncations"
        yield Case(kind, f"{layout}, {number}", make, must_refuse=kind == "truncations")


def _file_cases() -> Iterator[Case]:
    for what in names_of_kinds():

        def make(folder: Path, what: str = what) -> Path:
            make_kind_of_file(what, folder / "some_frames.h5")
            return folder / "some_frames.h5"

        yield Case("kinds of file", what, make, must_refuse=True)
    for name, data in {"empty": b"", "a text": b"text", "a signature alone": b"\x89HDF\r\n\x1a\n"}.items():

        def written(folder: Path, data: bytes = data) -> Path:
            (folder / "some_frames.h5").write_bytes(data)
            return folder / "some_frames.h5"

        yield Case("kinds of file", name, written, must_refuse=True)
    yield Case("names", "300 letters", lambda folder: folder / ("x" * 300 + ".h5"), must_refuse=True)
    yield Case("names", "a null character", lambda folder: folder / "a\0.h5", must_refuse=True)
    for name in (os.fsdecode(b"caf\xe9"), "with\nline", "größe"):

        def named(folder: Path, name: str = name) -> Path:
            return _made(folder, "frames", lambda file: None).rename(folder / f"{name}_frames.h5")

        yield Case("names", ascii(name), named)


def hdf5_cases() -> Iterator[Case]:
    """Return all hostile HDF5 files."""
    for layout in LAYOUTS:
        yield Case("whole", layout, partial(_made, layout=layout, change=lambda file: None))
    yield from _file_cases()
    yield from _content_cases()
    yield from _damage_cases()
