"""The pace and the facts of a watched chunk, with a clock and GPUs set by the test.

test_checkout_watch.py tests targets without heartbeats, test_chunk.py watches real processes.

pytest tests/unit/launch/test_chunk_watch.py
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.launch.test_checkout_watch import STALL_S, Monitor, watch_of
from tinyworlds_gate.launch import chunk_watch
from tinyworlds_gate.launch.chunk_watch import (
    DENSE_POLL_S,
    SETTLED_POLL_S,
    SILENT_GPU_FACTOR,
    YOUNG_POLL_S,
    YOUNG_S,
    ChunkSettings,
)
from tinyworlds_gate.launch.devices.monitor import BURST_SECONDS, DENSE_SECONDS, Cadence
from tinyworlds_gate.launch.devices.nvml import DeviceSample, GpuSample
from tinyworlds_gate.launch.hang import RankState
from tinyworlds_gate.run.identity import ProcessIdentity, own_identity


@pytest.mark.parametrize(
    ("age_s", "poll_s"),
    [
        (0.0, YOUNG_POLL_S),
        (YOUNG_S - 0.1, YOUNG_POLL_S),
        (YOUNG_S, DENSE_POLL_S),
        (DENSE_SECONDS - 0.1, DENSE_POLL_S),
        (DENSE_SECONDS + BURST_SECONDS, SETTLED_POLL_S),
    ],
)
def test_a_chunk_is_polled_often_when_it_is_young_and_while_devices_are_sampled_densely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age_s: float, poll_s: float
) -> None:
    watch = watch_of(tmp_path, Monitor())
    now = 1000.0
    watch._began = now
    watch.settings = ChunkSettings(1, 60.0, 1.0, 2, False, 10_000.0, STALL_S)
    watch._cadence = Cadence(60.0, lambda: now)
    now += age_s
    monkeypatch.setattr(chunk_watch, "time", SimpleNamespace(monotonic=lambda: now))
    assert watch.poll_s == poll_s


@pytest.mark.parametrize("name", ["monitor_interval_s", "deadline_s", "stall_s"])
@pytest.mark.parametrize("age_s", [0.0, DENSE_SECONDS - 1, DENSE_SECONDS + BURST_SECONDS])
def test_no_poll_waits_longer_than_the_shortest_of_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, age_s: float
) -> None:
    watch = watch_of(tmp_path, Monitor())
    settled = ChunkSettings(1, 60.0, 1.0, 2, False, deadline_s=60.0, stall_s=60.0)
    shortest: dict[str, Any] = {name: 0.05}
    watch.settings = replace(settled, **shortest)
    now = 1000.0
    watch._began, watch._cadence = now, Cadence(60.0, lambda: now)
    now += age_s
    monkeypatch.setattr(chunk_watch, "time", SimpleNamespace(monotonic=lambda: now))
    assert watch.poll_s == 0.05


@pytest.mark.requirement("L3", "H6")
def test_the_tree_of_a_launcher_that_has_ended_is_not_that_of_the_process_with_its_pid(tmp_path: Path) -> None:
    watch = watch_of(tmp_path, Monitor())
    own = own_identity()
    assert own.pid in watch._read_tree()
    before = set(watch.tree)
    watch.launcher = lambda: ProcessIdentity(own.pid, own.start - 100.0)
    assert watch._read_tree() == []
    watch.launcher = lambda: None
    assert watch._read_tree() == []
    assert watch.tree == before, "the processes seen so far stay"


@pytest.mark.requirement("L2")
def test_gpu_work_delays_the_verdict_by_the_time_since_the_log_last_grew(tmp_path: Path) -> None:
    """Not by the time since the launch: a log that grows late has the whole delay too."""
    watch = watch_of(tmp_path, Monitor(percent=80.0))
    now = 1.0
    while now < 3 * SILENT_GPU_FACTOR * STALL_S:
        watch.log_path.write_text(watch.log_path.read_text() + "more\n")
        assert watch.poll(now) is None
        now += STALL_S / 2
    last = now - STALL_S / 2
    while watch.poll(now) is None:
        now += STALL_S / 4
    assert SILENT_GPU_FACTOR * STALL_S < now - last <= (SILENT_GPU_FACTOR + 1.3) * STALL_S


def test_the_pace_needs_two_steps_at_different_times(tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []
    watch = watch_of(tmp_path, Monitor(), progress=lambda step, at: seen.append((step, at)))
    assert watch.updates_per_s is None
    watch._note_step(9, 4.0)
    assert watch.updates_per_s is None
    watch._note_step(29, 8.0)
    assert (watch.updates_per_s, watch.step) == (5.0, 29)
    watch._note_step(39, 14.0)
    assert watch.updates_per_s == 3.0
    assert seen == [(9, 4.0), (29, 8.0), (39, 14.0)]


@pytest.mark.parametrize("pace", ["stalled", "slow"])
def test_only_a_chunk_that_makes_no_step_is_asked_which_rank_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pace: str
) -> None:
    watch = watch_of(tmp_path, Monitor())
    asked: list[tuple[Any, ...]] = []

    def sampled(*given: Any) -> list[RankState]:
        asked.append(given)
        return []

    monkeypatch.setattr(chunk_watch, "sample_ranks", sampled)
    monkeypatch.setattr(watch, "_out_of_time", lambda elapsed_s: "it ran longer than its deadline")
    monkeypatch.setattr(watch, "_stalled", lambda elapsed_s: pace == "stalled")
    assert watch.poll(50.0) == "it ran longer than its deadline"
    assert len(asked) == (1 if pace == "stalled" else 0)


def test_the_newest_sample_says_whose_gpu_is_busy(tmp_path: Path) -> None:
    monitor = Monitor()
    watch = watch_of(tmp_path, monitor)
    watch.tree = {os.getpid()}
    watch.beats = [SimpleNamespace(rank=0, pid=os.getpid(), device="GPU-0")]  # type: ignore[list-item]
    assert watch._gpu_busy_by_rank() == {}
    for percent in (0.0, 0.0, 80.0):
        gpu = GpuSample("GPU-0", 99.0, 1.0, {os.getpid(): 1.0}, activity={os.getpid(): percent})
        monitor.samples.append(DeviceSample(0.0, 0.0, False, (gpu,), (os.getpid(),), {}))
    assert watch._gpu_busy_by_rank() == {0: True}
