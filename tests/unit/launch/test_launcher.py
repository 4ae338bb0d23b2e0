"""Workers of a chunk, from heartbeats or from the environment of their processes.

test_chunk.py runs whole chunks.

pytest tests/unit/launch/test_launcher.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.process_evidence import GPU0, LAUNCHER, WORKER0, WORKER1, beats
from tests.unit.launch.test_checkout_watch import Monitor, watch_of
from tinyworlds_gate.launch.chunk_watch import ChunkWatch
from tinyworlds_gate.launch.devices.nvml import DeviceSample
from tinyworlds_gate.launch.launcher import Worker, _workers
from tinyworlds_gate.run.identity import ProcessIdentity


@pytest.fixture
def watch(tmp_path: Path) -> ChunkWatch:
    monitor = Monitor()
    found = watch_of(tmp_path, monitor)
    found.launcher = lambda: ProcessIdentity(LAUNCHER, 1.0)
    monitor.samples += [
        DeviceSample(moment, moment, False, (), (), {LAUNCHER: moment, WORKER0: 10 * moment}) for moment in (1.0, 2.0)
    ]
    return found


@pytest.mark.requirement("L3")
def test_workers_without_heartbeats_have_the_ranks_of_their_environment(watch: ChunkWatch) -> None:
    watch.ranks_by_pid = {WORKER1: 1, WORKER0: 0}
    expected = [Worker(0, WORKER0, None, None, 20.0), Worker(1, WORKER1, None, None, None)]
    assert _workers(watch, 2) == expected
    assert _workers(watch, 1) == expected, "the launcher is no worker of these"


@pytest.mark.requirement("L3")
def test_a_single_worker_without_heartbeats_is_the_launcher_itself(watch: ChunkWatch) -> None:
    assert _workers(watch, 1) == [Worker(0, LAUNCHER, None, None, 2.0)]
    assert _workers(watch, 2) == []
    watch.launcher = lambda: None
    assert _workers(watch, 1) == []


@pytest.mark.requirement("L3")
def test_heartbeats_count_before_the_environment_and_the_newest_of_them_last(watch: ChunkWatch) -> None:
    watch.beats = [*beats(1, GPU0, end=9.5, pid=7), *beats(1, GPU0, begin=10.0, end=11.0)]
    watch.ranks_by_pid = {WORKER0: 0, 7: 1}
    assert _workers(watch, 2) == [Worker(0, WORKER0, None, None, 20.0), Worker(1, WORKER1, GPU0, 3, 1.0)]
