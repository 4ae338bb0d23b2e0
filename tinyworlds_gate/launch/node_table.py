"""Signs of life of the harnesses of one run, on shared storage: who is there, and what each says it is doing.

Each node has one small file that its harness replaces every second with a higher count. A node lives as long as the
others see that count change by their own clocks, so that clocks of different machines are never compared.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from tinyworlds_gate.run.identity import host_name

INTERVAL_S = 1.0
PAUSE_S = 10.0
"""A longer time between two looks of ours was our own pause (a stopped process): it speaks against nobody."""

WAITING, RUNNING, CLOSING, REFUSED, LEFT = "waiting", "running", "closing", "refused", "left"
"""What a node says: no chunk, its launcher runs, it has ended, it cannot take part, its harness has ended in order."""


@dataclass(frozen=True)
class NodeStatus:
    """What a node's file says. ``session`` is a life of its harness, ``told`` a sentence for a person."""

    node: int
    host: str
    pid: int
    session: str
    count: int = 0
    state: str = WAITING
    chunk: int = 0
    told: str = ""


@dataclass
class Sighting:
    """The newest status of a node, and when (by our clock) it last changed; ``born`` once it has changed in sight."""

    status: NodeStatus
    changed_at: float
    born: bool = False


def seen(before: Sighting | None, status: NodeStatus | None, now: float) -> Sighting | None:
    """A node's sighting after one more look (pure). A first look proves nothing: the file may be an old one."""
    if status is None:
        return before
    if before is None:
        return Sighting(status, now)
    same = (before.status.session, before.status.count) == (status.session, status.count)
    return Sighting(status, before.changed_at if same else now, before.born or not same)


@dataclass
class NodeTable:
    """Writes this node's file and reads the others' in a thread of its own, from ``start`` to ``leave``."""

    folder: Path
    node: int
    nnodes: int
    interval_s: float = INTERVAL_S
    clock: Callable[[], float] = time.monotonic
    session: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self._own = NodeStatus(self.node, host_name(), os.getpid(), self.session)
        self._sightings: dict[int, Sighting] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._looked_at = self.clock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to be seen, and to see."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tick()
        self._thread = threading.Thread(target=self._run, name=f"node-{self.node}", daemon=True)
        self._thread.start()

    def say(self, state: str, *, chunk: int | None = None, told: str = "") -> None:
        """Change what this node says; the file has it when this returns."""
        with self._lock:
            self._own = replace(self._own, state=state, chunk=self._own.chunk if chunk is None else chunk, told=told)
        self.tick()

    def leave(self, told: str = "") -> None:
        """Say that this harness ends, and stop; calling it again does nothing."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        self.say(LEFT, told=told)

    def status(self, node: int) -> NodeStatus | None:
        """The newest status of a node whose file was seen to change; None when it never was."""
        with self._lock:
            sighting = self._sightings.get(node)
            return sighting.status if sighting is not None and sighting.born else None

    def silent_s(self, node: int) -> float:
        """For how long a node has given no sign of life; infinite when it never gave one."""
        with self._lock:
            sighting = self._sightings.get(node)
            return self.clock() - sighting.changed_at if sighting is not None and sighting.born else float("inf")

    def tick(self) -> None:
        """Write once, look once. A file that cannot be written or read now may be so the next time."""
        with self._lock:
            self._own = replace(self._own, count=self._own.count + 1)
            with suppress(OSError):
                replace_file(_file_of(self.folder, self.node), json.dumps(asdict(self._own)))
            now = self.clock()
            if now - self._looked_at > PAUSE_S:
                for sighting in self._sightings.values():
                    sighting.changed_at = now
            self._looked_at = now
            for node in range(self.nnodes):
                if node != self.node:
                    sighted = seen(self._sightings.get(node), read_status(self.folder, node), now)
                    if sighted is not None:
                        self._sightings[node] = sighted

    def _run(self) -> None:
        while not self._stop.wait(self.interval_s):
            self.tick()


def read_status(folder: Path, node: int) -> NodeStatus | None:
    """What a node's file says; None where there is none, or none that is whole."""
    try:
        record = json.loads(_file_of(folder, node).read_text(encoding="utf-8"))
        return NodeStatus(**{one.name: record[one.name] for one in fields(NodeStatus)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file_of(folder: Path, node: int) -> Path:
    return folder / f"node_{node}.json"


def replace_file(path: Path, text: str) -> None:
    """Whole or not at all, for a reader at any moment."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
