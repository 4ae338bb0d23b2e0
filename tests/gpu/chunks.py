"""Run one chunk on real GPUs with a plan per rank, and collect its device evidence."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.gpu import programs
from tests.helpers.process_projects import make_project
from tinyworlds_gate.launch.chunk_watch import ChunkSettings
from tinyworlds_gate.launch.command import stage_command, stage_environment
from tinyworlds_gate.launch.devices.concurrency import Judgement, judge_dual_gpu
from tinyworlds_gate.launch.devices.nvml import DeviceSample
from tinyworlds_gate.launch.devices.samples_file import read_samples
from tinyworlds_gate.launch.failure_text import failure_text
from tinyworlds_gate.launch.launcher import ChunkResult, chunk_files, run_chunk
from tinyworlds_gate.run.heartbeat import Beat, HeartbeatReader
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.base import Target

REPOSITORY = Path(__file__).resolve().parents[2]
MONITOR_INTERVAL_S, THRESHOLD_PCT, REQUIRED = 5.0, 1.0, 2
DEADLINE_S = 75.0
READY_S = 60.0
FOREIGN_S = 110.0


def plan(
    gpu: int | None,
    *work: tuple[float, float],
    seconds: float,
    beats: bool = True,
    idle_steps: bool = False,
    backend: str | None = None,
    reduce: bool = False,
) -> dict[str, Any]:
    """Return the plan of one rank (see ``programs``)."""
    return {
        "gpu": gpu,
        "work": work,
        "seconds": seconds,
        "beats": beats,
        "idle_steps": idle_steps,
        "backend": backend,
        "reduce": reduce,
    }


@dataclass(frozen=True)
class Evidence:
    """A finished chunk with its raw device samples and heartbeats."""

    result: ChunkResult
    samples: list[DeviceSample]
    beats: list[Beat]
    nproc: int

    @property
    def tree(self) -> set[int]:
        return {pid for sample in self.samples for pid in sample.tree}

    @property
    def looks(self) -> list[DeviceSample]:
        return [sample for sample in self.samples if not sample.baseline]

    @property
    def tells_own_processes(self) -> bool:
        """Whether NVML's utilisation by process showed PIDs of the launcher's tree (not so in many containers)."""
        return any(set(gpu.activity or ()) & self.tree for sample in self.looks for gpu in sample.gpus)

    @property
    def shows_own_contexts(self) -> bool:
        return any(set(gpu.processes or ()) & self.tree for sample in self.looks for gpu in sample.gpus)

    def judged(self, *, beats: bool, hidden_pids: bool = False) -> Judgement:
        """The verdict from the same samples, without the heartbeats or as a container with hidden PIDs shows them."""
        samples = [hide_pids(sample, self.tree) for sample in self.samples] if hidden_pids else self.samples
        return judge_dual_gpu(samples, self.beats if beats else [], self.tree, self.nproc, THRESHOLD_PCT, REQUIRED)


def hide_pids(sample: DeviceSample, tree: Collection[int]) -> DeviceSample:
    """Return the sample as NVML reports it in a container: host PIDs instead of the container's PIDs."""

    def host(pids: dict[int, Any] | None) -> dict[int, Any] | None:
        return None if pids is None else {pid + 5_000_000 if pid in tree else pid: v for pid, v in pids.items()}

    gpus = (replace(gpu, processes=host(gpu.processes), activity=host(gpu.activity)) for gpu in sample.gpus)
    return replace(sample, gpus=tuple(gpus))


def gpu_chunk(
    root: Path, ranks: Sequence[dict[str, Any]], *, progress: Callable[[int, float], None] | None = None
) -> Evidence:
    """Run one chunk whose ranks follow their plans; fail with the last log lines if the chunk fails."""
    target = replace(make_project(root, programs.STAGE), import_paths=(REPOSITORY,))
    layout = RunLayout(target.root, "a").create()
    evidence = launched(
        target,
        layout,
        stage_command(target, "dynamics", nproc_per_node=len(ranks)),
        nproc=len(ranks),
        extra={"PLAN": json.dumps(list(ranks))},
        progress=progress,
    )
    assert evidence.result.ok, failure_text(evidence.result)
    return evidence


def launched(
    target: Target,
    layout: RunLayout,
    command: Sequence[str],
    *,
    nproc: int,
    stage: str = "dynamics",
    extra: dict[str, str] | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Evidence:
    """``run_chunk`` with the options' default values and short deadlines."""
    settings = ChunkSettings(
        nproc=nproc,
        monitor_interval_s=MONITOR_INTERVAL_S,
        gpu_util_threshold=THRESHOLD_PCT,
        gpu_required_samples=REQUIRED,
        cleanup_extra=True,
        deadline_s=DEADLINE_S,
        stall_s=DEADLINE_S,
    )
    result = run_chunk(
        target,
        layout,
        settings,
        stage=stage,
        chunk=1,
        command=command,
        env={**stage_environment(target, chunk_files(layout, 1), on_cpu=False), **(extra or {})},
        progress=progress,
    )
    return Evidence(
        result,
        list(read_samples(result.device_samples).samples),
        HeartbeatReader(layout.chunk_heartbeats(1)).poll(),
        nproc,
    )


@contextmanager
def foreign(program: str, gpu: int, *arguments: float) -> Iterator[str]:
    """Run a process outside the launcher's tree that uses a GPU; yield its first output line; kill it at the end."""
    command = [sys.executable, "-c", program, str(gpu), *map(str, arguments)]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    reader = threading.Thread(target=lambda out=process.stdout: lines.append(out.readline()), daemon=True)
    reader.start()
    try:
        reader.join(timeout=READY_S)
        if not lines or not lines[0].startswith("ready"):
            process.kill()
            raise AssertionError(f"the foreign process did not get ready: {process.stderr.read()[-2000:]}")
        yield lines[0]
        assert process.poll() is None, f"the foreign process ended early: {process.stderr.read()[-2000:]}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@contextmanager
def busy_stranger(gpu: int) -> Iterator[str]:
    """Run a foreign process that keeps a GPU busy."""
    with foreign(programs.FOREIGN, gpu, FOREIGN_S) as said:
        yield said
