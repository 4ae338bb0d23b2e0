"""Watch a running chunk: sample devices, end extra launchers, read heartbeats, detect hangs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.launch.devices.monitor import Cadence, DeviceMonitor
from tinyworlds_gate.launch.hang import who_hangs
from tinyworlds_gate.launch.log_progress import TAIL_BYTES, LogProgress
from tinyworlds_gate.launch.processes.end import EndedProcess
from tinyworlds_gate.launch.processes.find import find_stage_processes
from tinyworlds_gate.launch.processes.guard import LauncherGuard
from tinyworlds_gate.launch.processes.python_stack import Stack
from tinyworlds_gate.launch.processes.rank_state import sample_ranks
from tinyworlds_gate.launch.processes.stacks import dumped_stack, is_held, request_stacks, states_text
from tinyworlds_gate.launch.processes.tree import LaunchTree
from tinyworlds_gate.launch.rank_errors import ERROR_FILE_OF_RANK
from tinyworlds_gate.run.heartbeat import Beat, HeartbeatReader
from tinyworlds_gate.run.identity import ProcessIdentity, host_name, identify
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.log_lines import newest_update

Progress = Callable[[int, float], None]

YOUNG_S = 5.0
YOUNG_POLL_S = 0.1
"""Poll often at first: the cgroup of a process must be known before the OOM killer ends it."""
DENSE_POLL_S = 0.2
SETTLED_POLL_S = 0.5
_STACK_WAIT_S = 2.0
_QUIET_S = 0.25
_QUIET_STEPS = 10.0
"""So many times a usual step's time without one is a hang, not slowness."""
SILENT_GPU_FACTOR = 4.0
"""With a silent log, GPU work delays the hang verdict to this many stall times: a hanging collective is busy too."""


@dataclass(frozen=True)
class ChunkSettings:
    """Launch and watchdog settings, the same for every chunk of a run. Times in seconds, utilisation in percent."""

    nproc: int
    """Worker processes of the launcher on this machine."""
    monitor_interval_s: float
    gpu_util_threshold: float
    gpu_required_samples: int
    cleanup_extra: bool
    deadline_s: float
    stall_s: float
    rendezvous: Rendezvous | None = None
    """The rendezvous of all nodes' launchers; None on one machine."""

    @property
    def node(self) -> int:
        """The node rank of this machine."""
        return 0 if self.rendezvous is None else self.rendezvous.node_rank


