"""Count every change of the disk that this process makes, and inject a fault at one of them.

The calls of ``os`` and the files of ``open`` are wrapped in a forked child; the product's code runs unchanged.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.run import publish_folder
from tinyworlds_gate.run.hash_chain import HEAD

KILL, TORN, NO_SPACE, IO_ERROR, READ_ONLY, POWER = "SIGKILL", "torn tail", "ENOSPC", "EIO", "EROFS", "power loss"
FAULTS = (KILL, TORN, NO_SPACE, IO_ERROR, READ_ONLY, POWER)
ERRNOS = {NO_SPACE: errno.ENOSPC, IO_ERROR: errno.EIO, READ_ONLY: errno.EROFS}

_FREEING = {"unlink", "remove", "rmdir", "fsync", "ftruncate"}
"""Calls that a full disk does not refuse."""
_OS_CALLS = ("rename", "replace", "mkdir", "unlink", "remove", "rmdir", "link", "symlink")


@dataclass(frozen=True)
class Injection:
    """A fault at the change number ``at`` (0, 1, …); None counts only."""

    at: int | None = None
    fault: str | None = None


class Shim:
    """Wraps the calls of this process for good: use it in a child only.

    ``log`` gets a line for each change: its kind, the inode and the name of the file.
    """

    def __init__(self, injection: Injection, log: Path) -> None:
        self._injection, self._count = injection, 0
        self._write = os.write
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def install(self) -> None:
        """Wrap the calls."""
        for name in _OS_CALLS:
            self._wrap(os, name)
        self._wrap(publish_folder, "exchange")
        self._wrap_descriptors()
        self._wrap_open()

    def note(self, kind: str, inode: int, name: str) -> None:
        """Append a line to the log, past the wrapped calls."""
        self._write(self._log, f"{kind}\t{inode}\t{name}\n".encode())

    def reached(self, kind: str, inode: int, name: str) -> bool:
        """Count a change; kill this process or raise where that is due. True: write half of it, then call again."""
        number, self._count = self._count, self._count + 1
        self.note(f"point {kind}", inode, name)
        at, fault = self._injection.at, self._injection.fault
        if at is None or fault is None or number < at:
            return False
        if fault in (KILL, POWER):
            if kind == "write" and fault == POWER:
                return True
            self.kill()
        if fault == TORN:
            if kind == "write":
                return True
            self.kill()
        if number > at and (fault == IO_ERROR or (fault == NO_SPACE and kind in _FREEING)):
            return False
        if fault == NO_SPACE and kind == "write" and number == at:
            return True
        self.fail(name)
        return False

    def end(self) -> None:
        """Kill this process after its last change where that is due."""
        if self._injection.at == self._count and self._injection.fault in (KILL, POWER):
            self.kill()

    def broken_write(self, name: str) -> None:
        """End a write of which half was made."""
        if self._injection.fault in (TORN, POWER):
            self.kill()
        self.fail(name)

    def kill(self) -> None:
        """End this process like `kill -9`."""
        os.kill(os.getpid(), signal.SIGKILL)

    def fail(self, name: str) -> None:
        """Raise the error of the injection."""
        number = ERRNOS[str(self._injection.fault)]
        raise OSError(number, os.strerror(number), name)

    def _wrap(self, module: Any, name: str) -> None:
        original = getattr(module, name)
        kind = "rename" if name in ("rename", "replace", "exchange") else name

        def call(*arguments: Any, **keywords: Any) -> Any:
            self.reached(kind, 0, Path(os.fsdecode(arguments[-1 if kind == "rename" else 0])).name)
            return original(*arguments, **keywords)

        setattr(module, name, call)

    def _wrap_descriptors(self) -> None:
        fsync, ftruncate, pwrite, opened = os.fsync, os.ftruncate, os.pwrite, os.open

        def counted_fsync(descriptor: int) -> None:
            inode, name = _file_of(descriptor)
            self.reached("fsync", inode, name)
            fsync(descriptor)
            self.note(f"synced {os.fstat(descriptor).st_size}", inode, name)

        def counted_ftruncate(descriptor: int, length: int) -> None:
            self.reached("ftruncate", *_file_of(descriptor))
            ftruncate(descriptor, length)

        def counted_write(descriptor: int, data: Any) -> int:
            return self.write(descriptor, data, lambda part: self._write(descriptor, part))

        def counted_pwrite(descriptor: int, data: Any, offset: int) -> int:
            if _file_of(descriptor)[1] != HEAD:
                return self.write(descriptor, data, lambda part: pwrite(descriptor, part, offset))
            # In place and within a sector: a disk writes it whole or not at all.
            self.reached("pwrite", *_file_of(descriptor))
            return pwrite(descriptor, data, offset)

        def counted_open(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            if flags & os.O_CREAT:
                self.reached("open", 0, Path(os.fsdecode(path)).name)
            return opened(path, flags, *rest, **more)

        wrapped = {"fsync": counted_fsync, "ftruncate": counted_ftruncate, "open": counted_open}
        for name, call in {**wrapped, "write": counted_write, "pwrite": counted_pwrite}.items():
            setattr(os, name, call)

    def write(self, descriptor: int, data: Any, write: Callable[[Any], int]) -> int:
        """Write with a point before it, and half of it where the fault wants that."""
        inode, name = _file_of(descriptor)
        with memoryview(data).cast("B") as view:
            if descriptor > 2 and self.reached("write", inode, name):
                write(view[: view.nbytes // 2])
                self.broken_write(name)
            self.note("written", inode, name)
            return write(view) or 0

    def _wrap_open(self) -> None:
        shim, real_open = self, io.open

        class CountedFile(io.FileIO):
            def write(self, data: Any, /) -> int:
                return shim.write(self.fileno(), data, super().write)

        def counted_open(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
            if not set(mode) & set("wax+"):
                return real_open(file, mode, buffering, *rest, **more)
            if not isinstance(file, int):
                shim.reached("open", 0, Path(os.fsdecode(file)).name)
            raw = CountedFile(file, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            whole = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return whole if "b" in mode else io.TextIOWrapper(whole, *rest, **more)

        setattr(builtins, "open", counted_open)  # noqa: B010
        setattr(io, "open", counted_open)  # noqa: B010


def _file_of(descriptor: int) -> tuple[int, str]:
    try:
        return os.fstat(descriptor).st_ino, Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
    except OSError:
        return 0, "?"


def points(log: Path) -> list[tuple[str, str]]:
    """Return the changes in a log, as (kind, name)."""
    found = [line.split("\t") for line in log.read_text(encoding="utf-8").splitlines()]
    return [(one[0].removeprefix("point "), one[2]) for one in found if one[0].startswith("point ")]


def lose_power(log: Path, folder: Path) -> None:
    """Cut what was written to files below ``folder``, and not brought to the disk afterwards, in half."""
    kept, unsynced = Counter[int](), set[int]()
    for line in log.read_text(encoding="utf-8").splitlines():
        kind, inode, _ = line.split("\t")
        if kind in ("written", "point write"):
            unsynced.add(int(inode))
        elif kind.startswith("synced "):
            unsynced.discard(int(inode))
            kept[int(inode)] = int(kind.split()[1])
    for below, _, names in os.walk(folder):
        for name in names:
            path = Path(below) / name
            found = path.lstat()
            if found.st_ino in unsynced and not path.is_symlink():
                synced = min(kept[found.st_ino], found.st_size)
                os.truncate(path, (synced + found.st_size) // 2)
