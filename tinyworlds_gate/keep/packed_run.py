"""A run in one file, to go on with on another machine: with the hash of each file, unpacked whole or not at all.

The file is a ZIP archive. Its first entry, `packed-run.json`, names the run and states size and SHA-256 of every other
entry; the names are paths in the project. The run's folder goes in whole, checkpoints too, with the reports, pictures
and metrics that it wrote elsewhere in the project. The training frames stay out.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.hash_chain import require_intact
from tinyworlds_gate.run.journal import inspect_journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.owned import open_owned, owned_folder
from tinyworlds_gate.run.plain_json import load_json
from tinyworlds_gate.run.publish_folder import published_folder
from tinyworlds_gate.run.regular_file import open_regular

CONTENTS = "packed-run.json"
_FORMAT = 1
_OUTSIDE = ("Logs", "inference_results", "docs/action")
"""Folders of a project, besides the run's own, into which a run writes."""
_MOST_FILES = 100_000
_LONGEST_CONTENTS = 64 << 20
_BLOCK = 1 << 20
_ROOM = 1.02
"""Space needed on the disk, as a multiple of the files' sizes."""
_DAMAGED = "It is damaged or no file of `tinyworlds-gate runs --pack`; nothing was written. Copy it again."


@dataclass(frozen=True)
class PackedRun:
    """What an archive holds: the run's name, and size in bytes and SHA-256 of each file by its path in the project."""

    run: str
    files: dict[str, tuple[int, str]]

    @property
    def size(self) -> int:
        """Bytes of all files, unpacked."""
        return sum(size for size, _ in self.files.values())


def pack_run(layout: RunLayout, file: Path, stamp: str, journal: str) -> PackedRun:
    """Write a run into ``file``, which must be new.

    Outside the run's folder, these are its files: named by the text of its ``journal``, or with the run's name or
    ``stamp``, its time, in their path.

    Raises:
        GateError: ``file`` exists.
        OSError: a file cannot be read, is a link or changes meanwhile, or ``file`` cannot be written.
    """
    if os.path.lexists(file):
        raise GateError(f"--pack {file} exists and is not overwritten. Name a new file, or remove that one.")
    root = layout.project_root
    paths = [*_files_below(root, layout.root), *_files_outside(layout, stamp, journal)]
    found: dict[str, tuple[int, str]] = {}
    for path in paths:
        with os.fdopen(open_owned(root, path), "rb") as source:
            found[path] = _copy(source, None)
    packed = PackedRun(layout.run, found)
    with (
        atomic_path(file) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive,
    ):
        archive.writestr(CONTENTS, json.dumps({"format": _FORMAT, "run": packed.run, "files": found}, indent=1))
        for path in paths:
            with os.fdopen(open_owned(root, path), "rb") as source, archive.open(path, "w", force_zip64=True) as entry:
                if _copy(source, entry) != found[path]:
                    raise OSError(errno.EAGAIN, "it changed while it was read", path)
    return packed


def unpack_run(file: Path, project_root: Path) -> PackedRun:
    """Restore a packed run in a project: every file in its place, the run's own folder last and in one step.

    A file that is already there with the same content stays; so the same command completes a killed one.

    Raises:
        GateError: the archive is damaged or names other places, the run or another file of it is there, or the disk
            has too little space. The project has no part of the run's folder then.
        OSError: the archive cannot be read, or a file cannot be written.
    """
    with os.fdopen(open_regular(file), "rb") as opened:
        try:
            with zipfile.ZipFile(opened) as archive:
                packed = _contents(archive, file)
                _require_room(packed, project_root, file)
                _unpack(archive, packed, RunLayout(project_root, packed.run), file)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError) as error:
            raise GateError(f"{file} cannot be unpacked ({error}). {_DAMAGED}") from error
    return packed


def _unpack(archive: zipfile.ZipFile, packed: PackedRun, layout: RunLayout, file: Path) -> None:
    root, inside = layout.project_root, f"results/{packed.run}/"
    if os.path.lexists(layout.root):
        raise GateError(
            f"{layout.root} exists: a run is never overwritten. Unpack {file} in another project, or move that folder "
            "away."
        )
    for path, stated in packed.files.items():
        _extract(archive, path, stated, None, file)
    outside = [path for path in packed.files if not path.startswith(inside)]
    present = {path for path in outside if _is_there(root, path, packed.files[path])}
    owned_folder(root, layout.root.parent)
    with published_folder(layout.root) as new:
        for path in packed.files:
            if path.startswith(inside):
                target = new / path.removeprefix(inside)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as written:
                    _extract(archive, path, packed.files[path], written, file)
        _require_journal(new / layout.journal.name, file)
        for path in outside:
            if path not in present:
                owned_folder(root, (root / path).parent)
                with atomic_path(root / path) as temporary, temporary.open("xb") as written:
                    _extract(archive, path, packed.files[path], written, file)


