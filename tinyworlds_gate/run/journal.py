"""The append-only record of a run: one JSON object a line, flushed and fsynced (docs/journal.md)."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import math
import numbers
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import DiskError, GateError
from tinyworlds_gate.run.atomic import sync

Event = dict[str, Any]


class Journal:
    """The only writer of a journal; opening an existing one continues its ``seq``.

    A torn last line (the writer was killed, or the disk filled) is moved to ``<journal>.torn`` before the first
    append. Paths inside ``project_root`` are written relative to it. Raises ``GateError`` when another process
    writes this journal, or when a line before the last one is damaged.
    """

    def __init__(self, path: Path, *, project_root: Path | None = None) -> None:
        self.path = Path(path)
        self._root = None if project_root is None else Path(project_root).resolve()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._lock()
            self._size = self._next = 0
            self._catch_up()
        except BaseException:
            os.close(self._fd)
            raise
        sync(self.path.parent)

    def append(self, event: str, **fields: object) -> Event:
        """Write one event and return it as written; it is on the disk when this returns.

        NaN and infinities become null, paths and dataclasses plain data. Raises ``DiskError`` when the disk refuses
        (the half-written line is removed again) and ``TypeError`` for a value that JSON does not know.
        """
        reserved = {"seq", "time", "event"} & fields.keys()
        if reserved:
            raise ValueError(f"{sorted(reserved)} are written by the journal itself")
        if os.fstat(self._fd).st_size != self._size:
            self._catch_up()  # a signal (Ctrl-C) interrupted the append before
        record: Event = {"seq": self._next, "time": time.time(), "event": event}
        for name, value in fields.items():
            record[name] = self._plain(value, name)
        line = json.dumps(record, allow_nan=False, ensure_ascii=False).encode() + b"\n"
        try:
            _write_all(self._fd, line)
            os.fsync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise DiskError(
                f"Cannot write the journal {self.path}: {error.strerror}. Free the disk; the run can be resumed "
                f"from its {self._next} events."
            ) from error
        self._size += len(line)
        self._next += 1
        return record

    def events(self) -> list[Event]:
        """Everything written so far, as read back from the file."""
        return read_journal(self.path)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

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
        events, whole = _parse(self.path, self.path.read_bytes())
        self._cut_torn_tail(whole)
        self._size, self._next = whole, len(events)

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

    Raises ``GateError`` when the file is missing, or when a line before the last one is damaged.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise GateError(f"No journal at {path}: expected results/<run>/journal.jsonl of a run that started.") from error
    return _parse(Path(path), content)[0]


def events_of(events: Iterable[Event], *names: str, **fields: object) -> list[Event]:
    """The events called one of ``names`` whose fields equal ``fields``, in order."""
    chosen = (event for event in events if event["event"] in names)
    return [event for event in chosen if all(event.get(key) == value for key, value in fields.items())]


def last_event(events: Iterable[Event], *names: str, **fields: object) -> Event | None:
    """The newest event that ``events_of`` finds, or None."""
    found = events_of(events, *names, **fields)
    return found[-1] if found else None


def _parse(path: Path, content: bytes) -> tuple[list[Event], int]:
    """Return the complete events and their length in bytes; what follows is a torn tail."""
    events: list[Event] = []
    whole = 0
    lines = content.split(b"\n")
    complete, rest = lines[:-1], lines[-1]
    for number, line in enumerate(complete, start=1):
        event = as_event(line)
        if event is None:
            if number == len(complete) and not rest:
                break
            raise GateError(
                f"The journal {path} is damaged in line {number}: it is no event. Only a last line may be torn; "
                "restore the file from a copy or start a new run."
            )
        if event["seq"] != len(events):
            raise GateError(
                f"The journal {path} has seq {event['seq']} in line {number}, expected {len(events)}: lines are "
                "missing or doubled. Restore the file from a copy or start a new run."
            )
        events.append(event)
        whole += len(line) + 1
    return events, whole


def as_event(line: bytes) -> Event | None:
    """The event that a line of a journal holds, None for a damaged one."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    usable = isinstance(event, dict) and isinstance(event.get("seq"), int) and isinstance(event.get("event"), str)
    return event if usable else None


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
