"""Follow the growing files of one chunk: heartbeats, losses, device samples, checkpoints and pictures."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyworlds_gate.run.plain_json import load_json
from tinyworlds_gate.watch.curve import Curve
from tinyworlds_gate.watch.facts import Arrivals, DeviceReading, GpuReading, Losses, WorkerBeat
from tinyworlds_gate.watch.tail import Tail

HISTORY_BYTES = 4 * 2**20
"""Of a longer history only this many bytes are read, about 40,000 updates."""
BEAT_KINDS = dict(rank=int, pid=int, device=str, step=int, time=float, monotonic=float, cpu_s=float)
BEATS_BYTES = 64 * 2**10
SAMPLES_BYTES = 256 * 2**10
MAX_BEATS = 300
MAX_ARRIVALS = 12
RELIST_S = 2.0
"""A folder that changed this recently is listed again: two changes can have the same modification time."""


class BeatsFollower:
    """Follows the heartbeats of a chunk's workers; of a long chunk only the newest are read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tails: dict[str, Tail] = {}
        self._beats: dict[int, deque[WorkerBeat]] = {}

    def read(self) -> dict[int, tuple[WorkerBeat, ...]]:
        """Return rank → its newest heartbeats, oldest first; only those of the rank's newest process."""
        for name in sorted(_names(self._folder)):
            if name.startswith("rank_") and name.endswith(".jsonl"):
                tail = self._tails.setdefault(name, Tail(self._folder / name, last_bytes=BEATS_BYTES))
                for line in tail.read().lines:
                    beat = _beat(line)
                    if beat is not None:
                        self._add(beat)
        return {rank: tuple(beats) for rank, beats in sorted(self._beats.items())}

    def _add(self, beat: WorkerBeat) -> None:
        beats = self._beats.setdefault(beat.rank, deque(maxlen=MAX_BEATS))
        if beats and beats[-1].pid != beat.pid:
            if beat.monotonic < beats[-1].monotonic:
                return  # of an earlier process of this rank, in a file whose name sorts later
            beats.clear()
        beats.append(beat)


class LossesFollower:
    """Follows the losses in a stage's history; every chunk replaces the file and repeats the earlier rows."""

    def __init__(self, path: Path) -> None:
        self.chunk_start = 0
        """The first update of the current chunk; rows from there on are its own."""
        self._tail = Tail(path, last_bytes=HISTORY_BYTES)
        self._times: deque[float] = deque(maxlen=MAX_ARRIVALS)
        self._columns: list[str] = []
        self._clear()

    def read(self) -> None:
        """Read the new rows."""
        read = self._tail.read()
        lines = read.lines
        if read.restarted:
            self._clear()
        if not self._columns and (lines or self._tail.first_line):
            header = self._tail.first_line or lines.pop(0)
            self._columns = header.decode("utf-8", "replace").strip().split(",")
        for line in lines:
            self._add_row(line)
        # A new chunk's file begins with the rows of earlier chunks, which are not new.
        is_own = self._step is not None and self._step >= self.chunk_start
        if lines and is_own and self._tail.modified_s is not None:
            self._times.append(self._tail.modified_s)

    @property
    def losses(self) -> Losses:
        """The losses so far."""
        return Losses(self._curve.parts, self._step, self._loss, self._lowest, self._not_finite)

    def arrivals(self, since: float) -> Arrivals:
        """Return the times of new rows since a moment, and the newest row's update."""
        newest = f"update {self._step + 1}" if self._step is not None else None
        last = self._times[-1] if self._times else None
        return Arrivals(newest, last, tuple(moment for moment in self._times if moment >= since))

    def _clear(self) -> None:
        self._columns = []
        self._curve = Curve()
        self._step: int | None = None
        self._loss: float | None = None
        self._lowest: float | None = None
        self._not_finite: int | None = None

    def _add_row(self, line: bytes) -> None:
        row = dict(zip(self._columns, line.decode("utf-8", "replace").rstrip("\r").split(","), strict=False))
        try:
            step, loss = int(row["_step"]), float(row["train/loss"])
        except (KeyError, ValueError):
            return  # an incomplete row
        self._step, self._loss = step, loss
        if not math.isfinite(loss):
            self._not_finite = step
            return
        self._curve.add(step, loss)
        self._lowest = loss if self._lowest is None else min(self._lowest, loss)


class DevicesFollower:
    """Follows the newest device sample of a chunk."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path, last_bytes=SAMPLES_BYTES)
        self._newest: DeviceReading | None = None

    def read(self) -> DeviceReading | None:
        """Return the newest sample; an unreadable one is skipped."""
        lines = self._tail.read().lines
        reading = _device_reading(lines[-1]) if lines else None
        self._newest = reading or self._newest
        return self._newest


class FolderFollower:
    """Follows when entries of a folder appeared; removed ones (old checkpoints) are remembered."""

    def __init__(self, folder: Path, counts: Callable[[str], bool]) -> None:
        self._folder, self._counts = folder, counts
        self._seen: set[tuple[float, str]] = set()
        self._changed: float | None = None

    def arrivals(self, since: float) -> Arrivals:
        """Return the entries that appeared since a moment; the folder is listed only if it has changed."""
        changed = modified_s(self._folder)
        if changed is not None and (changed != self._changed or time.time() - changed < RELIST_S):
            self._changed = changed
            for name in filter(self._counts, _names(self._folder)):
                modified = modified_s(self._folder / name)
                if modified is not None:
                    self._seen.add((modified, name))
        ordered = sorted(self._seen)[-MAX_ARRIVALS:]
        self._seen = set(ordered)
        moment, newest = ordered[-1] if ordered else (None, None)
        return Arrivals(newest, moment, tuple(moment for moment, _ in ordered if moment >= since))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def modified_s(path: Path) -> float | None:
    """Return a file's modification time in Unix seconds; None if it is missing or inaccessible."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def _beat(line: bytes) -> WorkerBeat | None:
    try:
        record = load_json(line)
        return WorkerBeat(**{name: kind(record[name]) for name, kind in BEAT_KINDS.items()})
    except (ValueError, KeyError, TypeError):
        return None


def _device_reading(line: bytes) -> DeviceReading | None:
    try:
        record: dict[str, Any] = load_json(line)
        tree = {str(pid) for pid in record["tree"]}
        gpus = tuple(
            GpuReading(
                uuid=str(gpu["uuid"]),
                util_pct=gpu["util_pct"],
                memory_used_gib=gpu["memory_used_gib"],
                own_processes=None if gpu["processes"] is None else len(tree.intersection(gpu["processes"])),
            )
            for gpu in record["gpus"]
        )
        return DeviceReading(float(record["time"]), gpus)
    except (ValueError, KeyError, TypeError):
        return None
