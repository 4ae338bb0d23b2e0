"""Hostile checkpoints: pickles, kinds of file and damage."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import socket
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from tests.helpers.checkpoint_files import optimizer_state
from tests.hostile_files import pickles
from tests.hostile_files.case import Case

STAGE, STEP = "dynamics", 5
MODEL, OPTIM, STATE, MANIFEST = "model_state_dict.pt", "optim_state_dict.pt", "state.pt", "manifest.json"
FILES = (MODEL, STATE, OPTIM)
BIT_FLIPS, TRUNCATIONS, RANDOM_STREAMS = 120, 30, 40

Edit = Callable[[Path], object]


@lru_cache
def base() -> dict[str, bytes]:
    """Return the files of a whole small checkpoint."""
    contents: dict[str, Any] = {
        MODEL: {"output_mlp.weight": torch.arange(128.0).view(16, 8), "latent_embed.weight": torch.ones(8, 2)},
        STATE: {"step": STEP, "config": {"embed_dim": 8, "num_heads": 2}, "scheduler_state_dict": {}},
        OPTIM: optimizer_state(),
    }
    files = {}
    for name, content in contents.items():
        stream = io.BytesIO()
        torch.save(content, stream)
        files[name] = stream.getvalue()
    return files


def records(name: str) -> list[tuple[str, bytes]]:
    """Return the records of a file of the base checkpoint."""
    with zipfile.ZipFile(io.BytesIO(base()[name])) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def write_records(file: Path, parts: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> None:
    """Write a zip file."""
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in parts:
            archive.writestr(zipfile.ZipInfo(name), data, method)  # without the time of day


def write_folder(folder: Path, edit: Edit, *, signed: bool, name: str = f"{STAGE}_step_{STEP}") -> Path:
    """Write the base checkpoint, edit it and, where it is ``signed``, write a manifest that fits the edited files."""
    path = folder / name
    path.mkdir()
    for file, data in base().items():
        (path / file).write_bytes(data)
    edit(path)
    if signed:
        (path / MANIFEST).write_text(json.dumps(manifest_of(path)))
    return path


def manifest_of(path: Path) -> dict[str, Any]:
    """Return a manifest that fits the files."""
    files = {}
    for name in FILES:
        data = (path / name).read_bytes()
        files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return {"schema": 1, "stage": STAGE, "step": STEP, "parameters": 144, "files": files, "run": "x"}


def _with_pickle(file: str, data: bytes, path: Path) -> None:
    parts = [(name, data if name.endswith("data.pkl") else content) for name, content in records(file)]
    if file != MODEL:
        parts = [one for one in parts if "/data/" not in one[0]]
        parts.append((parts[0][0].replace("data.pkl", "data/0"), bytes(512)))
    write_records(path / file, parts)


def _pickle_cases() -> Iterator[Case]:
    kinds: dict[str, Callable[[], Iterator[tuple[str, bytes]]]] = {
        "objects inside objects": pickles.deep,
        "shared objects": pickles.shared,
        "long numbers": pickles.numbers,
        "memory": pickles.memory,
        "tensors beyond their bytes": pickles.tensors,
        "objects that contain themselves": pickles.cycles,
        "broken operations": pickles.texts,
        "random operations": partial(pickles.random_streams, RANDOM_STREAMS, 3),
    }
    for kind, values in kinds.items():
        for number, (name, value) in enumerate(values()):
            yield from _placed(kind, name, partial(_same, value), number)
    for number, (name, _) in enumerate(pickles.calls(Path())):
        yield from _placed("calls", name, partial(_call, name), number, must_refuse=True)


def _same(value: bytes, _: Path) -> bytes:
    return value


def _call(name: str, mark: Path) -> bytes:
    return dict(pickles.calls(mark))[name]


def _placed(
    kind: str, name: str, value: Callable[[Path], bytes], number: int, *, must_refuse: bool = False
) -> Iterator[Case]:
    """A value in each file, at one of the places in turn."""
    for file, places in pickles.positions(b"").items():
        at = number % len(places)
        signed = number // 2 % 2 == 0

        def make(folder: Path, file: str = file, at: int = at, signed: bool = signed) -> Path:
            data = pickles.positions(value(folder / "executed"))[file][at][1]
            return write_folder(folder, partial(_with_pickle, file, data), signed=signed)

        # Beside a manifest that fits, an optimizer is loaded by training only.
        refused = must_refuse and not (signed and file == OPTIM)
        yield Case(kind, f"{name}, as {places[at][0]} of {file}", make, refused)


def _kinds_of_file(path: Path) -> dict[str, Callable[[Path], None]]:
    def bind(file: Path) -> None:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(file))

    def sparse(file: Path) -> None:
        with file.open("wb") as stream:
            stream.truncate(2**40)

    def link_to_fifo(file: Path) -> None:
        os.mkfifo(path / "fifo")
        file.symlink_to("fifo")

    return {
        "a FIFO": os.mkfifo,
        "a folder": Path.mkdir,
        "a socket": bind,
        "a link to /dev/zero": lambda file: file.symlink_to("/dev/zero"),
        "a link to itself": lambda file: file.symlink_to(file.name),
        "a link to nothing": lambda file: file.symlink_to("absent"),
        "a link to a FIFO": link_to_fifo,
        "1 TB that was never written": sparse,
        "no file": lambda file: None,
    }


def names_of_kinds() -> list[str]:
    """Return the names of what can be in the place of a file."""
    return list(_kinds_of_file(Path()))


def make_kind_of_file(what: str, file: Path) -> None:
    """Make a FIFO, a folder, … in the place of a file."""
    _kinds_of_file(file.parent)[what](file)


def _file_cases() -> Iterator[Case]:
    for name in (*FILES, MANIFEST):
        for what in names_of_kinds():
            if (name, what) == (MANIFEST, "no file"):
                continue

            def edit(path: Path, name: str = name, what: str = what) -> None:
                (path / name).unlink(missing_ok=True)
                make_kind_of_file(what, path / name)

            made = partial(make, edit, signed=False)
            yield Case("kinds of file", f"{what} as {name}", made, must_refuse=name != OPTIM)


def make(edit: Edit, folder: Path, *, signed: bool, name: str = f"{STAGE}_step_{STEP}") -> Path:
    return write_folder(folder, edit, signed=signed, name=name)


def nothing(path: Path) -> None:
    """Change nothing."""


def _damage_cases() -> Iterator[Case]:
    for number in range(TRUNCATIONS):
        file = FILES[number % 3]

        def cut(path: Path, file: str = file, number: int = number) -> None:
            data = base()[file]
            (path / file).write_bytes(data[: random.Random(number).randrange(len(data))])

        signed = number % 2 == 0
        refused = not (signed and file == OPTIM)
        yield Case("truncations", f"{file}, {number}", partial(make, cut, signed=signed), must_refuse=refused)
    for number in range(BIT_FLIPS):
        file = FILES[number % 3]

        def flip(path: Path, file: str = file, number: int = number) -> None:
            rng, data = random.Random(number), bytearray(base()[file])
            ends = (0, len(data)) if number % 2 else (data.index(b"PK\1\2"), len(data))
            for _ in range(rng.choice((1, 1, 2, 8))):
                at = rng.randrange(*ends)
                data[at] = rng.choice((0, 255, rng.randrange(256), data[at] ^ 1 << rng.randrange(8)))
            (path / file).write_bytes(data)

        yield Case("changed bytes", f"{file}, {number}", partial(make, flip, signed=number % 4 == 1))


def file_cases() -> Iterator[Case]:
    """Return hostile checkpoint folders: pickles, kinds of file, damage."""
    yield Case("whole", "without a manifest", partial(make, nothing, signed=False))
    yield Case("whole", "with a manifest", partial(make, nothing, signed=True))
    yield from _pickle_cases()
    yield from _file_cases()
    yield from _damage_cases()
