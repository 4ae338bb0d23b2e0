"""The journal keeps every acknowledged event, tolerates a torn tail and refuses what it cannot read.

pytest tests/unit/run/test_journal.py
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.descriptors import without_stdin
from tinyworlds_gate.errors import DiskError, GateError
from tinyworlds_gate.run.journal import Journal, events_of, inspect_journal, last_event, read_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results" / "a" / "journal.jsonl"


def test_events_carry_their_sequence_time_and_fields_in_order(path: Path) -> None:
    with Journal(path) as journal:
        returned = journal.append("run_started", run="a", options={"max_mse": 0.03})
        journal.append("run_finished", status="passed")
    events = read_journal(path)
    assert [event["seq"] for event in events] == [0, 1]
    assert events[0] == returned
    assert events[0]["options"] == {"max_mse": 0.03}
    assert events[0]["time"] <= events[1]["time"]


def test_values_that_are_not_finite_become_null_at_any_depth(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("gate_verdict", mse=float("nan"), measures={"by_step": [1.0, float("inf")]})
    assert "NaN" not in path.read_text()
    event = read_journal(path)[0]
    assert event["mse"] is None
    assert event["measures"]["by_step"] == [1.0, None]


def test_numpy_values_dataclasses_and_sets_become_plain_json(path: Path) -> None:
    @dataclass
    class Shape:
        size: int
        at: Path

    with Journal(path) as journal:
        journal.append(
            "x",
            count=np.int64(3),
            loss=np.float32(0.5),
            flag=np.bool_(True),
            many=np.arange(3),
            one=Shape(2, Path("a")),
            ids={"b", "a"},
        )
    event = read_journal(path)[0]
    assert (event["count"], event["loss"], event["flag"], event["many"]) == (3, 0.5, True, [0, 1, 2])
    assert event["one"] == {"size": 2, "at": "a"}
    assert event["ids"] == ["a", "b"]


def test_paths_inside_the_project_are_written_relative_to_it(path: Path, tmp_path: Path) -> None:
    with Journal(path, project_root=tmp_path) as journal:
        event = journal.append("chunk_started", log=tmp_path / "results" / "log.txt", checkpoint=Path("/elsewhere/x"))
    assert event["log"] == "results/log.txt"
    assert event["checkpoint"] == "/elsewhere/x"


def test_a_value_that_json_does_not_know_names_its_field_and_writes_nothing(path: Path) -> None:
    with Journal(path) as journal:
        with pytest.raises(TypeError, match=r"field 'measures\.raw'.*bytes"):
            journal.append("gate_verdict", measures={"raw": b"\x00"})
        with pytest.raises(TypeError, match=r"field 'thing'.*object"):
            journal.append("gate_verdict", thing=object())
    assert read_journal(path) == []


def test_a_field_that_the_journal_writes_itself_is_refused(path: Path) -> None:
    with Journal(path) as journal, pytest.raises(ValueError, match="seq"):
        journal.append("x", seq=4)


@pytest.mark.parametrize(
    "tail", ['{"seq": 1, "event": "chu', '{"seq": 1, "time": 2.0, "event": "whole but unended"}', "\x00\x00\n"]
)
def test_a_torn_last_line_is_dropped_on_reading(path: Path, tail: str) -> None:
    with Journal(path) as journal:
        journal.append("run_started")
    with open(path, "a") as file:
        file.write(tail)
    assert [event["event"] for event in read_journal(path)] == ["run_started"]


def test_a_torn_tail_is_moved_aside_before_the_next_append(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("run_started")
    with open(path, "a") as file:
        file.write('{"seq": 1, "ev')
    with Journal(path) as journal:
        journal.append("interrupted", signal="SIGTERM")
    assert [(event["seq"], event["event"]) for event in read_journal(path)] == [(0, "run_started"), (1, "interrupted")]
    assert path.with_name("journal.jsonl.torn").read_text() == '{"seq": 1, "ev\n'


def test_damage_before_the_last_line_is_refused_with_its_line(path: Path) -> None:
    with Journal(path) as journal:
        for name in ("a", "b", "c"):
            journal.append(name)
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:9]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(GateError, match="damaged in line 2"):
        read_journal(path)
    with pytest.raises(GateError, match="damaged in line 2"):
        Journal(path)


def test_a_missing_line_in_the_middle_is_noticed(path: Path) -> None:
    with Journal(path) as journal:
        for name in ("a", "b", "c"):
            journal.append(name)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[2]]) + "\n")
    with pytest.raises(GateError, match="seq 2 in line 2, expected 1"):
        read_journal(path)


def test_a_second_writer_is_refused(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("run_started")
        with pytest.raises(GateError, match="written by another process"):
            Journal(path)


def test_a_missing_journal_is_one_sentence(path: Path) -> None:
    with pytest.raises(GateError, match="No journal at"):
        read_journal(path)


def test_a_writer_that_is_killed_loses_no_acknowledged_event(path: Path) -> None:
    script = (
        "import sys, os, signal\n"
        "from pathlib import Path\n"
        "from tinyworlds_gate.run.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for _ in range(20): journal.append('step')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    with Journal(path) as journal:
        assert journal.append("resumed")["seq"] == 20
    assert len(read_journal(path)) == 21


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """What reached the disk: the name and the content of each file or folder at its fsync."""
    found: list[tuple[str, bytes]] = []
    fsync = os.fsync

    def seen(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        found.append((path.name, b"" if stat.S_ISDIR(os.fstat(fd).st_mode) else path.read_bytes()))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", seen)
    return found


def test_an_event_is_on_the_disk_when_it_is_acknowledged(path: Path, synced: list[tuple[str, bytes]]) -> None:
    with Journal(path) as journal:
        assert synced == [("a", b"")], "the folder, with the name of the new file"
        for name in ("run_started", "chunk_started"):
            journal.append(name)
            assert synced[-1] == ("journal.jsonl", path.read_bytes())
    assert len(synced) == 3


def test_a_torn_tail_is_on_the_disk_before_it_is_cut_off(path: Path, synced: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"seq": 0, "ev')
    with Journal(path):
        assert synced[:2] == [("journal.jsonl.torn", b'{"seq": 0, "ev\n'), ("journal.jsonl", b"")]


def test_a_full_disk_is_a_clear_error_and_leaves_whole_lines(path: Path) -> None:
    script = (
        "import sys, resource\n"
        "from pathlib import Path\n"
        "from tinyworlds_gate.run.journal import Journal\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for _ in range(20): journal.append('step', text='x' * 60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], check=False, timeout=60, capture_output=True, text=True
    )
    assert "DiskError: Cannot write the journal" in done.stderr
    assert "Free the disk" in done.stderr
    lines = path.read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(len(lines)))
    assert 1 <= len(lines) < 20


def test_events_are_chosen_by_name_and_fields() -> None:
    events = [
        {"seq": 0, "event": "chunk_finished", "stage": "dynamics", "chunk": 1},
        {"seq": 1, "event": "chunk_finished", "stage": "dynamics", "chunk": 2},
        {"seq": 2, "event": "stage_gate", "stage": "dynamics"},
    ]
    assert [event["seq"] for event in events_of(events, "chunk_finished", stage="dynamics")] == [0, 1]
    assert last_event(events, "chunk_finished") == events[1]
    assert last_event(events, "run_finished") is None


HARASSED = """
import signal, sys
from pathlib import Path
from tinyworlds_gate.run.journal import Journal, read_journal

