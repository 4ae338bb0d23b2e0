"""Liveness and state of the harnesses of a multi-node run, as one small file per node on shared storage.

Each harness rewrites its file every second with a higher count. A node is alive while the others observe that count
change, each by its own clock; clocks of different machines are never compared.
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

from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.identity import host_name
from tinyworlds_gate.run.plain_json import load_json

INTERVAL_S = 1.0
PAUSE_S = 10.0
"""A longer gap between two of our own reads means that this process was paused; it is not counted as silence of other
nodes."""

WAITING, RUNNING, CLOSING, REFUSED, LEFT = "waiting", "running", "closing", "refused", "left"
"""States: no chunk runs; the launcher runs; the launcher ended; the node cannot take part; the harness exited."""


@dataclass(frozen=True)
class NodeStatus:
    """Contents of a node's file. ``session`` identifies one start of its harness; ``message`` is for people."""

    node: int
    host: str
    pid: int
    session: str
    count: int = 0
    state: str = WAITING
    chunk: int = 0
    message: str = ""


@dataclass
class Sighting:
    """The newest status of a node and when it changed (our clock); ``alive``: it has changed since the first read."""

    status: NodeStatus
    changed_at: float
    alive: bool = False


def next_sighting(before: Sighting | None, status: NodeStatus | None, now: float) -> Sighting | None:
    """Return a node's sighting after one more read (pure). A first read may be of a stale file."""
    if status is None:
        return before
    if before is None:
        return Sighting(status, now)
    same = (before.status.session, before.status.count) == (status.session, status.count)
    return Sighting(status, before.changed_at if same else now, before.alive or not same)


@dataclass
class NodeTable:
    """Writes this node's file and reads the others' in a background thread, from ``start`` to ``leave``."""

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
        self._read_at = self.clock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the background thread."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tick()
        self._thread = threading.Thread(target=self._run, name=f"node-{self.node}", daemon=True)
        self._thread.start()

    def set_state(self, state: str, *, chunk: int | None = None, message: str = "") -> None:
        """Change this node's state and write it to the file."""
        with self._lock:
            chunk = self._own.chunk if chunk is None else chunk
            self._own = replace(self._own, state=state, chunk=chunk, message=message)
        self.tick()

    def leave(self, message: str = "") -> None:
        """Set the state ``left`` and stop the thread; further calls do nothing."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        self.set_state(LEFT, message=message)

    def status(self, node: int) -> NodeStatus | None:
        """Return the newest status of a node; None until its file has changed once."""
        with self._lock:
            sighting = self._sightings.get(node)
            return sighting.status if sighting is not None and sighting.alive else None

    def silent_s(self, node: int) -> float:
        """Return the seconds since a node's file last changed; infinite if it never did."""
        with self._lock:
            sighting = self._sightings.get(node)
            return self.clock() - sighting.changed_at if sighting is not None and sighting.alive else float("inf")

    def tick(self) -> None:
        """Write this node's file and read the others'. Errors are ignored; the next tick tries again."""
        with self._lock:
            self._own = replace(self._own, count=self._own.count + 1)
            with suppress(OSError):
                atomic_write(_file_of(self.folder, self.node), json.dumps(asdict(self._own)), durable=False)
            now = self.clock()
            if now - self._read_at > PAUSE_S:
                for sighting in self._sightings.values():
                    sighting.changed_at = now
            self._read_at = now
            for node in range(self.nnodes):
                if node != self.node:
                    newest = next_sighting(self._sightings.get(node), read_status(self.folder, node), now)
                    if newest is not None:
                        self._sightings[node] = newest

    def _run(self) -> None:
        while not self._stop.wait(self.interval_s):
            self.tick()


def read_status(folder: Path, node: int) -> NodeStatus | None:
    """Return a node's status from its file; None if the file is missing or incomplete."""
    try:
        record = load_json(_file_of(folder, node).read_text(encoding="utf-8"))
        return NodeStatus(**{one.name: record[one.name] for one in fields(NodeStatus)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file_of(folder: Path, node: int) -> Path:
    return folder / f"node_{node}.json"
