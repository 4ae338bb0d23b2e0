"""What a chunk's launch makes of its parts, which the test replaces: cause, evidence and files.

test_chunk.py runs whole chunks.

pytest tests/unit/launch/test_launcher_run.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.process_evidence import beats
from tests.helpers.process_projects import make_project
from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch import launcher
from tinyworlds_gate.launch.chunk_watch import ChunkSettings
from tinyworlds_gate.launch.launcher import ChunkResult, _judge, chunk_files, run_chunk
from tinyworlds_gate.launch.processes.end import EndedProcess
from tinyworlds_gate.run.heartbeat import Beat
from tinyworlds_gate.run.layout import RunLayout

SETTINGS = ChunkSettings(2, 0.3, 1.0, 2, True, 60.0, 50.0)


def ended(pid: int, outcome: str = "ended") -> EndedProcess:
    return EndedProcess(pid, 1.0, "x", "SIGTERM", outcome)


class Parts:
    """The parts of a launch: how the child ends, what the watch finds, and how often each was polled."""

    def __init__(self) -> None:
        self.exit_code: int | None = 0
        self.signal: str | None = None
        self.log = ""
        self.reason: str | None = None
        self.kills: int | None = 0
        self.disk: str | None = None
        self.step = 7
        self.beats: list[Beat] = []
        self.child: dict[str, Any] = {}
        self.watched: dict[str, Any] = {}
        self.polled: list[str | None] = []
        self.calls: list[Any] = []
        self.searched: list[Any] = []

    def make_child(self, command: Any, cwd: Path, env: Any, log: Path) -> SimpleNamespace:
        self.child = {"command": command, "cwd": cwd, "env": env, "log": log}

        def run(poll: Callable[[float], str | None], poll_s: Callable[[], float]) -> SimpleNamespace:
            assert poll_s() == 0.25
            self.polled += [poll(1.0), poll(2.0)]
            stopped = next((one for one in self.polled if one is not None), None)
            records = (ended(5), ended(6))
            return SimpleNamespace(
                exit_code=self.exit_code,
                signal=self.signal,
                stopped=stopped,
                wall_s=3.0,
                pid=5,
                ended=records,
                leftovers=records[:1],
                log_tail=("last",),
            )

        return SimpleNamespace(token="t", pid=5, identity="me", run=run, log_text=lambda: self.log)

    def make_watch(self, **named: Any) -> SimpleNamespace:
        self.watched = named
        return SimpleNamespace(
            tree={5, 8},
            poll=lambda elapsed_s: self.reason,
            poll_s=0.25,
            begin=lambda: self.calls.append("begin"),
            finish=lambda: self.calls.append("finish"),
            beats=self.beats,
            step=self.step,
            extra={"a": ended(9)},
            aborted=[ended(6, "aborted"), ended(7)],
            updates_per_s=1.5,
            ranks_by_pid={},
            error_files={},
            launcher=named["launcher"],
            monitor=named["monitor"],
            settings=named["settings"],
        )

    def find_full_disk(self, text: str, folders: list[Path]) -> str | None:
        self.searched.append((text, folders))
        return self.disk


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    found = Parts()
    kills = SimpleNamespace(read=lambda pids: found.calls.append(sorted(pids)), count=lambda: found.kills)
    monkeypatch.setattr(launcher, "ChildProcess", found.make_child)
    monkeypatch.setattr(launcher, "ChunkWatch", found.make_watch)
    monkeypatch.setattr(launcher, "OomKills", lambda: kills)
    monkeypatch.setattr(launcher, "full_disk", found.find_full_disk)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return found


def run(tmp_path: Path, settings: ChunkSettings = SETTINGS, **more: Any) -> ChunkResult:
    target = make_project(tmp_path)
    layout = RunLayout(tmp_path, "a").create()
    return run_chunk(target, layout, settings, stage="dynamics", chunk=3, command=["go"], env={"A": "1"}, **more)


@pytest.mark.requirement("L2", "L3", "T6")
@pytest.mark.parametrize(
    ("watch", "others", "end", "cause"),
    [
        (None, None, (0, None), "ok"),
        (None, lambda: None, (0, None), "ok"),
        (None, lambda: "node 1 is gone", (1, None), "node_lost"),
        ("no step", lambda: "node 1 is gone", (1, None), "timeout"),
        ("no step", None, (0, None), "timeout"),
        (None, None, (1, None), "runtime_error"),
        (None, None, (None, "SIGTERM"), "killed"),
    ],
)
def test_the_cause_is_that_of_whoever_ended_the_chunk(
    tmp_path: Path,
    parts: Parts,
    watch: str | None,
    others: Callable[[], str | None] | None,
    end: tuple[int | None, str | None],
    cause: str,
) -> None:
    parts.reason, (parts.exit_code, parts.signal) = watch, end
    result = run(tmp_path, others=others)
    assert result.cause == cause
    assert parts.polled == [watch or (others and others())] * 2
    assert result.stopped == parts.polled[0]
    assert (result.ok, result.disk_problem) == (cause == "ok", None)
    assert len(parts.searched) == (cause == "runtime_error"), "a full disk explains runtime errors only"


@pytest.mark.requirement("L3", "H5")
def test_a_result_holds_the_evidence_of_every_part(tmp_path: Path, parts: Parts) -> None:
    result = run(tmp_path, updates=20, start=10, progress=print)
    layout = RunLayout(tmp_path, "a")
    assert parts.calls == ["begin", [5, 5, 8], [5, 5, 8], "finish"]
    assert parts.child["env"] == {
        "A": "1",
        "TINYWORLDS_GATE_HEARTBEATS": str(layout.chunk_heartbeats(3)),
        "TORCHELASTIC_ERROR_FILE": str(layout.chunk_error_file(3)),
    }
    assert (parts.child["command"], parts.child["cwd"], parts.child["log"]) == (["go"], tmp_path, result.log)
    assert {key: parts.watched[key] for key in ("token", "updates", "start", "progress", "log_path")} == {
        "token": "t",
        "updates": 20,
        "start": 10,
        "progress": print,
        "log_path": result.log,
    }
    assert parts.watched["launcher"]() == "me"
    assert [(one.pid, one.outcome) for one in result.ended] == [(5, "ended"), (6, "aborted"), (7, "ended")]
    assert [one.pid for one in (*result.extra_launchers, *result.leftovers)] == [9, 5]
    assert (result.last_step, result.updates_per_s, result.log_tail) == (7, 1.5, ("last",))
    assert result.device_samples.read_text().count("\n") == 1, "the baseline"
    assert result.journal_fields()["log_tail"] is None
    assert "nodes" not in result.journal_fields()
    failed = replace(result, cause="killed", nodes=("node",))
    assert (failed.journal_fields()["log_tail"], failed.journal_fields()["nodes"]) == (("last",), ("node",))


@pytest.mark.requirement("L3")
def test_the_ranks_of_another_node_are_counted_from_its_first_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parts: Parts
) -> None:
    seen: list[set[int]] = []

    def judge(found: list[Beat], nproc: int) -> tuple[bool, str]:
        seen.append({beat.rank for beat in found})
        return True, "both"

    monkeypatch.setattr(launcher, "judge_cpu_workers", judge)
    parts.beats = [*beats(2, pid=7), *beats(3, pid=8)]
    result = run(tmp_path, replace(SETTINGS, rendezvous=Rendezvous(2, 1, "host-a:29400", "job")))
    assert seen == [{0, 1}]
    assert [worker.rank for worker in result.workers] == [2, 3]
    layout = RunLayout(tmp_path, "a")
    assert (result.log, result.device_samples) == (layout.chunk_log(3, "dynamics", 1), layout.chunk_devices(3, 1))
    assert parts.child["env"]["TINYWORLDS_GATE_HEARTBEATS"] == str(layout.chunk_heartbeats(3, 1))


@pytest.mark.parametrize(("step", "last"), [(-1, None), (0, 0), (5, 5)])
def test_without_a_step_there_is_no_last_one(tmp_path: Path, parts: Parts, step: int, last: int | None) -> None:
    parts.step = step
    assert run(tmp_path).last_step == last


@pytest.mark.requirement("T1")
def test_the_log_the_kernel_and_the_disk_explain_a_failure(tmp_path: Path, parts: Parts) -> None:
    parts.exit_code, parts.log = 1, "Traceback (most recent call last):\nValueError: no"
    parts.disk = "/ is full"
    result = run(tmp_path)
    assert (result.cause, result.disk_problem, result.raised[0].type) == ("disk_full", "/ is full", "ValueError")
    layout = RunLayout(tmp_path, "a")
    assert parts.searched == [(parts.log, [layout.root, layout.histories])]
    parts.exit_code, parts.signal, parts.kills = None, "SIGKILL", 1
    assert run(tmp_path).cause == "out_of_memory"
    layout.chunk_error_file(3).write_text('{"message": "MemoryError: x"}')
    assert run(tmp_path).cause == "out_of_memory"
    parts.kills = 0
    assert run(tmp_path).cause == "killed", "the error file of the launch before was set aside"
    assert len(list(layout.chunk_error_file(3).parent.glob("*.earlier_*"))) == 1


@pytest.mark.parametrize(
    "setting",
    [
        *({name: value} for name in ("monitor_interval_s", "deadline_s", "stall_s") for value in (0.0, float("inf"))),
        {"gpu_required_samples": 0},
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_refused_before_anything_starts(
    tmp_path: Path, parts: Parts, setting: dict[str, Any]
) -> None:
    ((name, value),) = setting.items()
    with pytest.raises(LaunchError, match=f"{name}={value}: "):
        run(tmp_path, replace(SETTINGS, **setting))
    assert parts.child == {}
    assert run(tmp_path, replace(SETTINGS, gpu_required_samples=1)).ok


@pytest.mark.requirement("H6")
@pytest.mark.parametrize(
    ("gpus", "verdict", "named", "expected"),
    [
        (True, (True, "both"), (), (True, "both")),
        (True, (None, "unknown"), (), (None, "unknown; NVML failed last with: no driver")),
        (True, (False, "turns"), (), (False, "turns")),
        (False, (True, "yes"), (), (None, "no GPU (no driver); CPU workers at the same time: yes, cpu")),
        (
            False,
            (True, "yes"),
            ("GPU-0000",),
            (None, "unknown: no driver; heartbeats name GPU-0000; workers at the same time: yes, cpu"),
        ),
    ],
)
def test_devices_are_judged_with_gpus_and_only_described_without(
    monkeypatch: pytest.MonkeyPatch,
    gpus: bool,
    verdict: tuple[bool | None, str],
    named: tuple[str, ...],
    expected: tuple[bool | None, str],
) -> None:
    seen: list[Any] = []

    def dual(samples: Any, found: Any, tree: Any, *numbers: Any) -> tuple[bool | None, str]:
        seen.append((sorted({beat.rank for beat in found}), tree, numbers))
        return verdict

    monkeypatch.setattr(launcher, "judge_dual_gpu", dual)
    monkeypatch.setattr(launcher, "judge_cpu_workers", lambda found, nproc: (True, "cpu"))
    own = [*beats(2, named[0] if named else "cpu", pid=7), *beats(3, pid=8)]
    watch: Any = SimpleNamespace(
        beats=own,
        tree={5},
        settings=SETTINGS,
        monitor=SimpleNamespace(problem="no driver", gpus=["GPU"] if gpus else [], samples=[]),
    )
    assert _judge(watch, 2, 2) == expected
    assert seen == ([([0, 1], {5}, (2, 1.0, 2))] if gpus else [])
    watch.monitor.problem = None
    if verdict[0] is None:
        assert _judge(watch, 2, 2) == verdict


def test_the_files_of_a_chunk_are_those_of_its_node(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path, "a")
    first, second = chunk_files(layout, 3), chunk_files(layout, 3, 1)
    assert (first.heartbeats, first.error_file) == (layout.chunk_heartbeats(3, 0), layout.chunk_error_file(3, 0))
    assert first.heartbeats != second.heartbeats
