"""Run one chunk of a stage, watch it, and return the evidence for ``chunk_finished`` (docs/journal.md)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.cause import NODE_LOST, OK, RUNTIME_ERROR, TIMEOUT, cause_of, read_error_file
from tinyworlds_gate.launch.child import ChildProcess
from tinyworlds_gate.launch.chunk_watch import ChunkSettings, ChunkWatch, Progress
from tinyworlds_gate.launch.command import ERROR_FILE_VARIABLE, LaunchFiles
from tinyworlds_gate.launch.culprit import RanksAtEnd, culprit_of, ranks_at_end
from tinyworlds_gate.launch.devices.concurrency import Judgement, judge_cpu_workers, judge_dual_gpu
from tinyworlds_gate.launch.devices.monitor import DeviceMonitor
from tinyworlds_gate.launch.devices.nvml import Nvml
from tinyworlds_gate.launch.processes.end import EndedProcess
from tinyworlds_gate.launch.processes.oom_kills import OomKills
from tinyworlds_gate.launch.raised import Raised, raised_in
from tinyworlds_gate.launch.rank_errors import errors_of_ranks
from tinyworlds_gate.launch.redacted_log import redact_error_file
from tinyworlds_gate.run.disk import DISK_FULL, full_disk, reporting_full_disk
from tinyworlds_gate.run.heartbeat import ENVIRONMENT_VARIABLE as HEARTBEATS_VARIABLE
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.base import Target


@dataclass(frozen=True)
class Worker:
    """One rank, from its heartbeats or the process table; None means unknown."""

    rank: int
    pid: int
    device: str | None
    steps: int | None
    cpu_s: float | None


@dataclass(frozen=True)
class ChunkResult:
    """Process fields of ``chunk_finished``; ``dual_gpu_ok`` is None if unknown or not applicable, see the reason."""

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
    leftovers: tuple[EndedProcess, ...]
    ended: tuple[EndedProcess, ...]
    disk_problem: str | None
    last_step: int | None
    stopped: str | None
    log: Path
    log_tail: tuple[str, ...]
    nodes: tuple[Any, ...] = ()
    """How the chunk ended on the other machines (``nodes.NodeEnd``)."""
    node_problem: str | None = None
    """The failure on another machine that determines the cause."""
    raised: tuple[Raised, ...] = ()
    """The exceptions in its log."""
    updates_per_s: float | None = None
    """The pace that heartbeats or the log's progress bar showed; None if they showed none."""
    culprit: str | None = None
    """The rank that failed first and what happened to it; None if that is not known or the harness ended the launch."""

    @property
    def ok(self) -> bool:
        return self.cause == OK

    def journal_fields(self) -> dict[str, object]:
        """Return the launch's fields of ``chunk_finished`` (the stage controller adds checkpoint and history)."""
        fields = {name: getattr(self, name) for name in JOURNALLED}
        fields["log_tail"] = None if self.ok else self.log_tail
        return fields | ({"nodes": self.nodes} if self.nodes else {})


JOURNALLED = (
    *("chunk", "stage", "exit_code", "signal", "cause", "wall_s", "launcher_pid", "workers", "dual_gpu_ok"),
    *("dual_gpu_reason", "device_samples", "peak_gpu_mem_gib", "extra_launchers", "ended"),
)


def chunk_files(layout: RunLayout, chunk: int, node: int = 0) -> LaunchFiles:
    """Return the files of a chunk's launch on a node, for ``stage_environment``."""
    return LaunchFiles(layout.root, layout.chunk_heartbeats(chunk, node), layout.chunk_error_file(chunk, node))


