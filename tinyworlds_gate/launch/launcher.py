"""Runs one chunk of a stage under guard and returns the evidence: ``chunk_finished`` of docs/journal.md."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.cause import NODE_LOST, OK, RUNTIME_ERROR, TIMEOUT, cause_of, read_error_file
from tinyworlds_gate.launch.child import ChildResult, Supervised, run_child
from tinyworlds_gate.launch.chunk_watch import ChunkWatch, Progress, WatchSettings
from tinyworlds_gate.launch.command import ERROR_FILE_VARIABLE, LaunchFiles
from tinyworlds_gate.launch.devices.monitor import DeviceMonitor
from tinyworlds_gate.launch.devices.nvml import Nvml
from tinyworlds_gate.launch.devices.together import Judgement, judge_cpu_workers, judge_dual_gpu
from tinyworlds_gate.launch.failure_text import failure_text
from tinyworlds_gate.launch.processes.end import EndedProcess
from tinyworlds_gate.launch.processes.oom_kills import OomKills
from tinyworlds_gate.run.disk import DISK_FULL, full_disk, telling_full_disk
from tinyworlds_gate.run.heartbeat import ENVIRONMENT_VARIABLE as HEARTBEATS_VARIABLE
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.base import Target

__all__ = ["ChildResult", "ChunkResult", "Worker", "chunk_files", "failure_text", "run_child", "run_chunk"]


@dataclass(frozen=True)
class Worker:
    """One rank as its heartbeats (or the process table) show it; None is "not known"."""

    rank: int
    pid: int
    device: str | None
    steps: int | None
    cpu_s: float | None


@dataclass(frozen=True)
class ChunkResult:
    """The process side of ``chunk_finished``; ``dual_gpu_ok`` None: unknown or does not apply, see the reason."""

    stage: str
    chunk: int
    command: tuple[str, ...]
    exit_code: int | None
    signal: str | None
    cause: str
    wall_s: float
    launcher_pid: int
    workers: tuple[Worker, ...]
    dual_gpu_ok: bool | None
    dual_gpu_reason: str
    device_samples: Path
    peak_gpu_mem_gib: float | None
    extra_launchers: tuple[EndedProcess, ...]
    left_over: tuple[EndedProcess, ...]
    ended: tuple[EndedProcess, ...]
    disk_problem: str | None
    last_step: int | None
    stopped: str | None
    log: Path
    log_tail: tuple[str, ...]
    nodes: tuple[Any, ...] = ()
    """How it ended on the other machines (``nodes.NodeEnd``)."""
    node_problem: str | None = None
    """What went wrong on another machine and decides the cause."""

    @property
    def ok(self) -> bool:
        return self.cause == OK

    def journal_fields(self) -> dict[str, object]:
        """The fields of ``chunk_finished`` that a launch knows (the stage controller adds checkpoint and history)."""
        return {
            "chunk": self.chunk,
            "stage": self.stage,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "cause": self.cause,
            "wall_s": self.wall_s,
            "launcher_pid": self.launcher_pid,
            "workers": [asdict(worker) for worker in self.workers],
            "dual_gpu_ok": self.dual_gpu_ok,
            "dual_gpu_reason": self.dual_gpu_reason,
            "device_samples": self.device_samples,
            "peak_gpu_mem_gib": self.peak_gpu_mem_gib,
            "extra_launchers": [record.as_record() for record in self.extra_launchers],
            "ended": [record.as_record() for record in self.ended],
            "log_tail": None if self.ok else list(self.log_tail),
            **({"nodes": [asdict(node) for node in self.nodes]} if self.nodes else {}),
        }


def chunk_files(layout: RunLayout, chunk: int, node: int = 0) -> LaunchFiles:
    """The files of a chunk's launch on a node, as ``stage_environment`` takes them."""
    return LaunchFiles(layout.root, layout.chunk_heartbeats(chunk, node), layout.chunk_error_file(chunk, node))


