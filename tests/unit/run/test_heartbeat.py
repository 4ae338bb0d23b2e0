"""Heartbeats: what a worker writes and what the harness reads of it.

pytest tests/unit/run/test_heartbeat.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.helpers.process_projects import first_line
from tinyworlds_gate.run import heartbeat as heartbeat_module
from tinyworlds_gate.run.heartbeat import ENVIRONMENT_VARIABLE, Heartbeat, HeartbeatReader, gpu_uuid
from tinyworlds_gate.run.identity import own_identity


def test_a_heartbeat_has_rank_host_and_update(tmp_path: Path) -> None:
    with Heartbeat(tmp_path, rank=1, device="GPU-abc") as heartbeat:
        heartbeat.beat(7, force=True)
    first, last = HeartbeatReader(tmp_path).poll()
    assert (first.step, last.step) == (-1, 7)
    assert (last.rank, last.device, last.updates) == (1, "GPU-abc", 1)
    assert (last.pid, last.create_time) == (own_identity().pid, own_identity().start)
    assert last.cpu_s > 0
    assert last.monotonic >= first.monotonic


def test_fast_steps_are_not_written_one_by_one_but_all_counted(tmp_path: Path) -> None:
    with Heartbeat(tmp_path, rank=0) as heartbeat:
        written = [heartbeat.beat(step) for step in range(100, 300)]
    assert written[0], "the first update is always written"
    assert sum(written) < 20
    last = HeartbeatReader(tmp_path).poll()[-1]
    assert (last.step, last.updates) == (299, 200)


def test_a_worker_without_the_variable_writes_nothing(tmp_path: Path) -> None:
    assert Heartbeat.from_environment(0, environment={}) is None
    heartbeat = Heartbeat.from_environment(0, environment={ENVIRONMENT_VARIABLE: str(tmp_path)})
    assert heartbeat is not None
    heartbeat.close()
    assert len(HeartbeatReader(tmp_path).poll()) == 1


def test_a_reader_returns_each_beat_once_and_waits_for_half_lines(tmp_path: Path) -> None:
    reader = HeartbeatReader(tmp_path)
    assert reader.poll() == []
    with Heartbeat(tmp_path, rank=0) as heartbeat:
        heartbeat.beat(0, force=True)
    path = next(tmp_path.glob("rank_0_*.jsonl"))
    whole = path.read_text()
    path.write_text(whole[:-20])
    assert [beat.step for beat in reader.poll()] == [-1]
    path.write_text(whole)
    assert [beat.step for beat in reader.poll()] == [0]
    assert reader.poll() == []


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    with Heartbeat(tmp_path, rank=0):
        pass
    path = next(tmp_path.glob("rank_0_*.jsonl"))
    path.write_text('{"rank": 0}\nno json\n3\n' + path.read_text())
    assert [beat.step for beat in HeartbeatReader(tmp_path).poll()] == [-1]


def test_the_stack_signal_prints_stacks_and_the_worker_lives_on(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tinyworlds_gate.run.heartbeat import Heartbeat\n"
        "def stuck_here():\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.readline()\n"
        "Heartbeat(Path(sys.argv[1]), 0)\n"
        "stuck_here()\n"
        "print('lived on')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert first_line(process) == "ready\n"
    assert HeartbeatReader(tmp_path).poll()[0].dumps_stack
    os.kill(process.pid, signal.SIGUSR1)
    stdout, stderr = process.communicate("\n", timeout=20)
    assert "stuck_here" in stderr
    assert stdout == "lived on\n"


def test_beats_are_dense_for_ten_seconds_and_then_one_second_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: Any = SimpleNamespace(now=0.0, time=lambda: 0.0, process_time=lambda: 0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(heartbeat_module, "time", clock)
    moments = [0.125, 0.2, 9.75, 10.0, 10.5, 10.75, 11.0]
    with Heartbeat(tmp_path / "new" / "folder", rank=0) as heartbeat:
        for step, clock.now in enumerate(moments):
            heartbeat.beat(step)
        heartbeat.beat(step)  # the same update again
    beats = HeartbeatReader(tmp_path / "new" / "folder").poll()
    assert [(beat.monotonic, beat.step, beat.updates) for beat in beats] == [
        *((0.0, -1, 0), (0.125, 0, 1)),  # the first update is always written
        *((9.75, 2, 3), (10.75, 5, 6)),
        (11.0, 6, 7),  # written by close: the rate limit had skipped it
    ]


@pytest.mark.parametrize("error", [AttributeError, OSError, ValueError, RuntimeError])
def test_without_a_real_stderr_no_signal_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    class NoFile:
        def fileno(self) -> int:
            raise error("no descriptor")

    monkeypatch.setattr(sys, "__stderr__", NoFile())
    with Heartbeat(tmp_path, rank=0):
        pass
    assert not HeartbeatReader(tmp_path).poll()[0].dumps_stack


@pytest.mark.parametrize(("of_torch", "shown"), [("ab-1", "GPU-ab-1"), ("GPU-ab", "GPU-ab"), ("MIG-ab", "MIG-ab")])
def test_the_uuid_of_a_device_is_written_as_nvml_writes_it(
    monkeypatch: pytest.MonkeyPatch, of_torch: str, shown: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=of_torch))
    assert gpu_uuid(0) == shown