@dataclass
class ChunkWatch:
    """State of one watched chunk; ``poll`` is called several times a second."""

    target: Target
    settings: ChunkSettings
    monitor: DeviceMonitor
    heartbeats: Path
    token: str
    launcher: Callable[[], ProcessIdentity | None]
    log_path: Path
    progress: Progress | None = None
    beats: list[Beat] = field(default_factory=list)
    tree: set[int] = field(default_factory=set)
    ranks_by_pid: dict[int, int] = field(default_factory=dict)
    error_files: dict[int, Path] = field(default_factory=dict)
    """Rank → the file to which torchrun's ``record`` writes its exception."""
    aborted: list[EndedProcess] = field(default_factory=list)
    step: int = -1
    updates: int = 0
    """``n_updates`` of the chunk: the total of its progress bar in the log (for a stage without heartbeats)."""
    start: int = 0
    """First update of the chunk: a progress bar may count from there."""

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
            rendezvous=self.settings.rendezvous,
        )
        self._tree = LaunchTree()
        self._identities: dict[int, ProcessIdentity] = {}
        self._moved_s = 0.0
        self._log_moved_s = 0.0
        self._log = LogProgress(self.log_path, strict=self.target.can.heartbeats)
        self._first: tuple[int, float] | None = None
        self._newest: tuple[int, float] | None = None

    @property
    def extra(self) -> dict[ProcessIdentity, EndedProcess]:
        """Other training processes of this project found before, during or after the chunk, with their outcomes."""
        return self._guard.extra

    @property
    def updates_per_s(self) -> float | None:
        """Updates a second between the first and the newest step that was seen; None with fewer than two."""
        if self._first is None or self._newest is None or self._newest[1] <= self._first[1]:
            return None
        return (self._newest[0] - self._first[0]) / (self._newest[1] - self._first[1])

    def _note_step(self, step: int, elapsed_s: float) -> None:
        self.step = step
        self._first, self._newest = self._first or (step, elapsed_s), (step, elapsed_s)
        if self.progress is not None:
            self.progress(step, elapsed_s)

    @property
    def poll_s(self) -> float:
        """Seconds between two polls: short right after the launch and while devices are sampled densely.

        The end of the child interrupts the wait.
        """
        longest = min(SETTLED_POLL_S, self.settings.monitor_interval_s, self.settings.stall_s, self.settings.deadline_s)
        if time.monotonic() - self._began < YOUNG_S:
            return min(YOUNG_POLL_S, longest)
        return min(DENSE_POLL_S, longest) if self._cadence.dense else longest

    def begin(self) -> None:
        """Before the launcher starts: end all other training of this project (L2)."""
        self._guard.check()

    def poll(self, elapsed_s: float) -> str | None:
        """Poll once; return the reason to end the chunk, or None. ``elapsed_s``: see ``watchdog_clock.py``."""
        self._read_heartbeats(elapsed_s)
        if self._cadence.due():
            self._cadence.observe(self.monitor.take(self._read_tree()))
        self._guard.check_if_due()
        reason = self._out_of_time(elapsed_s)
        if reason is None:
            return None
        workers = self._workers()
        reason += states_text({pid: self._rank_of(pid) for pid in (one.pid for one in workers)})
        asked = self._stalled(elapsed_s) and not any(is_held(one.pid) for one in workers)
        states = sample_ranks(self._processes_by_rank(), self._gpu_busy_by_rank()) if asked else []
        if self.target.can.stack_dumps:
            unread = {state.pid for state in states if state.alive and not state.stack}
            dumped = self._dump_stacks(workers, apart=unread)
            states = [replace(state, stack=state.stack or dumped.get(state.pid)) for state in states]
        found = who_hangs(states, all_ranks=self.settings.rendezvous is None)
        return reason if found is None else f"{reason}; {found}"

    def finish(self) -> None:
        """After the launcher ended: read the remaining heartbeats and check for other training once more."""
        self._read_heartbeats(None)
        self._guard.check()

    def _read_tree(self) -> list[int]:
        launcher = self.launcher()
        alive = launcher is not None and launcher.is_alive()
        pids = sorted({launcher.pid, *self._tree.below(launcher.pid)}) if launcher is not None and alive else []
        for pid in pids:
            if pid not in self.ranks_by_pid:
                self._note_rank(pid)
        self.tree.update(pids)
        return pids

    def _note_rank(self, pid: int) -> None:
        """Record the rank from torchrun's environment variables, for workers without heartbeats."""
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            environ, launcher = process.environ(), self.launcher()
            rank = environ.get("RANK") or environ.get("LOCAL_RANK", "")
            if rank.isdigit() and launcher is not None and process.ppid() == launcher.pid:
                self.ranks_by_pid[pid] = int(rank)
                if (identity := identify(pid)) is not None:
                    self._identities[int(rank)] = identity
                if path := environ.get(ERROR_FILE_OF_RANK):
                    self.error_files[int(rank)] = Path(path)

    def _read_heartbeats(self, elapsed_s: float | None) -> None:
        fresh = [beat for beat in self._reader.poll() if beat.monotonic >= self._began and beat.host == host_name()]
        self.beats.extend(fresh)
        newest = max((beat.step for beat in fresh), default=-1)
        if newest <= self.step:
            return
        if self.step < 0:
            self._cadence.first_step_seen()
        if elapsed_s is None:
            self.step = newest
            return
        self._moved_s = elapsed_s
        self._note_step(newest, elapsed_s)

    def _out_of_time(self, elapsed_s: float) -> str | None:
        if elapsed_s >= self.settings.deadline_s:
            quiet = f", and made no step for {elapsed_s - self._moved_s:.0f} s" if self._stalled(elapsed_s) else ""
            return f"it ran longer than its deadline of {self.settings.deadline_s:g} s{quiet}"
        if not self.beats:
            self._follow_log(elapsed_s)
        if elapsed_s - self._moved_s < self.settings.stall_s:
            return None
        where = f"after step {self.step}" if self.step >= 0 else "and never finished a first one"
        repeated = f'its log only repeated "{self._log.repeated}"' if self._log.repeated else None
        if self.target.can.heartbeats:
            shown = f" ({repeated})" if repeated and not self.beats else ""
            return f"it made no step for {self.settings.stall_s:g} s {where}{shown}"
        silent_s = elapsed_s - self._log_moved_s
        what = repeated or "its log did not grow"
        return f"{what} for {silent_s:.0f} s, and its GPUs showed no work that counts ({where})"

    def _stalled(self, elapsed_s: float) -> bool:
        """Whether the time without a step is no longer explained by the pace so far."""
        quiet_s, rate = elapsed_s - self._moved_s, self.updates_per_s
        usual_s = 1.0 / rate if rate else 0.0
        return quiet_s >= min(self.settings.stall_s, max(_QUIET_STEPS * usual_s, self.settings.stall_s / 4))

    def _processes_by_rank(self) -> dict[int, ProcessIdentity]:
        return self._identities | {beat.rank: ProcessIdentity(beat.pid, beat.create_time) for beat in self.beats}

    def _gpu_busy_by_rank(self) -> dict[int, bool | None]:
        """Whether the newest sample shows work of each rank on the GPU that its heartbeats name.

        Where NVML does not show our processes (a container), all work on that GPU counts.
        """
        if not self.monitor.samples:
            return {}
        gpus = {gpu.uuid: gpu for gpu in self.monitor.samples[-1].gpus}
        ours = any(pid in self.tree for gpu in gpus.values() for pid in gpu.processes or ())
        busy: dict[int, bool | None] = {}
        for beat in self.beats:
            gpu = gpus.get(beat.device)
            percent = None if gpu is None else (gpu.activity or {}).get(beat.pid, 0.0) if ours else gpu.util_pct
            busy[beat.rank] = None if percent is None else percent >= self.settings.gpu_util_threshold
        return busy

    def _follow_log(self, elapsed_s: float) -> None:
        """Without heartbeats, count new lines of the log as progress and, for a limited time, GPU work."""
        if self._log.moved():
            self._moved_s = self._log_moved_s = elapsed_s
            if not self.target.can.heartbeats:
                self._read_progress(elapsed_s)
        elif self.target.can.heartbeats:
            return
        elif self._gpu_works() and elapsed_s - self._log_moved_s < SILENT_GPU_FACTOR * self.settings.stall_s:
            self._moved_s = elapsed_s

    def _read_progress(self, elapsed_s: float) -> None:
        with suppress(OSError), open(self.log_path, "rb") as log:
            log.seek(max(0, self._log.size - TAIL_BYTES))
            text = log.read().decode("utf-8", errors="replace")
            newest = newest_update(text, self.target.patterns, self.updates, self.start)
            if newest is not None and newest > self.step:
                self._note_step(newest, elapsed_s)

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

    def _workers(self) -> list[ProcessIdentity]:
        """Return the live workers: by their heartbeats, or by their stage script before the first heartbeat."""
        found = {ProcessIdentity(beat.pid, beat.create_time): None for beat in self.beats}
        tree = self._guard.live_tree()
        for one in find_stage_processes(self.target):
            if one.pid in tree and not one.launcher:
                found.setdefault(one.identity)
        return [identity for identity in found if identity.is_alive()]

    def _rank_of(self, pid: int) -> int | None:
        return next((beat.rank for beat in reversed(self.beats) if beat.pid == pid), self.ranks_by_pid.get(pid))

    def _dump_stacks(self, workers: list[ProcessIdentity], apart: Collection[int]) -> dict[int, Stack]:
        """Have the workers print their stacks into the log; those that announced ``dumps_stack`` survive it.

        The workers ``apart`` (PIDs), whose memory cannot be read, print one after the other. Returns their stacks.
        """
        on_signal = {ProcessIdentity(beat.pid, beat.create_time) for beat in self.beats if beat.dumps_stack}
        alone = [one for one in workers if one.pid in apart and one in on_signal]
        stacks: dict[int, Stack] = {}
        for one in alone:
            self._log.grew()
            before = self._log.size
            if request_stacks(one, on_signal=True, aborted=self.aborted):
                self._wait_for_quiet_log()
                stacks[one.pid] = dumped_stack(self._log.text_from(before))
        others = [one for one in workers if one not in alone]
        requested = [request_stacks(one, on_signal=one in on_signal, aborted=self.aborted) for one in others]
        if any(requested):
            self._wait_for_quiet_log()
        return stacks

    def _wait_for_quiet_log(self) -> None:
        """Wait until the stacks are written, and no longer: a stopped worker was resumed and trains meanwhile."""
        deadline = time.monotonic() + _STACK_WAIT_S
        grew = False
        while time.monotonic() < deadline:
            time.sleep(_QUIET_S)
            if self._log.grew():
                grew = True
            elif grew:
                return
