"""Write the folder of a kept run in one step; only files of this command are replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate import __version__
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.keep.collect import Collected
from tinyworlds_gate.run.publish_folder import published_folder, recover_folder

MARKER, README = "keep.json", "README.md"
WRITER = "tinyworlds-gate keep"


def require_own_folder(folder: Path) -> None:
    """Require that the folder is absent or has only files of an earlier keep; completes or undoes a killed keep.

    Raises:
        GateError: it has other files.
    """
    try:
        recover_folder(folder)
        if not os.path.lexists(folder):
            return
        if folder.is_symlink() or not folder.is_dir():
            raise GateError(
                f"{folder} is no folder, so no run can be kept there. Move it away, or name another --into."
            )
        there = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if not one.is_dir())
        ours = _files_in_marker(folder / MARKER)
    except OSError as error:
        raise GateError(f"{folder} cannot be read: {error.strerror}. Change its permissions.") from error
    if there and ours is None:
        raise GateError(
            f"{folder} holds files and no {MARKER} of this command, so they are not from an earlier keep; nothing was "
            "written. Move that folder away, or name another --into."
        )
    foreign = [name for name in there if name not in (ours or ())]
    if foreign:
        raise GateError(
            f"{folder} holds {', '.join(foreign[:3])}{' and more' if len(foreign) > 3 else ''}, which an earlier keep "
            "did not write and a new one would remove; nothing was written. Move what you want to have out of it, "
            "or name another --into."
        )


def write_folder(folder: Path, collected: Collected, readme: str, about: Mapping[str, Any]) -> None:
    """Write the files, the README and the marker, replacing an earlier keep.

    Raises:
        GateError: the folder cannot be written; an earlier keep is unchanged.
    """
    try:
        with published_folder(folder) as new:
            for kept in collected.kept:
                _write(new / kept.file.name, kept.file.content)
            _write(new / README, readme.encode("utf-8"))
            _write(new / MARKER, _marker_text(collected, about).encode("utf-8"))
    except OSError as error:
        raise GateError(
            f"Cannot write the kept run to {folder}: {error.strerror}. Make the folder around it writable or free the "
            "disk; what was kept there before stays."
        ) from error


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _marker_text(collected: Collected, about: Mapping[str, Any]) -> str:
    files = {
        kept.file.name: {"source": kept.source, "bytes": len(kept.file.content), "sha256": kept.sha256}
        for kept in collected.kept
    }
    left_out = [
        {"what": one.what, "source": one.source, "bytes": one.size, "reason": one.reason} for one in collected.left_out
    ]
    marker = {"written_by": WRITER, "version": __version__, **about, "files": files, "left_out": left_out}
    return json.dumps(marker, indent=1, ensure_ascii=False) + "\n"


def _files_in_marker(marker: Path) -> set[str] | None:
    """Return the files that an earlier keep wrote; None without a marker of this command."""
    try:
        record = json.loads(marker.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("written_by") != WRITER or not isinstance(record.get("files"), dict):
        return None
    return {*record["files"], README, MARKER}
