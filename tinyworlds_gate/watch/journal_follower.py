"""Follow a journal while the harness writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.hash_chain import as_event
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.watch.tail import Tail


@dataclass(frozen=True)
class NewEvents:
    """New events in order; ``restarted``: it is another journal, discard the earlier events."""

    events: list[Event]
    restarted: bool = False


class JournalFollower:
    """Reads from where the last call stopped. It takes no lock and writes nothing."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)
        self._count = 0

    @property
    def modified_s(self) -> float | None:
        """Modification time of the journal (Unix seconds); None while it does not exist."""
        return self._tail.modified_s

    def poll(self) -> NewEvents:
        """Return the events since the last call.

        An invalid or incomplete last line is read again next time (the harness truncates such a line when it resumes).

        Raises:
            GateError: a line before the last one is damaged, or lines are missing.
        """
        try:
            return self._poll()
        except _DamagedError:
            # Perhaps another journal replaced this one in place: read it from the start.
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
                    raise _DamagedError("it is not an event")
                self._tail.unread(line)
                break
            if event["seq"] != self._count:
                raise _DamagedError(f"it has seq {event['seq']}, expected {self._count}")
            self._count += 1
            events.append(event)
        return NewEvents(events, read.restarted)


class _DamagedError(Exception):
    """A line that is not a valid next event."""