@reporting_full_disk()
def run_chunk(
    target: Target,
    layout: RunLayout,
    settings: ChunkSettings,
    *,
    stage: str,
    chunk: int,
    command: Sequence[str],
    env: Mapping[str, str],
    updates: int = 0,
    start: int = 0,
    progress: Progress | None = None,
    others: Callable[[], str | None] | None = None,
) -> ChunkResult:
    """Run one chunk to its end, leave no process behind, and return the result (L2, L3, H5, H6).

    A chunk past ``settings.deadline_s``, or without a step for ``settings.stall_s``, prints its workers' stacks and is
    ended with the cause ``timeout``. With ``settings.rendezvous`` this runs one node's part. KeyboardInterrupt and
    SIGTERM of the harness end the process tree and are raised again.

    Args:
        layout: the run's folder, where the chunk's log, heartbeats and device samples go.
        chunk: the number of the chunk in this run, from 1.
        updates: the chunk's ``n_updates``, by which a progress bar in a log is recognised.
        start: the chunk's first update, from which such a bar may count.
        progress: called with (newest step, seconds since the start).
        others: polled; if it returns a reason, the chunk is ended with the cause ``node_lost``.

    Raises:
        LaunchError: the command cannot be started, or a setting is out of range.
        DiskError: the chunk's evidence cannot be written.
    """
    _check(settings)
    node, nproc = settings.node, settings.nproc
    log = layout.chunk_log(chunk, stage, node)
    files = chunk_files(layout, chunk, node)
    error_file = layout.chunk_error_file(chunk, node)
    node_problems: list[str] = []
    _set_aside(files)
    child_env = {**env, HEARTBEATS_VARIABLE: str(files.heartbeats), ERROR_FILE_VARIABLE: str(error_file)}
    child = ChildProcess(command, target.root, child_env, log)
    kills = OomKills()
    with Nvml() as nvml, DeviceMonitor(layout.chunk_devices(chunk, node), nvml) as monitor:
        monitor.take((), baseline=True)
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
            start=start,
        )

        def poll(elapsed_s: float) -> str | None:
            kills.read([child.pid, *watch.tree])
            reason = watch.poll(elapsed_s)
            if reason is None and others is not None and (reason := others()) is not None:
                node_problems.append(reason)
            return reason

        watch.begin()
        ended = child.run(poll, lambda: watch.poll_s)
        watch.finish()
    redact_error_file(error_file)
    log_text = child.log_text()
    ranks = _ranks(watch, log_text)
    cause = (
        NODE_LOST
        if node_problems
        else TIMEOUT
        if ended.stopped
        else cause_of(
            exit_code=ended.exit_code,
            signal_name=ended.signal,
            log_text=log_text,
            error_file=read_error_file(error_file),
            oom_kills=kills.count(),
            exceptions=ranks.exceptions,
        )
    )
    disk = full_disk(log_text, [layout.root, layout.histories]) if cause == RUNTIME_ERROR else None
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
        leftovers=ended.leftovers,
        ended=tuple({one.pid: one for one in (*ended.ended, *watch.aborted)}.values()),
        last_step=watch.step if watch.step >= 0 else None,
        stopped=ended.stopped,
        log=log,
        log_tail=ended.log_tail,
        raised=raised_in(log_text),
        updates_per_s=watch.updates_per_s,
        culprit=culprit_of(ranks, cause) if ended.exit_code and not ended.stopped else None,
    )


def _ranks(watch: ChunkWatch, log_text: str) -> RanksAtEnd:
    pids = {rank: pid for pid, rank in watch.ranks_by_pid.items()} | {beat.rank: beat.pid for beat in watch.beats}
    return ranks_at_end(log_text, errors_of_ranks(watch.error_files, log_text), pids)


def _check(settings: ChunkSettings) -> None:
    for name in ("monitor_interval_s", "deadline_s", "stall_s"):
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0):
            raise LaunchError(f"{name}={value}: a positive number of seconds is needed.")
    if settings.gpu_required_samples < 1:
        raise LaunchError(f"gpu_required_samples={settings.gpu_required_samples}: at least 1 sample is needed.")


def _set_aside(files: LaunchFiles) -> None:
    """Rename the files of an earlier launch of the same chunk (after a kill and a resume)."""
    stamp = time.time_ns()
    for path in (files.heartbeats, files.error_file):
        if path is None:
            continue
        if path.exists():
            path.rename(path.with_name(f"{path.name}.earlier_{stamp}"))
        path.parent.mkdir(parents=True, exist_ok=True)


def _judge(watch: ChunkWatch, nproc: int, first_rank: int) -> Judgement:
    """Judge H6 on GPUs; without GPUs it does not apply, and the reason contains the evidence for CPU workers."""
    beats = [replace(beat, rank=beat.rank - first_rank) for beat in watch.beats]  # ranks on this node, from 0
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
    answer = {True: "yes", False: "no", None: "unknown"}[together]
    named = sorted({beat.device for beat in watch.beats if beat.device != "cpu"})
    if named:
        return (
            None,
            f"unknown: {problem}; heartbeats name {', '.join(named)}; workers at the same time: {answer}, {reason}",
        )
    return None, f"no GPU ({problem}); CPU workers at the same time: {answer}, {reason}"


def _workers(watch: ChunkWatch, nproc: int) -> list[Worker]:
    """Return each rank's newest process: from heartbeats, else from torchrun's environment variables."""
    workers = {beat.rank: Worker(beat.rank, beat.pid, beat.device, beat.updates, beat.cpu_s) for beat in watch.beats}
    launcher = watch.launcher()
    silent = dict(watch.ranks_by_pid) or ({launcher.pid: 0} if nproc == 1 and launcher is not None else {})
    for pid, rank in silent.items():
        if rank not in workers:
            cpu = [sample.cpu_s[pid] for sample in watch.monitor.samples if pid in sample.cpu_s]
            workers[rank] = Worker(rank, pid, None, None, cpu[-1] if cpu else None)
    return [workers[rank] for rank in sorted(workers)]