@telling_full_disk()
def run_chunk(
    target: Target,
    stage: str,
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    layout: RunLayout,
    chunk: int,
    nproc: int,
    monitor_interval_s: float,
    gpu_util_threshold: float,
    gpu_required_samples: int,
    cleanup_extra: bool,
    deadline_s: float,
    stall_s: float,
    progress: Progress | None = None,
    updates: int = 0,
    rendezvous: Rendezvous | None = None,
    others: Callable[[], str | None] | None = None,
) -> ChunkResult:
    """Run one chunk to its end and return what happened; it never leaves a process behind (L2, L3, H5, H6).

    ``progress`` is called with (newest step, seconds since the start); ``updates`` is the chunk's ``n_updates``, by
    which a progress bar in a log is known. A chunk past ``deadline_s``, or without a step
    for ``stall_s``, prints its workers' stacks and is ended with the cause ``timeout``. With a ``rendezvous`` this is
    the part of one node; a reason from ``others`` ends it with the cause ``node_lost``. Raises ``LaunchError`` when the
    command cannot be started, ``DiskError`` when its evidence cannot be written; KeyboardInterrupt and SIGTERM of the
    harness end the tree and are raised again.
    """
    settings = WatchSettings(
        monitor_interval_s, gpu_util_threshold, gpu_required_samples, cleanup_extra, deadline_s, stall_s
    )
    _check(settings)
    node = 0 if rendezvous is None else rendezvous.node_rank
    log = layout.chunk_log(chunk, stage, node)
    files = chunk_files(layout, chunk, node)
    error_file = layout.chunk_error_file(chunk, node)
    left_by: list[str] = []
    _make_room(files)
    wired = {**env, HEARTBEATS_VARIABLE: str(files.heartbeats), ERROR_FILE_VARIABLE: str(error_file)}
    child = Supervised(command, target.root, wired, log)
    kills = OomKills()
    with Nvml() as nvml, DeviceMonitor(layout.chunk_devices(chunk, node), nvml) as monitor:
        monitor.take_baseline()
        watch = ChunkWatch(
            target=target,
            settings=settings,
            monitor=monitor,
            heartbeats=layout.chunk_heartbeats(chunk, node),
            token=child.token,
            launcher=lambda: child.identity,
            log_path=log,
            progress=progress,
            updates=updates,
            rendezvous=rendezvous,
        )

        def poll(wall_s: float) -> str | None:
            kills.look([child.pid, *watch.tree])
            reason = watch.poll(wall_s)
            if reason is None and others is not None and (reason := others()) is not None:
                left_by.append(reason)
            return reason

        watch.begin()
        ended = child.run(poll, lambda: watch.poll_s)
        watch.finish()
    cause = (
        NODE_LOST
        if left_by
        else TIMEOUT
        if ended.stopped
        else cause_of(
            exit_code=ended.exit_code,
            signal_name=ended.signal,
            log_text=child.log_text(),
            error_file=read_error_file(error_file),
            oom_kills=kills.count(),
        )
    )
    disk = full_disk(child.log_text(), [layout.root, layout.histories]) if cause == RUNTIME_ERROR else None
    dual_gpu_ok, reason = _judge(watch, nproc, first_rank=node * nproc)
    return ChunkResult(
        stage=stage,
        chunk=chunk,
        command=tuple(command),
        exit_code=ended.exit_code,
        signal=ended.signal,
        cause=cause if disk is None else DISK_FULL,
        disk_problem=disk,
        wall_s=ended.wall_s,
        launcher_pid=ended.pid,
        workers=tuple(_workers(watch, nproc)),
        dual_gpu_ok=dual_gpu_ok,
        dual_gpu_reason=reason,
        device_samples=monitor.path,
        peak_gpu_mem_gib=monitor.peak_memory_gib(),
        extra_launchers=tuple(watch.extra.values()),
        left_over=ended.left_over,
        ended=tuple({one.pid: one for one in (*ended.ended, *watch.aborted)}.values()),
        last_step=watch.step if watch.step >= 0 else None,
        stopped=ended.stopped,
        log=log,
        log_tail=ended.log_tail,
    )


def _check(settings: WatchSettings) -> None:
    for name in ("monitor_interval_s", "deadline_s", "stall_s"):
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0):
            raise LaunchError(f"{name}={value}: a positive number of seconds is needed.")
    if settings.gpu_required_samples < 1:
        raise LaunchError(f"gpu_required_samples={settings.gpu_required_samples}: at least 1 sample is needed.")


def _make_room(files: LaunchFiles) -> None:
    """An earlier try of the same chunk (a run that was killed and resumed) must not speak for this one."""
    stamp = time.time_ns()
    for path in (files.heartbeats, files.error_file):
        if path is None:
            continue
        if path.exists():
            path.rename(path.with_name(f"{path.name}.earlier_{stamp}"))
        path.parent.mkdir(parents=True, exist_ok=True)


def _judge(watch: ChunkWatch, nproc: int, first_rank: int) -> Judgement:
    """H6 where GPUs are; elsewhere it does not apply, and the reason carries the evidence for the CPU workers."""
    beats = [replace(beat, rank=beat.rank - first_rank) for beat in watch.beats]  # the ranks of this node, from 0
    problem = watch.monitor.problem
    if watch.monitor.gpus:
        ok, reason = judge_dual_gpu(
            watch.monitor.samples,
            beats,
            watch.tree,
            nproc,
            watch.settings.gpu_util_threshold,
            watch.settings.gpu_required_samples,
        )
        return ok, f"{reason}; NVML failed last with: {problem}" if ok is None and problem else reason
    together, reason = judge_cpu_workers(beats, nproc)
    word = {True: "yes", False: "no", None: "unknown"}[together]
    named = sorted({beat.device for beat in watch.beats if beat.device != "cpu"})
    if named:
        return (
            None,
            f"unknown: {problem}; heartbeats name {', '.join(named)}; workers at the same time: {word}, {reason}",
        )
    return None, f"no GPU ({problem}); CPU workers at the same time: {word}, {reason}"


def _workers(watch: ChunkWatch, nproc: int) -> list[Worker]:
    """Each rank's newest process, from heartbeats first, else from torchrun's environment variables."""
    workers = {beat.rank: Worker(beat.rank, beat.pid, beat.device, beat.updates, beat.cpu_s) for beat in watch.beats}
    launcher = watch.launcher()
    silent = dict(watch.ranks_by_pid) or ({launcher.pid: 0} if nproc == 1 and launcher is not None else {})
    for pid, rank in silent.items():
        if rank not in workers:
            cpu = [sample.cpu_s[pid] for sample in watch.monitor.samples if pid in sample.cpu_s]
            workers[rank] = Worker(rank, pid, None, None, cpu[-1] if cpu else None)
    return [workers[rank] for rank in sorted(workers)]
