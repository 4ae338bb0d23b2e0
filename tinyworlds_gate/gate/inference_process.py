"""The inference run as a child process: guarded, with a deadline, and with the cause of its end (L2, L6, G1)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.gate.inference_job import InferenceJob
from tinyworlds_gate.launch.cause import KILLED, OK, OUT_OF_MEMORY, TIMEOUT, cause_of
from tinyworlds_gate.launch.child import ChildResult, run_child
from tinyworlds_gate.launch.command import LaunchFiles, stage_environment, trusted_environment
from tinyworlds_gate.launch.processes.oom_kills import OomKills
from tinyworlds_gate.launch.processes.tree import descendants
from tinyworlds_gate.run.disk import full_disk
from tinyworlds_gate.targets.base import Target

KILLS_INTERVAL_S = 1.0


@dataclass(frozen=True)
class InferenceChild:
    """How the process ended, the cause by its evidence, and the sentence that shows a full disk (None: it is not)."""

    child: ChildResult
    cause: str
    disk_problem: str | None

    def journal_fields(self) -> dict[str, Any]:
        """The fields of ``inference_finished`` and ``target_inference_finished`` that the process decides."""
        child = self.child
        return {
            "exit_code": child.exit_code,
            "signal": child.signal,
            "cause": self.cause,
            "wall_s": child.wall_s,
            "extra_launchers": child.extra,
            "ended": child.ended,
            "log_tail": None if child.ok else list(child.log_tail),
        }


def run_inference(job: InferenceJob, target: Target, command: Sequence[str], log: Path) -> InferenceChild:
    """Run the inference command of ``target`` to its end; training that is started beside it is ended (L2).

    Only a checkout's own inference can import from its folder; the gate's own processes import from no project.

    Raises:
        LaunchError: it cannot be started.
    """
    settings, layout, kills = job.settings, job.layout, OomKills()
    environment = stage_environment if target.is_checkout else trusted_environment
    looked = -KILLS_INTERVAL_S

    def look_for_kills(elapsed_s: float) -> None:
        nonlocal looked
        if elapsed_s - looked >= KILLS_INTERVAL_S:  # finding our children reads the whole process table
            looked = elapsed_s
            kills.read(descendants(os.getpid()))  # the process may sit in a cgroup of its own

    child = run_child(
        command,
        cwd=target.root,
        env=environment(target, LaunchFiles(layout.root), on_cpu=job.on_cpu),
        log_path=log,
        deadline_s=settings.profile.watchdog.inference_deadline_s,
        on_poll=look_for_kills,
        exclusive_target=job.target,
        cleanup_extra=settings.options.cleanup_extra_processes,
        guard_interval_s=settings.options.monitor_interval_sec,
        end_all_orphans=target.is_checkout,  # what it leaves behind could write the files of the gate that follows
    )
    text = "\n".join(child.log_tail)
    cause = TIMEOUT
    if child.stopped is None:
        cause = cause_of(
            exit_code=child.exit_code,
            signal_name=child.signal,
            log_text=text,
            error_file=None,
            oom_kills=kills.count(),
        )
    problem = None if cause == OK else full_disk(text, [layout.root, layout.inference_results])
    return InferenceChild(child, cause, problem)


@dataclass(frozen=True)
class NextTry:
    """How the same attempt is run again."""

    batch_size: int
    """Clips that are rolled out at once."""
    kills: int
    """How often the process was ended from outside so far."""
    reason: str


def next_try(cause: str, batch_size: int, kills: int, max_kills: int) -> NextTry | None:
    """Half the batch after running out of memory, the same batch after a signal from outside; None: no further try.

    Fewer clips at once are the same rollouts in smaller portions. Every sequence of causes ends: the batch has a floor
    of 1, and ``max_kills`` signals are answered.
    """
    if cause == OUT_OF_MEMORY and batch_size > 1:
        half = batch_size // 2
        return NextTry(half, kills, f"it ran out of memory and is run again with batch_size {batch_size} → {half}")
    if cause == KILLED and kills < max_kills:
        return NextTry(batch_size, kills + 1, "it was ended from outside and is run again")
    return None
