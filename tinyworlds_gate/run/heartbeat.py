"""Heartbeats of a training worker: process, device, step and CPU time.

A worker of the reference writes them where the environment variable ``TINYWORLDS_GATE_HEARTBEATS`` names a folder;
the harness reads them as evidence that all workers advanced at the same time (L3, H6) and to notice a hang.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO

from tinyworlds_gate.run.identity import host_name, own_identity
from tinyworlds_gate.run.owned import append_text_to

ENVIRONMENT_VARIABLE = "TINYWORLDS_GATE_HEARTBEATS"
DENSE_INTERVAL_S = 0.2
DENSE_SECONDS = 10.0
INTERVAL_S = 1.0
STACK_SIGNAL = signal.SIGUSR1


@dataclass(frozen=True)
class Beat:
    """One heartbeat. ``step`` is the 0-based update just done (-1 before the first), ``updates`` how many this
    worker has done so far.

    ``create_time`` is ``run.identity.process_start``; ``monotonic`` is the machine's monotonic clock, which the
    harness shares and a stepped wall clock does not move; ``dumps_stack`` says that SIGUSR1 prints the stacks.
    """

    rank: int
    pid: int
    create_time: float
    host: str
    device: str
    step: int
    updates: int
    time: float
    monotonic: float
    cpu_s: float
    dumps_stack: bool


class Heartbeat:
    """Writes the heartbeats of one worker; a context manager around its training loop.

    ``device`` is a GPU's UUID (``gpu_uuid``) or ``"cpu"``. After that of the first update, beats are at least 0.2 s
    apart in the first 10 s, then 1 s.
    SIGUSR1 makes the worker print the stacks of all its threads to stderr.
    """

    def __init__(self, folder: Path, rank: int, device: str = "cpu") -> None:
        self.rank = rank
        self.device = device
        self._identity = own_identity()
        self._host = host_name()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = append_text_to(folder / f"rank_{rank}_{self._identity.pid}.jsonl")
        self._began = time.monotonic()
        self._last = self._began
        self._unwritten: int | None = None
        self._newest = -1
        self._updates = 0
        self._dumps_stack = _dump_stack_on_signal()
        self._write(-1)

    @staticmethod
    def from_environment(
        rank: int, device: str = "cpu", environment: Mapping[str, str] | None = None
    ) -> Heartbeat | None:
        """The writer that the environment requests; None without a request (a stage started by hand)."""
        folder = (os.environ if environment is None else environment).get(ENVIRONMENT_VARIABLE)
        return Heartbeat(Path(folder), rank, device) if folder else None

    def beat(self, step: int, *, force: bool = False) -> bool:
        """Record that update ``step`` is done; returns whether it was written (the rate is limited)."""
        if step > self._newest:
            self._newest = step
            self._updates += 1
        now = time.monotonic()
        interval_s = DENSE_INTERVAL_S if now - self._began < DENSE_SECONDS else INTERVAL_S
        if not force and self._updates > 1 and now - self._last < interval_s:
            self._unwritten = step
            return False
        self._write(step)
        return True

    def close(self) -> None:
        """Write the last step that the rate limit skipped, then close."""
        if self._unwritten is not None:
            self._write(self._unwritten)
        self._file.close()

    def __enter__(self) -> Heartbeat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, step: int) -> None:
        self._last = time.monotonic()
        self._unwritten = None
        beat = Beat(
            rank=self.rank,
            pid=self._identity.pid,
            create_time=self._identity.start,
            host=self._host,
            device=self.device,
            step=step,
            updates=self._updates,
            time=time.time(),
            monotonic=self._last,
            cpu_s=time.process_time(),
            dumps_stack=self._dumps_stack,
        )
        self._file.write(json.dumps(asdict(beat)) + "\n")
        self._file.flush()


class HeartbeatReader:
    """Reads a folder of heartbeats incrementally; a line that is still being written is read in the next call."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._offsets: dict[str, int] = {}

    def poll(self) -> list[Beat]:
        """Return the beats since the last call, each worker's in order; damaged lines are left out."""
        beats: list[Beat] = []
        for path in sorted(self._folder.glob("rank_*.jsonl")):
            offset = self._offsets.get(path.name, 0)
            with open(path, "rb") as file:
                file.seek(offset)
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._offsets[path.name] = offset + len(whole)
            beats.extend(beat for line in whole.splitlines() if (beat := _parse(line)) is not None)
        return beats


def gpu_uuid(index: int) -> str:
    """The UUID of a CUDA device of this process, written as NVML writes it (``GPU-…``)."""
    import torch

    uuid = str(torch.cuda.get_device_properties(index).uuid)
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def _dump_stack_on_signal() -> bool:
    """Print all stacks to stderr on SIGUSR1; False where stderr is no real file (then the signal would kill)."""
    try:
        faulthandler.register(STACK_SIGNAL, file=sys.__stderr__ or sys.stderr, all_threads=True)
    except (AttributeError, OSError, ValueError, RuntimeError):
        return False
    return True


def _parse(line: bytes) -> Beat | None:
    try:
        record = json.loads(line)
        return Beat(**{field.name: record[field.name] for field in fields(Beat)})
    except (ValueError, KeyError, TypeError):
        return None
