"""The append-only record of a run: one JSON object a line, flushed, fsynced and hash-chained (docs/journal.md)."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import math
import numbers
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import DiskError, GateError
from tinyworlds_gate.run.atomic import sync
from tinyworlds_gate.run.hash_chain import (
    CHAIN,
    FIRST,
    HEAD,
    JournalState,
    chained_line,
    end_problem,
    head_bytes,
    read_head,
    read_lines,
)

Event = dict[str, Any]


class Journal:
    """The only writer of a journal; opening an existing one continues its ``seq`` and its hash chain.

    A torn last line (the writer was killed, or the disk filled) is moved to ``<journal>.torn`` before the first
    append. Paths inside ``project_root`` are written relative to it. Raises ``GateError`` when another process
    writes this journal, when a line before the last one is damaged, or when its hash chain is broken.
    """

    def __init__(self, path: Path, *, project_root: Path | None = None) -> None:
        self.path = Path(path)
        self._root = None if project_root is None else Path(project_root).resolve()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._head_fd = -1
        try:
            self._lock()
            self._size, self._next, self._chain = 0, 0, FIRST
            self._catch_up()
            self._open_head()
        except BaseException:
            self.close()
            raise
        sync(self.path.parent)

    def append(self, event: str, **fields: object) -> Event:
        """Write one event and return it as it will be read back; it is on the disk when this returns.

        NaN and infinities become null, paths and dataclasses plain data. Raises ``DiskError`` when the disk refuses
        (the half-written line is removed again) and ``TypeError`` for a value that JSON does not know.
        """
        reserved = {"seq", "time", "event", CHAIN} & fields.keys()
        if reserved:
            raise ValueError(f"{sorted(reserved)} are written by the journal itself")
        if os.fstat(self._fd).st_size != self._size:
            self._catch_up()  # a signal (Ctrl-C) interrupted the append before
        record: Event = {"seq": self._next, "time": time.time(), "event": event}
        for name, value in fields.items():
            record[name] = self._plain(value, name)
        line, chain = chained_line(json.dumps(record, allow_nan=False, ensure_ascii=False).encode(), self._chain)
        try:
            _write_all(self._fd, line)
            os.fsync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise DiskError(
                f"Cannot write the journal {self.path}: {error.strerror}. Free the disk; the run can be resumed "
                f"from its {self._next} events."
            ) from error
        # The size last: an interruption before it makes the next append read the file again.
        self._next, self._chain = self._next + 1, chain
        self._size += len(line)
        with suppress(OSError):  # the head may lag behind the journal
            self._write_head()
        return record

    def events(self) -> list[Event]:
        """Everything written so far, as read back from the file."""
        return read_journal(self.path)

    def close(self) -> None:
        for fd in (self._fd, self._head_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._head_fd = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise GateError(
                f"The journal {self.path} is being written by another process: one run has one writer. "
                "Wait for that run or choose another run folder."
            ) from error

    def _catch_up(self) -> None:
        found = read_lines(self.path, self.path.read_bytes(), read_head(self.path))
        if found.problem is not None:
            raise GateError(found.problem)
        self._cut_torn_tail(found.size)
        self._next, self._chain = len(found.events), found.chains[-1]
        self._size = found.size

    def _open_head(self) -> None:
        """Write the head through to the disk once, so that a journal without one lost it afterwards."""
        path = self.path.with_name(HEAD)
        self._head_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DSYNC, 0o644)
        self._write_head()
        os.close(self._head_fd)
        self._head_fd = os.open(path, os.O_WRONLY)

    def _write_head(self) -> None:
        # In place and of one length: a kill leaves the old head or the new one.
        os.pwrite(self._head_fd, head_bytes(self._next, self._chain), 0)

    def _cut_torn_tail(self, whole: int) -> None:
        tail = self.path.read_bytes()[whole:]
        if not tail:
            return
        with open(self.path.with_name(self.path.name + ".torn"), "ab") as side:
            side.write(tail if tail.endswith(b"\n") else tail + b"\n")
            side.flush()
            os.fsync(side.fileno())
        os.ftruncate(self._fd, whole)
        os.fsync(self._fd)

    def _plain(self, value: object, name: str) -> object:
        match value:
            case None | bool():
                return value
            case str():
                return _as_text(value)
            case Path():
                return self._path(value)
            case numbers.Integral():
                return int(value)
            case numbers.Real():
                return float(value) if math.isfinite(value) else None
            case Mapping():
                return {str(key): self._plain(item, f"{name}.{key}") for key, item in value.items()}
            case set() | frozenset():
                return [self._plain(item, name) for item in sorted(value, key=str)]
            case bytes() | bytearray():
                raise TypeError(f"journal field {name!r}: bytes are not JSON")
            case Iterable():
                return [self._plain(item, f"{name}[{index}]") for index, item in enumerate(value)]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return self._plain(fields, name)
        if hasattr(value, "item"):  # a numpy or torch scalar that is no Python number, such as numpy.bool
            return self._plain(value.item(), name)
        raise TypeError(f"journal field {name!r}: {type(value).__name__} is not JSON")

    def _path(self, path: Path) -> str:
        if self._root is not None and path.is_absolute() and path.is_relative_to(self._root):
            return _as_text(str(path.relative_to(self._root)))
        return _as_text(str(path))


def _as_text(text: str) -> str:
    """Write bytes that are not UTF-8 (in a command line or a file name) as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_journal(path: Path) -> list[Event]:
    """Return all complete events of a journal, in order; a torn last line is dropped.

    Raises ``GateError`` when the file is missing, when a line before the last one is damaged, or when its hash chain
    is broken. ``inspect_journal`` also compares its end with ``journal.head``.
    """
    found = read_lines(Path(path), _content(Path(path)))
    if found.problem is not None:
        raise GateError(found.problem)
    return found.events


def inspect_journal(path: Path) -> JournalState:
    """Return a journal with the first sign that it was changed; a broken hash chain does not end the reading.

    Raises ``GateError`` when the file is missing, or is damaged and has no hash chain.
    """
    path = Path(path)
    shown = Path(*path.parts[-3:]) if path.parent.parent.name == "results" else path
    head = read_head(path)  # before the journal, which another process may be writing
    found = read_lines(shown, _content(path), head)
    if found.problem is not None or found.chained_from is None:
        return found
    if head is None:
        return dataclasses.replace(found, head_missing=True)
    return dataclasses.replace(found, problem=end_problem(shown, found, head))


def events_of(events: Iterable[Event], *names: str, **fields: object) -> list[Event]:
    """The events called one of ``names`` whose fields equal ``fields``, in order."""
    chosen = (event for event in events if event["event"] in names)
    return [event for event in chosen if all(event.get(key) == value for key, value in fields.items())]


def last_event(events: Iterable[Event], *names: str, **fields: object) -> Event | None:
    """The newest event that ``events_of`` finds, or None."""
    found = events_of(events, *names, **fields)
    return found[-1] if found else None


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise GateError(f"No journal at {path}: expected results/<run>/journal.jsonl of a run that started.") from error
