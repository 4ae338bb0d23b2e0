"""What the harness looks at while a chunk runs: devices, extra launchers, heartbeats, the watchdog."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.launch.devices.monitor import Cadence, DeviceMonitor
from tinyworlds_gate.launch.processes.end import EndedProcess
from tinyworlds_gate.launch.processes.find import find_stage_processes
from tinyworlds_gate.launch.processes.guard import LauncherGuard
from tinyworlds_gate.launch.processes.stacks import ask_for_stacks, states_text
from tinyworlds_gate.launch.processes.tree import LaunchTree
from tinyworlds_gate.run.heartbeat import Beat, HeartbeatReader
from tinyworlds_gate.run.identity import ProcessIdentity, host_name
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.log_lines import newest_update

Progress = Callable[[int, float], None]

YOUNG_S = 5.0
YOUNG_POLL_S = 0.1
"""A process that is killed for its memory right after its start must have been seen in its cgroup before."""
DENSE_POLL_S = 0.2
SETTLED_POLL_S = 0.5
_STACK_WAIT_S = 2.0
_QUIET_S = 0.1
_LOG_TAIL_BYTES = 65536
SILENT_GPU_FACTOR = 4.0
"""A GPU that works keeps a silent log alive for so many stall times: a collective that hangs keeps its GPU busy too."""


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
    launcher: Callable[[], ProcessIdentity | None]
    log_path: Path
    progress: Progress | None = None
    rendezvous: Rendezvous | None = None
    beats: list[Beat] = field(default_factory=list)
    tree: set[int] = field(default_factory=set)
    ranks_by_pid: dict[int, int] = field(default_factory=dict)
    aborted: list[EndedProcess] = field(default_factory=list)
    step: int = -1
    updates: int = 0
    """``n_updates`` of the chunk, by which a progress bar in the log is known (a stage without heartbeats)."""

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._reader = HeartbeatReader(self.heartbeats)
        self._cadence = Cadence(self.settings.monitor_interval_s)
        self._guard = LauncherGuard(
            self.target,
            self.token,
            self.launcher,
            self.settings.monitor_interval_s,
            self.settings.cleanup_extra,
            rendezvous=self.rendezvous,
        )
        self._tree = LaunchTree()
        self._moved_s = 0.0
        self._log_moved_s = 0.0
        self._log_size = -1

    @property
    def extra(self) -> dict[ProcessIdentity, EndedProcess]:
        """Other training of this project that was met before, during or after the chunk, and what became of it."""
        return self._guard.extra

    @property
    def poll_s(self) -> float:
        """Seconds between two polls: short while the launch is young or the devices are looked at closely.

        The child's end wakes at once.
        """
        longest = min(SETTLED_POLL_S, self.settings.monitor_interval_s, self.settings.stall_s, self.settings.deadline_s)
        if time.monotonic() - self._began < YOUNG_S:
            return min(YOUNG_POLL_S, longest)
        return min(DENSE_POLL_S, longest) if self._cadence.dense else longest

    def begin(self) -> None:
        """Before the launcher starts: whoever trains this project now is ended (L2)."""
        self._guard.look()

    def poll(self, awake_s: float) -> str | None:
        """Look once, ``awake_s`` after the start (``awake.py``); returns the reason to end the chunk, or None."""
        self._read_heartbeats(awake_s)
        if self._cadence.due():
            self._cadence.noticed(self.monitor.take(self._look_at_tree()))
        self._guard.look_if_due()
        reason = self._out_of_time(awake_s)
        if reason is None:
            return None
        workers = self._workers()
        reason += states_text({pid: self._rank_of(pid) for pid in (one.pid for one in workers)})
        if self.target.can.stack_dumps:
            self._dump_stacks(workers)
        return reason

    def finish(self) -> None:
        """After the launcher ended: read what came after the last poll, and look for other training once more."""
        self._read_heartbeats(None)
        self._guard.look()

    def _look_at_tree(self) -> list[int]:
        launcher = self.launcher()
        alive = launcher is not None and launcher.is_alive()
        pids = sorted({launcher.pid, *self._tree.below(launcher.pid)}) if launcher is not None and alive else []
        for pid in pids:
            if pid not in self.ranks_by_pid:
                self._note_rank(pid)
        self.tree.update(pids)
        return pids

    def _note_rank(self, pid: int) -> None:
        """A worker that writes no heartbeats is still known by the rank that torchrun gave it."""
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            environ, launcher = process.environ(), self.launcher()
            rank = environ.get("RANK") or environ.get("LOCAL_RANK", "")
            if rank.isdigit() and launcher is not None and process.ppid() == launcher.pid:
                self.ranks_by_pid[pid] = int(rank)

    def _read_heartbeats(self, awake_s: float | None) -> None:
        fresh = [beat for beat in self._reader.poll() if beat.monotonic >= self._began and beat.host == host_name()]
        self.beats.extend(fresh)
        newest = max((beat.step for beat in fresh), default=-1)
        if newest <= self.step:
            return
        if self.step < 0:
            self._cadence.first_step_seen()
        self.step = newest
        if awake_s is None:
            return
        self._moved_s = awake_s
        if self.progress is not None:
            self.progress(newest, awake_s)

    def _out_of_time(self, awake_s: float) -> str | None:
        if awake_s >= self.settings.deadline_s:
            return f"it ran longer than its deadline of {self.settings.deadline_s:g} s"
        if not self.beats:
            self._follow_log(awake_s)
        if awake_s - self._moved_s < self.settings.stall_s:
            return None
        where = f"after step {self.step}" if self.step >= 0 else "and never finished a first one"
        if self.target.can.heartbeats:
            return f"it made no step for {self.settings.stall_s:g} s {where}"
        silent_s = awake_s - self._log_moved_s
        return f"its log did not grow for {silent_s:.0f} s, and its GPUs showed no work that counts ({where})"

    def _follow_log(self, awake_s: float) -> None:
        """A stage without heartbeats lives as long as its log grows or, for a while, its GPUs work."""
        if self._log_grew():
            self._moved_s = self._log_moved_s = awake_s
            if not self.target.can.heartbeats:
                self._read_progress(awake_s)
        elif self.target.can.heartbeats:
            return
        elif self._gpu_works() and awake_s - self._log_moved_s < SILENT_GPU_FACTOR * self.settings.stall_s:
            self._moved_s = awake_s

    def _read_progress(self, awake_s: float) -> None:
        with suppress(OSError), open(self.log_path, "rb") as log:
            log.seek(max(0, self._log_size - _LOG_TAIL_BYTES))
            text = log.read().decode("utf-8", errors="replace")
            newest = newest_update(text, self.target.patterns, self.updates)
            if newest is not None and newest > self.step:
                self.step = newest
                if self.progress is not None:
                    self.progress(newest, awake_s)

    def _gpu_works(self) -> bool:
        """Whether the newest sample shows GPU work of this launch's own processes."""
        if not self.monitor.samples:
            return False
        threshold = self.settings.gpu_util_threshold
        return any(
            percent >= threshold and pid in self.tree
            for gpu in self.monitor.samples[-1].gpus
            for pid, percent in (gpu.activity or {}).items()
        )

    def _log_grew(self) -> bool:
        """A stage that writes no heartbeats (a TinyWorlds checkout) lives as long as its log grows."""
        with suppress(OSError):
            size, before = os.stat(self.log_path).st_size, self._log_size
            self._log_size = size
            return size != before
        return False

    def _workers(self) -> list[ProcessIdentity]:
        """The launch's processes that train: by their heartbeats, and by what they run (before a first heartbeat)."""
        said = {ProcessIdentity(beat.pid, beat.create_time): None for beat in self.beats}
        tree = self._guard.live_tree()
        for one in find_stage_processes(self.target):
            if one.pid in tree and not one.launcher:
                said.setdefault(one.identity)
        return [identity for identity in said if identity.is_alive()]

    def _rank_of(self, pid: int) -> int | None:
        said = next((beat.rank for beat in reversed(self.beats) if beat.pid == pid), None)
        return self.ranks_by_pid.get(pid) if said is None else said

    def _dump_stacks(self, workers: list[ProcessIdentity]) -> None:
        """Let the workers print their stacks into the log; those that said they can do it go on living."""
        can = {ProcessIdentity(beat.pid, beat.create_time) for beat in self.beats if beat.dumps_stack}
        asked = [
            identity
            for identity in workers
            if ask_for_stacks(identity, on_signal=identity in can, aborted=self.aborted)
        ]
        if asked:
            self._wait_for_quiet_log()

    def _wait_for_quiet_log(self) -> None:
        """Until the stacks are written; no longer, since a worker that was stopped runs again meanwhile."""
        deadline = time.monotonic() + _STACK_WAIT_S
        grew = False
        while time.monotonic() < deadline:
            time.sleep(_QUIET_S)
            if self._log_grew():
                grew = True
            elif grew:
                return
