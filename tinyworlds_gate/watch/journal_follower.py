"""Follows a journal while the harness writes it: the new whole events, and whether the record began anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.journal import Event, as_event
from tinyworlds_gate.watch.tail import Tail


@dataclass(frozen=True)
class NewEvents:
    """Events in order; ``restarted``: forget what was read before, the journal is another one."""

    events: list[Event]
    restarted: bool = False


class JournalFollower:
    """Reads on where the last call stopped. It takes no lock and writes nothing."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)
        self._count = 0

    @property
    def modified_s(self) -> float | None:
        """Unix seconds of the journal's last change; None while there is none."""
        return self._tail.modified_s

    def poll(self) -> NewEvents:
        """The events that came since the last call.

        A last line that is torn, or whole and no event (the harness cuts such a line off before it goes on), waits.

        Raises:
            GateError: a line before the last one is damaged, or lines are missing.
        """
        try:
            return self._poll()
        except _DamagedError:
            # Perhaps another journal was written over this one in place: what was read before is none of its lines.
            self._tail.rewind()
            self._count = 0
        try:
            return NewEvents(self._poll().events, restarted=True)
        except _DamagedError as error:
            raise GateError(
                f"The journal {self._tail.path} is damaged in line {self._count + 1}: {error}. Only a last line may be "
                "torn; restore the file from a copy, or watch another run."
            ) from error

    def _poll(self) -> NewEvents:
        read = self._tail.read()
        if read.restarted:
            self._count = 0
        events: list[Event] = []
        for index, line in enumerate(read.lines):
            event = as_event(line)
            if event is None:
                if index + 1 < len(read.lines):
                    raise _DamagedError("it is no event")
                self._tail.give_back(line)
                break
            if event["seq"] != self._count:
                raise _DamagedError(f"it has seq {event['seq']}, expected {self._count}")
            self._count += 1
            events.append(event)
        return NewEvents(events, read.restarted)


class _DamagedError(Exception):
    """A line that cannot follow those before it."""
