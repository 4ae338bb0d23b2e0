"""The hash chain of a journal: compute it, follow it while reading, and name the first line at which it breaks.

Each line ends with the field ``chain``: SHA-256 over the chain of the line before and over this line's bytes without
that field. The chain before the first chained line is the SHA-256 of all bytes before it. ``journal.head`` beside the
journal has the number of lines and the newest chain. It is written after the line is on the disk: it may lag behind the
journal and never leads (docs/journal.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.plain_json import parse_json

Event = dict[str, Any]
Head = tuple[int, str]
"""Number of lines, and the chain after them."""

CHAIN = "chain"
HEAD = "journal.head"
HARNESS = "harness_sha256"
"""Field of `run_started` and of a verdict's `binding`; only versions that chain their journals write it."""

LONGEST_LINE = 16 * 2**20
"""Bytes of a line of a journal; the longest of a long run has 21 KB."""
LONGEST_JOURNAL = 512 * 2**20
_CHAINED = re.compile(rb', "chain": "([0-9a-f]{64})"\}$')
_CHAIN_FIELD = 80
_HEAD = re.compile(rb" *([0-9]+) ([0-9a-f]{64})\n")
_FIX = "restore the file from a copy or start a new run."


@dataclass(frozen=True)
class JournalState:
    """A journal as it was read, and the first sign that it was changed after it was written."""

    events: list[Event]
    chains: Sequence[str]
    """The chain after 0, 1, 2 … lines; empty strings before the chain begins."""
    chained_from: int | None
    """Number of lines before the chain begins; None: an older version wrote the journal, without a chain."""
    problem: str | None
    """A sentence that names the first broken line; None: nothing shows a change."""
    size: int
    """Bytes of the complete lines."""
    torn: bool = False
    """Whether an incomplete line follows."""
    head_missing: bool = False
    """Whether `journal.head` is gone."""

    @property
    def end(self) -> int:
        """Number of lines up to the last `run_finished`; of all lines where there is none."""
        ends = [number for number, event in enumerate(self.events, start=1) if event["event"] == "run_finished"]
        return ends[-1] if ends else len(self.events)

    @property
    def note(self) -> str:
        """What the chain covers, with its value at the run's end, which a later rewrite of the journal changes."""
        if self.problem is not None:
            return self.problem
        if self.chained_from is None:
            return "The journal has no hash chain: nothing shows whether it was edited."
        parts = [f"Hash chain of the journal after line {self.end}: {self.chains[self.end]}."]
        if self.chained_from:
            parts.append(f"Its first {self.chained_from} lines have no chain: nothing shows whether they were edited.")
        if self.head_missing:
            parts.append(f"{HEAD} is gone: nothing shows whether the end is complete.")
        return " ".join(parts)


def require_intact(state: JournalState, path: Path) -> None:
    """Refuse the journal ``path`` if it was changed, or if nothing confirms its end.

    Raises:
        GateError: its chain is broken, or `journal.head` is gone.
    """
    if state.problem is not None:
        raise GateError(state.problem)
    if state.head_missing:
        raise GateError(
            f"{path.with_name(HEAD)} is gone, so that nothing shows whether the end of the journal is complete: "
            "restore it from a copy or start a new run."
        )


def read_lines(path: Path, file: BinaryIO, head: Head | None = None) -> JournalState:
    """Return the events of an open journal, and follow its chain from the first line that has one.

    The lines are read one by one.

    Args:
        path: as sentences name it.
        head: of `journal.head`, to recognise a journal whose chain was removed; ``end_problem`` compares the end.

    Raises:
        GateError: a line before the last one is damaged or missing, in a journal without a chain; a line, or the
            journal, is longer than any that this program writes.
    """
    events: list[Event] = []
    chains: list[str] = []
    start: int | None = None  # lines before the chain begins
    damage = problem = newer = None
    begun = sha256()  # of the lines before the chain
    at_head = FIRST
    size = number = 0
    line = _next_line(path, file, 1, 0)
    while line.endswith(b"\n"):
        following = _next_line(path, file, number + 2, size + len(line))
        event = as_event(line)
        if event is None and not following:
            break  # torn
        match = _CHAINED.search(line, max(0, len(line) - _CHAIN_FIELD), len(line) - 1)
        damage = damage or _damage(path, number, event)
        if start is None and match is None:
            chains.append("")
            begun.update(line)
            newer = newer or (_broken(path, number) if _is_newer(event) else None)
            if head is not None and head[0] == number + 1:
                at_head = begun.hexdigest()
        else:
            if start is None:
                start, problem = number, damage or newer
                chains.append(begun.hexdigest())
            chain = _next_chain(chains[-1], line[:-1] if match is None else line[: match.start()] + b"}")
            recorded = None if match is None else match[1].decode()
            problem = problem or damage or (_broken(path, number) if recorded != chain else None)
            chains.append(recorded or chain)
        if event is not None:
            events.append(event)
        size, number, line = size + len(line), number + 1, following
    torn = bool(line)
    if start is not None:
        return JournalState(events, chains, start, problem, size, torn)
    chains.append(begun.hexdigest())
    if newer is None and (head is None or (head[0] <= number and head[1] == at_head)):
        if damage:
            raise GateError(damage)
        return JournalState(events, chains, None, None, size, torn)
    # Its chain was removed: the first line already lacks it.
    return JournalState(events, chains, 0, (damage or _broken(path, 0)) if number else None, size, torn)


