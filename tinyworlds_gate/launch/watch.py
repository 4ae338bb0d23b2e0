"""What the harness looks at while a chunk runs: devices, extra launchers, heartbeats, the watchdog."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tinyworlds_gate.launch.devices import Cadence, DeviceMonitor
from tinyworlds_gate.launch.ending import EndedProcess, end_processes, left_alone, send
from tinyworlds_gate.launch.processes import StageProcess, carries_launch, find_stage_processes
from tinyworlds_gate.run.heartbeat import STACK_SIGNAL, Beat, HeartbeatReader
from tinyworlds_gate.run.identity import ProcessIdentity, host_name
from tinyworlds_gate.targets.base import Target

Progress = Callable[[int, float], None]

_STACK_WAIT_S = 1.0
_EXTRA_GRACE_S = 1.0
_GUARD_INTERVAL_S = 2.0


@dataclass(frozen=True)
class WatchSettings:
    """The knobs of the guard, in the words of the options (closed-loop.md); seconds and percent."""

    monitor_interval_s: float
    gpu_util_threshold: float
    gpu_required_samples: int
    cleanup_extra: bool
    deadline_s: float
    stall_s: float


@dataclass
class ChunkWatch:
    """The state of one chunk's guard; ``poll`` is called several times a second."""

    target: Target
    settings: WatchSettings
    monitor: DeviceMonitor
    heartbeats: Path
    token: str
    launcher: Callable[[], int]
    log_path: Path
    progress: Progress | None = None
    beats: list[Beat] = field(default_factory=list)
    extra: dict[ProcessIdentity, EndedProcess] = field(default_factory=dict)
    tree: set[int] = field(default_factory=set)
    ranks_by_pid: dict[int, int] = field(default_factory=dict)
    step: int = -1

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._reader = HeartbeatReader(self.heartbeats)
        self._cadence = Cadence(self.settings.monitor_interval_s)
        self._moved = self._began
        self._log_size = -1
        self._next_guard = 0.0

    def poll(self, wall_s: float) -> str | None:
        """Look once; returns the reason to end the chunk, or None."""
        self._read_heartbeats(wall_s)
        if self._cadence.due():
            self._cadence.noticed(self.monitor.take(self._look_at_tree()))
        if time.monotonic() >= self._next_guard:
            self._next_guard = time.monotonic() + min(_GUARD_INTERVAL_S, self.settings.monitor_interval_s)
            self.end_extra_launchers()
        reason = self._out_of_time(wall_s)
        if reason is not None:
            self._dump_stacks()
        return reason

    def finish(self) -> None:
        """Read what came after the last poll, and look for extra launchers once more."""
        self._read_heartbeats(None)
        self.end_extra_launchers()

    def end_extra_launchers(self) -> None:
        """L2: end stage processes of this project that are not of this launch (or only record them)."""
        running = find_stage_processes(self.target)
        ours = self._live_tree()  # looked at after the search, so that a worker born meanwhile counts as ours
        found = [one for one in running if one.identity not in self.extra and not self._is_ours(one, ours)]
        if not self.settings.cleanup_extra:
            self.extra.update((one.identity, left_alone(one)) for one in found)
        elif found:
            records = end_processes(found, grace_s=min(_EXTRA_GRACE_S, self.settings.monitor_interval_s))
            by_pid = {one.pid: one.identity for one in found}
            for record in records:
                self.extra[by_pid.get(record.pid, ProcessIdentity(record.pid, -1.0))] = record

    def _is_ours(self, found: StageProcess, tree: set[int]) -> bool:
        return found.pid in tree or carries_launch(found.pid, self.token) or not found.identity.is_alive()

    def _live_tree(self) -> set[int]:
        launcher = self.launcher()
        with suppress(psutil.Error):
            return {launcher, *(child.pid for child in psutil.Process(launcher).children(recursive=True))}
        return {launcher}

    def _look_at_tree(self) -> list[int]:
        pids = sorted(self._live_tree())
        for pid in pids:
            if pid not in self.ranks_by_pid:
                self._note_rank(pid)
        self.tree.update(pids)
        return pids

    def _note_rank(self, pid: int) -> None:
        """A worker that writes no heartbeats is still known by the rank that torchrun gave it."""
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            rank = process.environ().get("LOCAL_RANK", "")
            if rank.isdigit() and process.ppid() == self.launcher():
                self.ranks_by_pid[pid] = int(rank)

    def _read_heartbeats(self, wall_s: float | None) -> None:
        fresh = [beat for beat in self._reader.poll() if beat.monotonic >= self._began and beat.host == host_name()]
        self.beats.extend(fresh)
        newest = max((beat.step for beat in fresh), default=-1)
        if newest <= self.step:
            return
        if self.step < 0:
            self._cadence.first_step_seen()
        self.step = newest
        self._moved = time.monotonic()
        if self.progress is not None and wall_s is not None:
            self.progress(newest, wall_s)

    def _out_of_time(self, wall_s: float) -> str | None:
        if wall_s >= self.settings.deadline_s:
            return f"it ran longer than its deadline of {self.settings.deadline_s:g} s"
        if not self.beats:
            self._count_log_growth()
        if time.monotonic() - self._moved < self.settings.stall_s:
            return None
        where = f"after step {self.step}" if self.step >= 0 else "and never finished a first one"
        return f"it made no step for {self.settings.stall_s:g} s {where}"

    def _count_log_growth(self) -> None:
        """A stage that writes no heartbeats (a TinyWorlds checkout) lives as long as its log grows."""
        with suppress(OSError):
            size = os.stat(self.log_path).st_size
            if size != self._log_size:
                self._log_size = size
                self._moved = time.monotonic()

    def _dump_stacks(self) -> None:
        """Ask the workers that said they can for their stacks (into the log)."""
        asked = {ProcessIdentity(beat.pid, beat.create_time) for beat in self.beats if beat.dumps_stack}
        sent = False
        for identity in asked:
            with suppress(PermissionError):
                sent = send(identity, STACK_SIGNAL) or sent
        if sent:
            time.sleep(_STACK_WAIT_S)