def interrupt(number, frame):
    raise KeyboardInterrupt

path, interrupts, acknowledged = Path(sys.argv[1]), 0, []
signal.signal(signal.SIGALRM, interrupt)
with Journal(path) as journal:
    for number in range(100_000):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.00001 + number % 50 * 0.00001)
            acknowledged.append(journal.append("step", number=number, filling="x" * 500)["number"])
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupts += 1
        if interrupts == 300:
            break
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    journal.append("last")
numbers = [event.get("number") for event in read_journal(path)]
assert interrupts == 300, interrupts
assert set(acknowledged) <= set(numbers), "an acknowledged event is lost"
assert len(numbers) == len(set(numbers)), "an event occurs twice"
assert numbers[-1] is None
"""


def test_a_signal_at_any_moment_of_an_append_leaves_a_whole_journal(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HARASSED, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_journal_whose_folder_was_renamed_says_so_and_keeps_its_events(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "run"
    with Journal(folder / "journal.jsonl") as journal:
        journal.append("a")
        journal.require_in_place()
        folder.rename(tmp_path / "away")
        said = re.escape(f"The run's folder {folder} was renamed, removed or replaced while the run is going on.")
        with pytest.raises(GateError, match=said), journal.in_place():
            (folder / "log").read_bytes()
        journal.append("b")
    assert [event["event"] for event in journal.events()] == ["a", "b"]
    assert [event["event"] for event in read_journal(tmp_path / "away" / "journal.jsonl")] == ["a", "b"]


def test_a_file_of_the_run_that_is_gone_is_named(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "journal.jsonl") as journal,
        pytest.raises(GateError, match=r"logs/chunk\.log is gone: a folder of the run was renamed or removed"),
        journal.in_place(),
    ):
        (tmp_path / "logs" / "chunk.log").read_bytes()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_journal_is_written_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append("a")
    assert len(read_journal(tmp_path / "journal.jsonl")) == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOSPC])
def test_a_journal_that_cannot_be_opened_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DiskError, match=re.escape(f"Cannot open the journal {tmp_path / 'j'}: {os.strerror(number)}")):
        Journal(tmp_path / "j")


def test_an_append_does_not_read_the_journal_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal:
        monkeypatch.setattr(Journal, "_catch_up", lambda self: pytest.fail("read again"))
        assert [journal.append("a")["seq"], journal.append("b")["seq"]] == [0, 1]


def test_a_whole_line_that_is_no_event_is_moved_aside_as_it_is(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x00\x00\n")
    with Journal(path) as journal:
        assert journal.append("a")["seq"] == 0
    assert path.with_name("journal.jsonl.torn").read_bytes() == b"\x00\x00\n"


def test_a_closed_journal_keeps_its_events_and_may_be_closed_again(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("a")
    assert [event["event"] for event in journal.events()] == ["a"]
    path.parent.rename(path.parent.with_name("b"))
    journal.close()
    journal.require_in_place()


def test_a_journal_may_have_the_first_descriptor(path: Path) -> None:
    """A process without an open stdin gets descriptor 0 for the first file that it opens."""
    path.parent.mkdir(parents=True)
    with without_stdin():
        with Journal(path) as journal:
            journal.append("a")
            path.parent.rename(path.parent.with_name("b"))
            assert [event["event"] for event in journal.events()] == ["a"]
            with pytest.raises(GateError, match="was renamed, removed or replaced"):
                journal.require_in_place()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
    assert [event["event"] for event in journal.events()] == ["a"]


@pytest.mark.parametrize(("folder", "shown"), [("results/a", "results/a"), ("elsewhere/a", "{}/elsewhere/a")])
def test_a_problem_names_a_run_by_its_folder_in_the_project(tmp_path: Path, folder: str, shown: str) -> None:
    path = tmp_path / folder / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("a", number=1)
    path.write_bytes(path.read_bytes().replace(b'"number": 1', b'"number": 2'))
    problem = inspect_journal(path).problem
    assert problem is not None
    assert problem.startswith(f"The journal {shown.format(tmp_path)}/journal.jsonl was changed after it was written")