def _next_line(path: Path, file: BinaryIO, number: int, size: int) -> bytes:
    line = file.readline(LONGEST_LINE + 1)
    if len(line) > LONGEST_LINE or size + len(line) > LONGEST_JOURNAL:
        what = f"line {number} has more than {LONGEST_LINE // 2**20} MiB"
        if len(line) <= LONGEST_LINE:
            what = f"it has more than {LONGEST_JOURNAL // 2**20} MiB"
        raise GateError(f"The journal {path} cannot be read: {what}, which no run writes; {_FIX}")
    return line


def end_problem(path: Path, found: JournalState, head: Head) -> str | None:
    """Return how a journal's end contradicts its head, as a sentence; None where it does not.

    A torn last line may be the one by which the head leads.
    """
    (lines, chain), has = head, len(found.events)
    if lines > has + found.torn:
        return f"The journal {path} was cut after line {has}: {HEAD} beside it records {lines} lines; {_FIX}"
    if lines <= has and found.chains[lines] not in ("", chain):
        return (
            f"The journal {path} was rewritten up to line {lines}: its hash chain there is not the one that {HEAD} "
            f"beside it records; {_FIX}"
        )
    return None


def chained_line(body: bytes, before: str) -> tuple[bytes, str]:
    """Return the line of a JSON object, with its chain, and that chain."""
    chain = _next_chain(before, body)
    return body[:-1] + f', "{CHAIN}": "{chain}"}}\n'.encode(), chain


def chained_lines(bodies: Sequence[bytes], chained_from: int | None = 0) -> tuple[bytes, str]:
    """Return the lines of a journal with these JSON objects, chained anew from a line on, and the last chain.

    Args:
        chained_from: number of lines before the chain begins; None: no line has one.
    """
    start = len(bodies) if chained_from is None else chained_from
    lines = [body + b"\n" for body in bodies[:start]]
    chain = _sha256(b"".join(lines))
    for body in bodies[start:]:
        line, chain = chained_line(body, chain)
        lines.append(line)
    return b"".join(lines), chain


def head_bytes(lines: int, chain: str) -> bytes:
    """Return the content of `journal.head`; its length is always the same."""
    return f"{lines:>12d} {chain}\n".encode()


def read_head(path: Path) -> Head | None:
    """Return the head beside the journal ``path``; None where it is missing or unreadable."""
    try:
        found = _HEAD.fullmatch(path.with_name(HEAD).read_bytes())
    except OSError:
        return None
    return (int(found[1]), found[2].decode()) if found else None


def as_event(line: bytes) -> Event | None:
    """Return the event that a line of a journal holds, without its chain; None for a damaged line."""
    if len(line) > LONGEST_LINE:
        return None
    try:
        event = parse_json(line)
    except ValueError:
        return None
    if not (isinstance(event, dict) and type(event.get("seq")) is int and isinstance(event.get("event"), str)):
        return None
    event.pop(CHAIN, None)
    return event


def _damage(path: Path, number: int, event: Event | None) -> str | None:
    if event is None:
        return (
            f"The journal {path} is damaged in line {number + 1}: it is no event. Only a last line may be torn; {_FIX}"
        )
    if event["seq"] != number:
        return (
            f"The journal {path} has seq {event['seq']} in line {number + 1}, expected {number}: lines are missing, "
            f"doubled or moved; {_FIX}"
        )
    return None


def _broken(path: Path, number: int) -> str:
    return (
        f"The journal {path} was changed after it was written: line {number + 1} does not continue its hash chain, so "
        "that this line or the one before it was changed, removed or inserted. Nothing from there on counts; "
        f"{_FIX}"
    )


def _is_newer(event: Event | None) -> bool:
    """Whether a version that chains its journals wrote this event."""
    bound = (event or {}).get("binding")
    return HARNESS in (event or {}) or (isinstance(bound, Mapping) and HARNESS in bound)


def _next_chain(before: str, body: bytes) -> str:
    return _sha256(before.encode() + body)


def _sha256(data: bytes) -> str:
    return sha256(data).hexdigest()


FIRST = _sha256(b"")
"""The chain before the first line of a journal."""
