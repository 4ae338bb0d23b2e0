"""The file of a node and what others see of it, by a clock that the test sets.

pytest tests/unit/launch/test_node_table.py
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.unit.launch.test_nodes import ONE, Clock, table
from tinyworlds_gate.launch import node_table
from tinyworlds_gate.launch.node_table import (
    LEFT,
    RUNNING,
    WAITING,
    NodeStatus,
    NodeTable,
    Sighting,
    next_sighting,
    read_status,
)
from tinyworlds_gate.run.identity import host_name


def test_a_status_begins_as_waiting_for_no_chunk() -> None:
    assert NodeStatus(1, "h", 7, "s") == NodeStatus(1, "h", 7, "s", 0, WAITING, 0, "")
    assert (node_table.INTERVAL_S, node_table.PAUSE_S) == (1.0, 10.0)


def test_a_sighting_changes_with_the_count_or_the_session_only() -> None:
    first = Sighting(ONE, 5.0)
    assert not first.alive
    assert next_sighting(None, ONE, 5.0) == first
    assert next_sighting(first, ONE, 6.0) == first
    alive = Sighting(ONE, 5.0, alive=True)
    assert next_sighting(alive, ONE, 6.0) == alive


@pytest.mark.parametrize(("pause_s", "silent_s"), [(9.0, 9.0), (10.0, 10.0), (10.5, 0.0)])
def test_only_a_gap_of_more_than_ten_seconds_is_a_pause_of_this_process(
    tmp_path: Path, pause_s: float, silent_s: float
) -> None:
    clock = Clock()
    zero, one = table(tmp_path, 0, clock), table(tmp_path, 1, clock)
    for _ in range(2):
        one.tick()
        zero.tick()
    clock.now += pause_s
    zero.tick()
    assert zero.silent_s(1) == silent_s
    clock.now += 4.0
    zero.tick()
    assert zero.silent_s(1) == silent_s + 4.0


def test_each_tick_counts_and_every_other_node_is_read(tmp_path: Path) -> None:
    clock = Clock()
    tables = [NodeTable(tmp_path, node, 3, clock=clock) for node in range(3)]
    for _ in range(2):
        for one in tables:
            one.tick()
        assert tables[2].status(0) is None or tables[2].status(0).count == 2  # type: ignore[union-attr]
    tables[0].tick()
    tables[0].tick()
    for reader, others in ((0, (1, 2)), (2, (0, 1))):
        assert [getattr(tables[reader].status(one), "node", None) for one in others] == list(others)
        assert tables[reader].status(reader) is None
        assert tables[reader].silent_s(reader) == float("inf")
    own = read_status(tmp_path, 1)
    assert own == NodeStatus(1, host_name(), os.getpid(), tables[1].session, 2)
    assert len({one.session for one in tables}) == 3


def test_a_state_stays_with_its_chunk_until_another_is_set(tmp_path: Path) -> None:
    one = table(tmp_path, 1, Clock())
    one.set_state(RUNNING, chunk=3, message="m")
    one.set_state(WAITING)
    found = read_status(tmp_path, 1)
    assert found is not None
    assert (found.state, found.chunk, found.message, found.count) == (WAITING, 3, "", 2)
    one.set_state(RUNNING, chunk=0)
    assert read_status(tmp_path, 1).chunk == 0  # type: ignore[union-attr]


def test_a_table_writes_in_the_background_until_it_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = threading.Event()
    one = NodeTable(tmp_path / "a" / "nodes", 1, 2, interval_s=0.01)
    one.leave("not started")
    assert not (tmp_path / "a").exists()
    one.start()
    found = read_status(tmp_path / "a" / "nodes", 1)
    assert found is not None
    assert found.count == 1, "written before the thread runs"
    assert one._thread is not None
    assert (one._thread.daemon, one._thread.name) == (True, "node-1")
    monkeypatch.setattr(one, "tick", seen.set)
    assert seen.wait(10)
    one.leave("done")
    (tmp_path / "a" / "nodes" / "node_1.json").unlink()
    one.leave("again")
    assert read_status(tmp_path / "a" / "nodes", 1) is None, "it left once"
    NodeTable(tmp_path / "a" / "nodes", 1, 2).start()


def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    one = NodeTable(tmp_path / "gone", 1, 2, clock=Clock())
    (tmp_path / "gone").write_text("no folder")
    one.tick()
    (tmp_path / "gone").unlink()
    (tmp_path / "gone").mkdir()
    one.tick()
    found = read_status(tmp_path / "gone", 1)
    assert found is not None
    assert (found.count, found.state) == (2, WAITING)
    assert LEFT == "left"


@pytest.mark.parametrize("record", [{**asdict(ONE), "count": 9}, {**asdict(ONE), "more": 1}, []])
def test_a_status_is_read_by_its_fields(tmp_path: Path, record: Any) -> None:
    (tmp_path / "node_1.json").write_text(json.dumps(record))
    found = read_status(tmp_path, 1)
    assert (found is None) is (record == [])
    if found is not None:
        assert asdict(found) == {key: record[key] for key in asdict(ONE)}
