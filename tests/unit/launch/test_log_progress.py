"""A log that only repeats a warning makes no progress.

pytest tests/unit/launch/test_log_progress.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tests.helpers.process_projects import make_project
from tests.unit.launch.test_checkout_watch import STALL_S, Monitor, watch_of
from tinyworlds_gate.launch.chunk_watch import ChunkSettings, ChunkWatch
from tinyworlds_gate.launch.devices.monitor import DeviceMonitor
from tinyworlds_gate.launch.log_progress import LogProgress
from tinyworlds_gate.run.identity import own_identity

UNRESOLVED = (
    "[W1130 09:53:{0:02d}.{0}496971 socket.cpp:764] [c10d] The IPv6 network addresses of (box, 3777{0}) cannot be "
    "retrieved (gai error: -2 - Name or service not known).\n"
)
REPEATED = {
    "a name that does not resolve": UNRESOLVED,
    "a refused connection": "WARNING: connection refused by 10.0.0.{0}, attempt {0}\n",
    "a server that is awaited": "Still waiting for the server ({0} s)\r",
    "an address": "could not reach peer at 0x7f{0:04x}a0\n",
}


@pytest.mark.parametrize("strict", [True, False], ids=["heartbeats", "a log alone"])
@pytest.mark.parametrize("line", REPEATED.values(), ids=REPEATED)
def test_a_repeated_warning_is_no_progress_whatever_numbers_it_holds(tmp_path: Path, line: str, strict: bool) -> None:
    log = tmp_path / "chunk.log"
    log.write_text("")
    progress = LogProgress(log, strict=strict)
    progress.moved()
    moved = []
    for number in range(10, 16):
        with log.open("a") as file:
            file.write(line.format(number))
        moved.append(progress.moved())
    assert moved == [True] + [False] * 5
    assert progress.repeated is not None
    with log.open("a") as file:
        file.write("the model has 4 layers\n" + line.format(17))
    assert progress.moved()
    assert progress.repeated is None


def test_a_bar_is_progress_for_a_target_without_heartbeats(tmp_path: Path) -> None:
    log = tmp_path / "chunk.log"
    progress = LogProgress(log, strict=False)
    for number in range(5):
        with log.open("a") as file:
            file.write(f"  {number}%|#   | {number}/900 [00:04<09:00,  1.5it/s]\r")
        assert progress.moved()
    assert not progress.moved()


def test_a_line_that_is_cut_by_a_read_is_compared_as_a_whole(tmp_path: Path) -> None:
    log = tmp_path / "chunk.log"
    log.write_text(UNRESOLVED.format(10))
    progress = LogProgress(log, strict=True)
    assert progress.moved()
    halves = UNRESOLVED.format(11)
    with log.open("a") as file:
        file.write(halves[:40])
    progress.moved()
    with log.open("a") as file:
        file.write(halves[40:])
    assert not progress.moved()


@pytest.mark.requirement("L3")
def test_a_chunk_whose_log_only_repeats_a_warning_is_ended_after_the_stall_time(tmp_path: Path) -> None:
    """Before the first heartbeat: workers that never meet."""
    checkout = watch_of(tmp_path / "one", Monitor())
    embedded = ChunkWatch(
        target=make_project(tmp_path / "other"),
        settings=ChunkSettings(2, 0.001, 1.0, 2, False, 10_000.0, STALL_S),
        monitor=cast(DeviceMonitor, Monitor()),
        heartbeats=tmp_path / "heartbeats",
        token="x",
        launcher=own_identity,
        log_path=tmp_path / "chunk.log",
    )
    for watch, words in ((checkout, 'its log only repeated "[W'), (embedded, "it made no step for 100 s and never")):
        watch.settings = replace(watch.settings, monitor_interval_s=60.0)
        now, reason = 0.0, None
        while reason is None and now < 5 * STALL_S:
            with watch.log_path.open("a") as log:
                log.write(UNRESOLVED.format(int(now) % 60))
            now += 5.0
            reason = watch.poll(now)
        assert reason is not None
        assert STALL_S <= now <= STALL_S + 10
        assert reason.startswith(words)
        assert "Name or service not known" in reason
