"""`run_chunk` with real launchers and workers: evidence, failures, hangs, extra launchers.

pytest tests/unit/launch/test_chunk.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import process_stages
from tests.helpers.commands import REPOSITORY
from tests.helpers.process_projects import SLEEPER, is_running, make_project, wait_for
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.chunk_watch import ChunkSettings
from tinyworlds_gate.launch.command import stage_command, stage_environment
from tinyworlds_gate.launch.devices.samples_file import read_samples
from tinyworlds_gate.launch.failure_text import failure_sentence, failure_text
from tinyworlds_gate.launch.launcher import ChunkResult, chunk_files, run_chunk
from tinyworlds_gate.launch.processes import rank_state
from tinyworlds_gate.launch.processes.find import find_leftovers, find_stage_processes
from tinyworlds_gate.launch.processes.oom_kills import OomKills
from tinyworlds_gate.run.heartbeat import HeartbeatReader
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.base import Target

CAUSE_OF_A_SIGKILL = "killed" if OomKills().count() is not None else "runtime_error"
"""Without the kernel's OOM-kill counter, a SIGKILL cannot be distinguished from an OOM kill."""


def chunk(
    target: Target,
    *,
    nproc: int = 1,
    env: Mapping[str, str] | None = None,
    number: int = 1,
    progress: Callable[[int, float], None] | None = None,
    **settings: Any,
) -> ChunkResult:
    layout = RunLayout(target.root, "a").create()
    environment = stage_environment(target, chunk_files(layout, number), on_cpu=True)
    defaults: dict[str, Any] = {
        "monitor_interval_s": 0.3,
        "gpu_util_threshold": 1.0,
        "gpu_required_samples": 2,
        "cleanup_extra": True,
        "deadline_s": 60.0,
        "stall_s": 60.0,
    }
    return run_chunk(
        target,
        layout,
        ChunkSettings(nproc, **{**defaults, **settings}),
        stage="dynamics",
        chunk=number,
        command=stage_command(target, "dynamics", nproc_per_node=nproc),
        env={**environment, **(env or {})},
        progress=progress,
    )


def nothing_runs(target: Target) -> bool:
    return not find_stage_processes(target) and not find_leftovers(target)


@pytest.mark.requirement("L3", "H5")
def test_a_chunk_that_succeeds_leaves_its_evidence_and_no_process(tmp_path: Path) -> None:
    target = make_project(tmp_path, process_stages.STEPS)
    seen: list[int] = []
    result = chunk(target, progress=lambda step, _: seen.append(step))
    assert (result.exit_code, result.signal, result.cause, result.stopped) == (0, None, "ok", None)
    (worker,) = result.workers
    assert (worker.rank, worker.pid, worker.device, worker.steps) == (0, result.launcher_pid, "cpu", 20)
    assert worker.cpu_s is not None
    assert worker.cpu_s > 0
    assert result.last_step == 19
    assert seen == sorted(seen)
    assert result.leftovers == result.extra_launchers == ()
    samples = list(read_samples(result.device_samples).samples)
    assert samples[0].baseline
    assert any(result.launcher_pid in sample.tree for sample in samples)
    assert nothing_runs(target)


def test_the_fields_of_a_chunk_go_into_the_journal_as_documented(tmp_path: Path) -> None:
    result = chunk(make_project(tmp_path, process_stages.STEPS), env={"STEPS": "2"})
    with Journal(tmp_path / "journal.jsonl", project_root=tmp_path) as journal:
        event = journal.append("chunk_finished", **result.journal_fields())
    assert event["device_samples"] == "results/a/devices/chunk_001.jsonl"
    assert event["log_tail"] is None
    assert event["workers"][0].keys() == {"rank", "pid", "device", "steps", "cpu_s"}
    documented = (REPOSITORY / "docs" / "journal.md").read_text()
    section = documented.split("\n### `chunk_finished`\n")[1].split("\n### ")[0]
    assert [name for name in event if f"`{name}`" not in section] == ["seq", "time", "event"]


@pytest.mark.requirement("L3", "H6")
def test_two_gloo_workers_are_observed_to_work_at_the_same_time(tmp_path: Path) -> None:
    target = make_project(tmp_path, process_stages.GLOO)
    result = chunk(target, nproc=2)
    assert result.ok, failure_text(result)
    assert [(worker.rank, worker.device, worker.steps) for worker in result.workers] == [(0, "cpu", 20), (1, "cpu", 20)]
    assert result.launcher_pid not in {worker.pid for worker in result.workers}
    assert result.dual_gpu_ok is None
    assert "2 CPU workers advanced together" in result.dual_gpu_reason
    assert result.log_tail.count("sum 2") == 2
    assert result.extra_launchers == ()
    assert nothing_runs(target)


