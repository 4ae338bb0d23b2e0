"""Following growing files: journal, heartbeats, histories, folders; incomplete, truncated, replaced, missing.

python -m pytest tests/unit/watch/test_following.py
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from tests.helpers.watched_runs import START, WatchedRun
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.reference.training.history import HistoryFile
from tinyworlds_gate.run.heartbeat import Heartbeat
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.watch.followers import BEATS_BYTES, BeatsFollower, LossesFollower
from tinyworlds_gate.watch.journal_follower import JournalFollower
from tinyworlds_gate.watch.reader import RunReader
from tinyworlds_gate.watch.tail import Tail

pytestmark = pytest.mark.requirement("M4")


def test_a_file_is_read_from_where_the_last_call_stopped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    tail = Tail(path)
    assert tail.read().lines == []
    assert tail.modified_s is None
    path.write_bytes(b"one\ntw")
    assert tail.read().lines == [b"one"]
    assert tail.read().lines == []
    with path.open("ab") as file:
        file.write(b"o\nthree\n")
    assert tail.read().lines == [b"two", b"three"]
    assert tail.modified_s == path.stat().st_mtime


@pytest.mark.parametrize("how", ["replaced", "cut", "removed and made again"])
def test_a_replaced_file_is_read_from_its_beginning_and_reported_as_restarted(how: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    tail = Tail(path)
    assert not tail.read().restarted
    if how == "replaced":
        (tmp_path / "new").write_bytes(b"four\nfive\nsix\n")
        os.replace(tmp_path / "new", path)
    elif how == "cut":
        path.write_bytes(b"four\n")
    else:
        path.unlink()
        assert tail.read().lines == []
        path.write_bytes(b"four\n")
    read = tail.read()
    assert read.restarted
    assert read.lines[0] == b"four"


def test_a_long_file_is_read_near_its_end_from_a_complete_line_with_its_header(tmp_path: Path) -> None:
    path = tmp_path / "file"
    lines = [b"header", *(b"line %d" % number for number in range(1000))]
    path.write_bytes(b"\n".join(lines) + b"\n")
    tail = Tail(path, last_bytes=100)
    read = tail.read().lines
    assert tail.first_line == b"header"
    assert 2 < len(read) <= 11
    assert read == lines[-len(read) :]


def test_a_journal_cut_into_any_pieces_gives_each_event_once(tmp_path: Path) -> None:
    source = WatchedRun(tmp_path / "source").begin()
    for number in range(1, 9):
        source.chunk(number, "dynamics", 10.0 * number)
    content = source.layout.journal.read_bytes()
    wanted = [json.loads(line)["seq"] for line in content.splitlines()]
    rng = random.Random(0)
    for _ in range(20):
        path = tmp_path / f"journal_{_}.jsonl"
        follower, found, at = JournalFollower(path), [], 0
        while at < len(content):
            size = rng.randint(1, 900)
            with path.open("ab") as file:
                file.write(content[at : at + size])
            at += size
            found += [event["seq"] for event in follower.poll().events]
        assert found == wanted


def test_an_incomplete_last_line_of_a_killed_harness_waits_until_the_next_harness_truncates_it(tmp_path: Path) -> None:
    run = WatchedRun(tmp_path).begin()
    follower = JournalFollower(run.layout.journal)
    assert len(follower.poll().events) == 2
    for torn in (b'{"seq": 2, "ev', b"\x00\x00\n"):
        with run.layout.journal.open("ab") as file:
            file.write(torn)
        assert follower.poll().events == []
        with Journal(run.layout.journal) as journal:
            written = journal.append("stage_finished", stage="dynamics")
        found = follower.poll()
        assert (found.events, found.restarted) == ([written], False)


@pytest.mark.parametrize("run_name", ["a", "run_of_a_longer_name_than_the_first"])
def test_another_journal_written_over_the_first_in_place_is_read_from_its_beginning(
    run_name: str, tmp_path: Path
) -> None:
    run = WatchedRun(tmp_path).begin()
    follower = JournalFollower(run.layout.journal)
    follower.poll()
    other = WatchedRun(tmp_path / "other", run_name).begin()
    for number in (1, 2, 3):
        other.chunk(number, "dynamics", 1.0)
    run.layout.journal.write_bytes(other.layout.journal.read_bytes())  # the same inode, and longer than before
    found = follower.poll()
    assert found.restarted
    assert [event["seq"] for event in found.events] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("damage", ["no event", "a line is missing"])
def test_a_journal_damaged_in_its_middle_is_reported_in_a_sentence(damage: str, tmp_path: Path) -> None:
    run = WatchedRun(tmp_path).begin()
    run.chunk(1, "dynamics", 1.0)
    lines = run.layout.journal.read_bytes().splitlines(keepends=True)
    run.layout.journal.write_bytes(b"".join([lines[0], *([b"{}\n"] if damage == "no event" else []), lines[2]]))
    said = "it is not an event" if damage == "no event" else "it has seq 2, expected 1"
    with pytest.raises(GateError, match=f"is damaged in line 2: {said}"):
        JournalFollower(run.layout.journal).poll()


def test_a_run_whose_journal_is_replaced_is_watched_from_its_new_beginning(tmp_path: Path) -> None:
    run = WatchedRun(tmp_path).begin()
    run.chunk(1, "dynamics", 1.0)
    reader = RunReader(run.layout)
    assert reader.read().state.chunk is not None
    run.layout.journal.unlink()
    gone = reader.read()
    assert (gone.facts.journal_exists, gone.state.chunk is not None) == (False, True)
    run.seq = 0
    run.begin()
    assert reader.read().state.chunk is None


def test_heartbeats_of_the_real_writer_are_followed_by_rank(tmp_path: Path) -> None:
    follower = BeatsFollower(tmp_path / "heartbeats")
    assert follower.read() == {}
    with Heartbeat(tmp_path / "heartbeats", 0) as first, Heartbeat(tmp_path / "heartbeats", 1) as second:
        first.beat(4, force=True)
        assert {rank: beats[-1].step for rank, beats in follower.read().items()} == {0: 4, 1: -1}
        second.beat(5, force=True)
        beats = follower.read()
    assert (beats[1][-1].step, beats[1][-1].pid, beats[1][-1].device) == (5, os.getpid(), "cpu")
    assert [beat.step for beat in beats[0]] == [-1, 4]


def test_only_the_newest_heartbeats_of_a_long_chunk_are_read(tmp_path: Path) -> None:
    run = WatchedRun(tmp_path)
    for second in range(1500):
        run.beat(1, 0, second, 3 * second)
    (file,) = run.layout.chunk_heartbeats(1).iterdir()
    assert file.stat().st_size > 2 * BEATS_BYTES
    beats = BeatsFollower(run.layout.chunk_heartbeats(1)).read()[0]
    assert beats[-1].step == 3 * 1499
    assert 100 < len(beats) <= 300


def test_a_rank_that_was_started_again_is_followed_in_its_new_process(tmp_path: Path) -> None:
    run = WatchedRun(tmp_path)
    follower = BeatsFollower(run.layout.chunk_heartbeats(1))
    run.beat(1, 0, 10.0, 70, pid=900)
    follower.read()
    run.beat(1, 0, 20.0, 2, pid=100)  # its file sorts before the earlier one
    run.beat(1, 0, 11.0, 71, pid=900)
    assert [(beat.pid, beat.step) for beat in follower.read()[0]] == [(100, 2)]
    with (run.layout.chunk_heartbeats(1) / "rank_0_100.jsonl").open("a") as file:
        file.write('{"rank": "zero"}\nnonsense\n')
    assert follower.read()[0][-1].step == 2


def test_the_history_of_the_real_writer_is_followed_over_chunks_and_a_retry(tmp_path: Path) -> None:
    path = tmp_path / "dynamics_history_run.csv"
    follower = LossesFollower(path)
    follower.read()

    def write(start: int, end: int) -> None:
        history = HistoryFile(path, start)
        for update in range(start, end):
            history.write(update, {"train/loss": 1.0 + update, "learning_rate/group_0": 0.1})
        history.close()

    write(0, 10)
    follower.read()
    assert (follower.losses.last_step, follower.losses.last_loss, follower.losses.lowest) == (9, 10.0, 1.0)
    assert len(follower.arrivals(0.0).times) == 1
    follower.chunk_start = 10
    HistoryFile(path, 10).close()  # the next chunk begins with the rows of the first: nothing has moved
    follower.read()
    assert follower.losses.last_step == 9
    assert len(follower.arrivals(0.0).times) == 1
    write(10, 20)
    follower.read()
    assert sum(part.count for part in follower.losses.curve) == 20
    assert len(follower.arrivals(0.0).times) == 2
    follower.chunk_start = 15  # a failed try goes on from a checkpoint: its rows from there on are written again
    write(15, 18)
    follower.read()
    assert follower.losses.last_step == 17
    assert len(follower.arrivals(0.0).times) == 3


def test_a_loss_that_is_not_finite_is_reported_with_its_update(tmp_path: Path) -> None:
    run = WatchedRun(tmp_path)
    follower = LossesFollower(run.rows("dynamics", [0.5, float("nan"), 0.4]))
    follower.read()
    found = follower.losses
    assert (found.not_finite, found.last_loss, found.lowest, len(found.curve)) == (1, 0.4, 0.4, 2)


def test_a_removed_checkpoint_still_counts_for_the_interval(tmp_path: Path) -> None:
    run = WatchedRun(tmp_path).begin()
    run.chunk(1, "dynamics", 0.0)
    reader = RunReader(run.layout)
    first = run.checkpoint("dynamics", 9, 120.0)
    assert reader.read().facts.checkpoints.times == (START + 120.0,)
    run.checkpoint("dynamics", 19, 240.0)
    (run.layout.checkpoints("dynamics") / ".dynamics_step_29.tmp").mkdir()
    first.rename(first.with_name(f".pruned-{first.name}"))
    moves = reader.read().facts.checkpoints
    assert (moves.newest, moves.times) == ("dynamics_step_19", (START + 120.0, START + 240.0))
