"""The append-only record of a run: one JSON object a line, flushed, fsynced and hash-chained (docs/journal.md)."""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from tinyworlds_gate.errors import DiskError, GateError
from tinyworlds_gate.run.atomic import sync
from tinyworlds_gate.run.flock import is_still_at, try_flock
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
from tinyworlds_gate.run.owned import append_to, open_without_link
from tinyworlds_gate.run.redact import redact_field

Event = dict[str, Any]


class Journal:
    """The only writer of a journal; opening an existing one continues its ``seq`` and its hash chain.

    A torn last line (the writer was killed, or the disk filled) is moved to ``<journal>.torn`` before the first
    append. Paths inside ``project_root`` are written relative to it. Raises ``GateError`` when the disk refuses, when
    another process writes this journal, when a line before the last one is damaged, or when its hash chain is broken.
    """

    def __init__(self, path: Path, *, project_root: Path | None = None) -> None:
        self.path = Path(path)
        self._root = None if project_root is None else Path(project_root).resolve()
        self._fd = self._head_fd = -1
        self._moved: list[Event] | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = open_without_link(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            self._lock()
            self._size, self._next, self._chain = 0, 0, FIRST
            self._catch_up()
            self._open_head()
            sync(self.path.parent)
        except OSError as error:
            self.close()
            raise DiskError(
                f"Cannot open the journal {self.path}: {error.strerror or error}. Make the run's folder writable and "
                "free its disk; the events in it are unchanged."
            ) from error
        except BaseException:
            self.close()
            raise

    def append(self, event: str, **fields: object) -> Event:
        """Write one event and return it as it will be read back; it is on the disk when this returns.

        NaN and infinities become null, paths and dataclasses plain data; secrets are removed. Raises ``DiskError``
        when the disk refuses (the half-written line is removed again) and ``TypeError`` for a value that JSON does
        not know.
        """
        reserved = {"seq", "time", "event", CHAIN} & fields.keys()
        if reserved:
            raise ValueError(f"{sorted(reserved)} are written by the journal itself")
        if os.fstat(self._fd).st_size != self._size:
            self._catch_up()  # a signal (Ctrl-C) interrupted the append before
        record: Event = {"seq": self._next, "time": time.time(), "event": event}
        for name, value in fields.items():
            record[name] = redact_field(name, self._plain(value, name))
        line, chain = chained_line(json.dumps(record, allow_nan=False, ensure_ascii=False).encode(), self._chain)
        try:
            _write_all(self._fd, line)
            os.fsync(self._fd)
        except OSError as error:
            with suppress(OSError):  # then the next append, or a resumed run, removes the torn line
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

    def require_in_place(self) -> None:
        """Raise ``GateError`` when the run's folder was renamed, removed or replaced since the journal was opened."""
        if self._fd >= 0 and not is_still_at(self._fd, self.path):
            raise GateError(
                f"The run's folder {self.path.parent} was renamed, removed or replaced while the run is going on. Put "
                "it back in its place and go on with --resume-run; what was trained before is in that folder."
            )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Require, when the block ends, that the run's folder is in its place.

        Raises:
            GateError: it is not, or a file of the run that the block needs is gone.
        """
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            self.require_in_place()
            raise GateError(
                f"{error.filename} is gone: a folder of the run was renamed or removed while the run is going on. Put "
                "it back in its place and go on with --resume-run; the other files of the run are unchanged."
            ) from error
        self.require_in_place()

    def events(self) -> list[Event]:
        """Everything written so far, as read back from the file, also when its folder was renamed."""
        if self._moved is not None:
            return list(self._moved)
        with self._reader() as file:
            return _events(read_lines(self.path, file))

    def _reader(self) -> BinaryIO:
        if self._fd < 0:
            return _open(self.path)
        file = os.fdopen(os.dup(self._fd), "rb")
        file.seek(0)
        return file

    def close(self) -> None:
        """Close the file; its events stay readable, also when its folder was renamed."""
        if self._fd >= 0 and not is_still_at(self._fd, self.path):
            with suppress(GateError):
                self._moved = self.events()
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
            try_flock(self._fd)  # without locks, the project's lock alone keeps other runs out
        except BlockingIOError as error:
            raise GateError(
                f"The journal {self.path} is being written by another process: one run has one writer. "
                "Wait for that run or choose another run folder."
            ) from error

    def _catch_up(self) -> None:
        with self._reader() as file:
            found = read_lines(self.path, file, read_head(self.path))
        _events(found)
        self._cut_torn_tail(found.size)
        self._next, self._chain = len(found.events), found.chains[-1]
        self._size = found.size

    def _open_head(self) -> None:
        """Write the head through to the disk once, so that a journal without one lost it afterwards."""
        path = self.path.with_name(HEAD)
        self._head_fd = open_without_link(path, os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
        self._write_head()
        os.close(self._head_fd)
        self._head_fd = open_without_link(path, os.O_WRONLY)

    def _write_head(self) -> None:
        # In place and of one length: a kill leaves the old head or the new one.
        os.pwrite(self._head_fd, head_bytes(self._next, self._chain), 0)

    def _cut_torn_tail(self, whole: int) -> None:
        with _open(self.path) as file:
            file.seek(whole)
            tail = file.read()
        if not tail:
            return
        with append_to(self.path.with_name(self.path.name + ".torn")) as side:
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
        if self._root is not None and path.is_relative_to(self._root):
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
    with _open(Path(path)) as file:
        return _events(read_lines(Path(path), file))


def _events(found: JournalState) -> list[Event]:
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
    with _open(path) as file:
        found = read_lines(shown, file, head)
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


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise GateError(f"No journal at {path}: expected results/<run>/journal.jsonl of a run that started.") from error