@pytest.mark.requirement("T1")
def test_a_rank_out_of_memory_is_detected_by_the_error_file_of_torch(tmp_path: Path) -> None:
    target = make_project(tmp_path, process_stages.RANK_1_FAILS)
    result = chunk(target, nproc=2, env={"FAULT": process_stages.RECORD_OUT_OF_MEMORY})
    assert "MemoryError" not in "".join(result.log_tail)
    assert (result.exit_code, result.cause) == (1, "out_of_memory")
    assert "MemoryError" in (tmp_path / "results" / "a" / "logs" / "chunk_001_error.json").read_text()
    assert nothing_runs(target)


@pytest.mark.requirement("T6")
def test_a_rank_killed_from_outside_is_reported_and_the_other_rank_ends(tmp_path: Path) -> None:
    target = make_project(tmp_path, process_stages.RANK_1_FAILS)
    result = chunk(target, nproc=2, env={"FAULT": "os.kill(os.getpid(), signal.SIGKILL)"})
    assert (result.exit_code, result.signal, result.cause) == (1, None, CAUSE_OF_A_SIGKILL)
    assert [worker.rank for worker in result.workers] == [0, 1]
    assert "exitcode  : -9" in failure_text(result)
    assert nothing_runs(target)


@pytest.mark.requirement("T1", "T6")
@pytest.mark.parametrize(
    ("number", "cause"),
    [(signal.SIGTERM, "killed"), pytest.param(signal.SIGSEGV, "runtime_error", marks=pytest.mark.slow)],
)
def test_the_worker_that_failed_first_is_reported_and_not_its_peer(
    tmp_path: Path, number: signal.Signals, cause: str
) -> None:
    """torchrun may observe the peer's exception first and report it as the root cause."""
    target = make_project(tmp_path, process_stages.GLOO_RANK_1_ENDS)
    result = chunk(target, nproc=2, env={"SIGNAL": str(int(number))})
    assert (result.exit_code, result.cause) == (1, cause)
    assert f"rank 1 was ended by {number.name}" in failure_sentence(result)
    assert nothing_runs(target)


@pytest.mark.requirement("L1", "L2")
def test_workers_orphaned_by_a_killed_launcher_are_ended(tmp_path: Path) -> None:
    target = make_project(tmp_path, process_stages.RANK_1_FAILS)
    result = chunk(
        target, nproc=2, env={"FAULT": "time.sleep(1); os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)"}
    )
    assert (result.exit_code, result.signal, result.cause) == (None, "SIGKILL", CAUSE_OF_A_SIGKILL)
    assert {worker.pid for worker in result.workers} <= {record.pid for record in result.leftovers}
    assert nothing_runs(target)


def test_a_crash_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    target = make_project(tmp_path, "print('before'); raise ValueError('the loss is nan')")
    result = chunk(target)
    assert (result.exit_code, result.cause) == (1, "runtime_error")
    assert result.workers[0].steps is None
    assert result.journal_fields()["log_tail"] == result.log_tail
    assert "ValueError: the loss is nan" in failure_text(result)


def test_a_hang_is_explained_by_the_printed_stacks_where_memory_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_state, "python_stacks", lambda pid: None)
    result = chunk(make_project(tmp_path, process_stages.HANGS), stall_s=3.0)
    assert result.stopped == (
        "it made no step for 3 s after step 0; rank 0 sleeps in waits_for_ever in scripts/train_dynamics.py"
    )


def test_a_chunk_without_a_step_shows_its_stacks_and_is_ended(tmp_path: Path) -> None:
    target = make_project(tmp_path, process_stages.HANGS)
    result = chunk(target, stall_s=3.0)
    place = "rank 0 sleeps in waits_for_ever in scripts/train_dynamics.py"
    assert (result.cause, result.stopped) == ("timeout", f"it made no step for 3 s after step 0; {place}")
    assert any("waits_for_ever" in line for line in result.log_tail)
    assert nothing_runs(target)


def test_a_chunk_past_its_deadline_is_ended_though_it_steps(tmp_path: Path) -> None:
    target = make_project(tmp_path, process_stages.STEPS)
    result = chunk(target, deadline_s=1.0, env={"STEPS": "1000"})
    assert result.cause == "timeout"
    assert "deadline of 1 s" in str(result.stopped)
    assert nothing_runs(target)


