"""The leaderboard: every try of a folder, in a hash-chained file that only the harness appends to.

Each try has two lines, `try_started` before the command runs and `try_finished` with the result. A try without the
second line was killed together with the harness. The harness holds the file's bytes while the command runs: what the
command does to the file is undone, and the try is INVALID.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.budget.contract import LEADERBOARD
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.hash_chain import read_head, require_intact
from tinyworlds_gate.run.journal import Event, Journal, events_of, inspect_journal
from tinyworlds_gate.run.owned import open_without_link

STARTED, FINISHED = "try_started", "try_finished"


def read_tries(folder: Path) -> list[Event]:
    """Return the lines of a leaderboard.

    Raises:
        GateError: there is none, or it was changed after it was written.
    """
    path = folder / LEADERBOARD
    if not path.is_file():
        raise GateError(f"{path}: there is no leaderboard; `tinyworlds-gate budget … -- COMMAND` starts one")
    state = inspect_journal(path)
    require_intact(state, path)
    return state.events


class Leaderboard:
    """The only writer of a leaderboard, from before a command starts until its result is written."""

    def __init__(self, folder: Path) -> None:
        """Open or begin it.

        Raises:
            GateError: another try of this folder is running, or the file was changed after it was written.
        """
        self.path = folder / LEADERBOARD
        if self.path.exists():
            read_tries(folder)
        self._journal = self._open()
        self._bytes = self._content()

    def _open(self) -> Journal:
        return Journal(self.path)

    @property
    def events(self) -> list[Event]:
        return self._journal.events()

    @property
    def next_number(self) -> int:
        """The number of the next try, from 1."""
        return len(events_of(self.events, STARTED)) + 1

    @property
    def chain(self) -> str:
        """The hash chain after the last line: a later change of any line changes it."""
        head = read_head(self.path)
        return "" if head is None else head[1]

    def start(self, record: Mapping[str, Any]) -> None:
        """Write that a try begins."""
        self._journal.append(STARTED, **record)
        self._bytes = self._content()

    def undo_changes(self) -> str | None:
        """Put back what the command changed; return what it did, a sentence, or None."""
        try:
            found: bytes | None = self._content()
        except OSError:
            found = None
        if found == self._bytes and not self.path.is_symlink():
            return None
        self._journal.close()
        if self.path.is_symlink() or self.path.exists():
            os.replace(self.path, self.path.with_name(f"{LEADERBOARD}.changed"))
        atomic_write(self.path, self._bytes)
        self._journal = self._open()
        what = "was removed" if found is None else "was changed"
        return f"the leaderboard {what} while the command ran; it was put back (what was there: {LEADERBOARD}.changed)"

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the result of a try."""
        self._journal.append(FINISHED, **record)
        self._bytes = self._content()

    def close(self) -> None:
        self._journal.close()

    def _content(self) -> bytes:
        with os.fdopen(open_without_link(self.path, os.O_RDONLY), "rb") as file:
            return file.read()


def same_weights(events: list[Event], weights: Mapping[str, str]) -> int | None:
    """Return the number of the first try that was scored with the same weights, None where there is none."""
    for event in events_of(events, FINISHED):
        if weights and (event.get("hashes") or {}).get("weights") == dict(weights):
            return int(event["try"])
    return None