def _require_journal(journal: Path, file: Path) -> None:
    """Refuse a run whose journal is missing, cannot be read or was changed."""
    try:
        state = inspect_journal(journal)
        require_intact(state, journal)
    except (GateError, ValueError, KeyError, TypeError) as error:
        raise GateError(f"The journal in {file} cannot be read or was changed ({error}). {_DAMAGED}") from error
    if not state.events or state.events[0]["event"] != "run_started":
        raise GateError(f"The journal in {file} does not begin with a started run. {_DAMAGED}")


def _extract(
    archive: zipfile.ZipFile, path: str, stated: tuple[int, str], target: IO[bytes] | None, file: Path
) -> None:
    """Copy an entry, or only read it; its size was checked, so no more than that is written."""
    with archive.open(path) as entry:
        if _copy(entry, target) != stated:
            raise GateError(f"{path} in {file} differs from its hash in {CONTENTS}. {_DAMAGED}")


def _contents(archive: zipfile.ZipFile, file: Path) -> PackedRun:
    """The list of an archive, which agrees with its entries and names only places of its run."""
    entries = archive.infolist()
    if not entries or entries[0].filename != CONTENTS or len(entries) > _MOST_FILES:
        raise GateError(f"{file} has no {CONTENTS} as its first entry, or more than {_MOST_FILES} entries. {_DAMAGED}")
    if entries[0].file_size > _LONGEST_CONTENTS:
        raise GateError(f"{CONTENTS} in {file} has {entries[0].file_size} bytes. {_DAMAGED}")
    try:
        stated = load_json(archive.read(entries[0]))
        packed = _stated(stated)
        RunLayout(Path(), packed.run)
    except (ValueError, TypeError, AttributeError, GateError) as error:
        raise GateError(f"{CONTENTS} in {file} is not understood ({error}). {_DAMAGED}") from error
    sizes = [(one.filename, one.file_size) for one in entries[1:]]
    if sorted(sizes) != sorted((path, size) for path, (size, _) in packed.files.items()):
        raise GateError(f"The entries of {file} are not those that {CONTENTS} names. {_DAMAGED}")
    for path in packed.files:
        if not _is_place_of(path, packed.run):
            raise GateError(
                f"{file} holds {path!r}: allowed are results/{packed.run}/, {'/, '.join(_OUTSIDE)}/. {_DAMAGED}"
            )
    return packed


def _stated(stated: Any) -> PackedRun:
    if not isinstance(stated, dict) or stated.get("format") != _FORMAT:
        raise ValueError(f"format {_FORMAT} is expected")
    files = {
        path: (size, digest)
        for path, (size, digest) in stated["files"].items()
        if isinstance(path, str) and type(size) is int and isinstance(digest, str)
    }
    if len(files) != len(stated["files"]) or not isinstance(stated["run"], str):
        raise ValueError("a file needs a path, a size and a SHA-256")
    return PackedRun(stated["run"], files)


def _is_place_of(path: str, run: str) -> bool:
    """Whether a path is a plain one below a folder that the run writes to."""
    plain = PurePosixPath(path)
    if str(plain) != path or plain.is_absolute() or ".." in plain.parts or "\0" in path or "\\" in path:
        return False
    return any(plain.is_relative_to(folder) and str(plain) != folder for folder in (f"results/{run}", *_OUTSIDE))


def _require_room(packed: PackedRun, root: Path, file: Path) -> None:
    free = shutil.disk_usage(root).free
    if packed.size * _ROOM > free:
        raise GateError(
            f"{file} needs {packed.size / 1e6:.0f} MB, and the disk of {root} has {free / 1e6:.0f} MB free. Free some "
            "space; nothing was written."
        )


def _is_there(root: Path, path: str, stated: tuple[int, str]) -> bool:
    """Whether a file of the project has this content already.

    Raises:
        GateError: it has another one.
    """
    try:
        with os.fdopen(open_owned(root, path), "rb") as source:
            same = _copy(source, None) == stated
    except FileNotFoundError:
        return False
    if not same:
        raise GateError(
            f"{root / path} exists with another content and is not overwritten; nothing was written. Move it away, or "
            "unpack in another project."
        )
    return True


def _files_below(root: Path, folder: Path) -> Iterator[str]:
    """The files of the run's folder; temporary ones of writers that are gone stay out."""
    for below, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if not name.endswith(".part"):
                yield (Path(below) / name).relative_to(root).as_posix()


def _files_outside(layout: RunLayout, stamp: str, journal: str) -> Iterator[str]:
    for folder in _OUTSIDE:
        for path in _files_below(layout.project_root, layout.project_root / folder):
            if layout.run in path or stamp in path or path in journal:
                yield path


def _copy(source: IO[bytes], target: IO[bytes] | None) -> tuple[int, str]:
    """Copy everything, or only read it; return the size in bytes and the SHA-256."""
    size, digest = 0, sha256()
    while block := source.read(_BLOCK):
        size += len(block)
        digest.update(block)
        if target is not None:
            target.write(block)
    return size, digest.hexdigest()