@pytest.mark.parametrize(("then_hang", "cause"), [("", "ok"), ("yes", "timeout")])
def test_without_heartbeats_log_growth_counts_as_progress(tmp_path: Path, then_hang: str, cause: str) -> None:
    target = make_project(tmp_path, process_stages.SILENT)
    result = chunk(target, stall_s=2.0, env={"THEN_HANG": then_hang})
    assert result.cause == cause
    assert result.workers[0].device is None
    assert nothing_runs(target)


@pytest.mark.requirement("L2", "H5")
@pytest.mark.parametrize("cleanup", [True, False])
def test_a_launcher_started_during_a_chunk_is_ended_and_recorded(tmp_path: Path, cleanup: bool) -> None:
    target = make_project(tmp_path, process_stages.STEPS)
    target.stage_script("latent_actions").write_text(SLEEPER)
    intruders: list[subprocess.Popen[bytes]] = []

    def intrude(step: int, _: float) -> None:
        if not intruders:
            command = [sys.executable, str(target.stage_script("latent_actions"))]
            intruders.append(subprocess.Popen(command, cwd=target.root, stdout=subprocess.DEVNULL))

    result = chunk(target, cleanup_extra=cleanup, progress=intrude, env={"STEPS": "40"})
    (intruder,) = intruders
    (record,) = result.extra_launchers
    assert result.ok
    assert record.pid == intruder.pid
    if cleanup:
        assert intruder.wait(timeout=5) == -signal.SIGTERM
        assert (record.signal, record.outcome) == ("SIGTERM", "ended")
    else:
        assert (record.signal, record.outcome) == (None, "left alone")
        assert intruder.poll() is None
        intruder.kill()
        intruder.wait()


def test_files_of_an_earlier_launch_of_the_same_chunk_are_not_read(tmp_path: Path) -> None:
    target = make_project(tmp_path, process_stages.STEPS)
    chunk(target, env={"STEPS": "30"})
    result = chunk(target, env={"STEPS": "3"})
    assert (result.last_step, result.workers[0].steps) == (2, 3)
    assert {beat.pid for beat in HeartbeatReader(tmp_path / "results" / "a" / "heartbeats" / "chunk_001").poll()} == {
        result.launcher_pid
    }


def test_a_chunk_may_run_outside_the_main_thread(tmp_path: Path) -> None:
    target = make_project(tmp_path, process_stages.STEPS)
    results: list[ChunkResult] = []
    thread = threading.Thread(target=lambda: results.append(chunk(target, env={"STEPS": "2"})))
    thread.start()
    thread.join(timeout=60)
    assert [result.cause for result in results] == ["ok"]


HARNESS = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.launch.test_chunk import chunk
from tests.helpers.process_projects import make_project
from tests.helpers import process_stages
from tests.helpers.commands import REPOSITORY
chunk(make_project(Path(sys.argv[1]), process_stages.STEPS), env={"STEPS": "100000"})
"""


def test_a_terminated_harness_ends_its_chunk(tmp_path: Path) -> None:
    repository = str(REPOSITORY)
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(tmp_path), repository], stderr=subprocess.PIPE, text=True
    )
    beats = tmp_path / "results" / "a" / "heartbeats" / "chunk_001"
    wait_for(lambda: len(HeartbeatReader(beats).poll()) > 1, "the first step")
    worker = HeartbeatReader(beats).poll()[0].pid
    assert is_running(worker)
    os.kill(harness.pid, signal.SIGTERM)
    _, stderr = harness.communicate(timeout=30)
    assert "HarnessTerminated: the harness received SIGTERM" in stderr
    assert not is_running(worker)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"deadline_s": 0.0}, "deadline_s=0.0: a positive number of seconds"),
        ({"stall_s": float("nan")}, "stall_s=nan"),
        ({"gpu_required_samples": 0}, "gpu_required_samples=0: at least 1"),
    ],
)
def test_watch_settings_out_of_range_are_refused(tmp_path: Path, setting: dict[str, Any], message: str) -> None:
    with pytest.raises(LaunchError, match=message):
        chunk(make_project(tmp_path), **setting)


def test_raw_samples_are_json_lines_from_before_the_launch_to_its_end(tmp_path: Path) -> None:
    result = chunk(make_project(tmp_path, process_stages.STEPS), env={"STEPS": "10"})
    records = [json.loads(line) for line in result.device_samples.read_text().splitlines()]
    assert [record["baseline"] for record in records] == [True] + [False] * (len(records) - 1)
    assert len(records) >= 3
