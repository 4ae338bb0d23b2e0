"""Journals of real runs, cut as by a kill or rewritten as by somebody who also computes the hash chain anew."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tinyworlds_gate.run.hash_chain import HEAD, chained_lines, head_bytes

Event = dict[str, Any]
_CHAIN = re.compile(rb', "chain": "[0-9a-f]{64}"\}$')


def lines_of(run: Path) -> list[bytes]:
    """Return the lines of a run's journal, without their ends."""
    return (run / "journal.jsonl").read_bytes().splitlines()


def put_lines(run: Path, lines: Iterable[bytes]) -> None:
    """Write lines as they are; the head stays."""
    (run / "journal.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


def unchained(line: bytes) -> bytes:
    """Return a line without its hash."""
    return _CHAIN.sub(b"}", line)


def rechain(run: Path, lines: Iterable[bytes]) -> None:
    """Write lines with a new hash chain and a new head."""
    bodies = [unchained(line) for line in lines]
    content, chain = chained_lines(bodies)
    (run / "journal.jsonl").write_bytes(content)
    (run / HEAD).write_bytes(head_bytes(len(bodies), chain))


def rewrite_journal(run: Path, change: Callable[[list[Event]], list[Event]]) -> None:
    """Change the events of a run's journal, with a new hash chain and a new head."""
    events = change([json.loads(unchained(line)) for line in lines_of(run)])
    rechain(run, [json.dumps(event, ensure_ascii=False).encode() for event in events])


def last_line(run: Path, name: str) -> int:
    """Return the index of the newest line whose event has this name."""
    return [number for number, line in enumerate(lines_of(run)) if json.loads(line)["event"] == name][-1]
