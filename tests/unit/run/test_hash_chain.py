"""A journal that was changed after it was written is noticed at the line of the change; an honest one never is.

pytest tests/unit/run/test_hash_chain.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.journals import lines_of, put_lines, rechain, unchained
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.hash_chain import FIRST, HARNESS, HEAD, chained_line, head_bytes, require_intact
from tinyworlds_gate.run.journal import Journal, inspect_journal, read_journal

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a journal of eight events."""
    folder = tmp_path / "results" / "a"
    with Journal(folder / "journal.jsonl") as journal:
        journal.append("run_started", schema=1, **{HARNESS: "f" * 64})
        for number in range(5):
            journal.append("chunk_started", chunk=number, command="träume")
        journal.append("gate_verdict", verdict="FAIL", measures={"mse": 0.5})
        journal.append("run_finished", status="failed")
    return folder


def problem_of(run: Path) -> str:
    found = inspect_journal(run / "journal.jsonl")
    assert found.problem is not None
    return found.problem


def edit(run: Path, line: int, old: bytes, new: bytes) -> None:
    lines = lines_of(run)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    put_lines(run, lines)


def edit_with_its_own_hash(run: Path) -> None:
    """Line 7 and its hash; the line after it stays."""
    lines = lines_of(run)
    before = json.loads(lines[5])["chain"]
    lines[6] = chained_line(unchained(lines[6]).replace(b"FAIL", b"PASS"), before)[0][:-1]
    put_lines(run, lines)


def without(*gone: int) -> Callable[[Path], None]:
    def remove(run: Path) -> None:
        put_lines(run, [line for number, line in enumerate(lines_of(run), start=1) if number not in gone])

    return remove


def renumbered(run: Path) -> None:
    lines = [line for number, line in enumerate(lines_of(run)) if number != 3]
    put_lines(
        run, [line.replace(f'"seq": {n + (n > 2)}'.encode(), f'"seq": {n}'.encode()) for n, line in enumerate(lines)]
    )


def swapped(run: Path) -> None:
    lines = lines_of(run)
    lines[2], lines[3] = lines[3], lines[2]
    put_lines(run, lines)


def doubled(run: Path) -> None:
    lines = lines_of(run)
    put_lines(run, [*lines[:4], *lines[3:]])


def one_hash_removed(run: Path) -> None:
    lines = lines_of(run)
    lines[4] = unchained(lines[4])
    put_lines(run, lines)


def all_hashes_removed(run: Path) -> None:
    put_lines(run, map(unchained, lines_of(run)))


def all_hashes_and_the_head_removed(run: Path) -> None:
    all_hashes_removed(run)
    (run / HEAD).unlink()


def hashes_of_the_beginning_removed(run: Path) -> None:
    lines = lines_of(run)
    rest = lines[3:]
    put_lines(run, [*map(unchained, lines[:3]), *rest])


def added_without_a_hash(run: Path) -> None:
    put_lines(run, [*lines_of(run), b'{"seq": 8, "time": 1.0, "event": "gate_verdict", "verdict": "PASS"}'])


BREAKS: list[tuple[Callable[[Path], object], str]] = [
    (lambda run: edit(run, 7, b"0.5", b"0.1"), "line 7 does not continue its hash chain"),
    (lambda run: edit(run, 1, b'"schema": 1', b'"schema": 1 '), "line 1 does not continue its hash chain"),
    (lambda run: edit(run, 8, b"failed", b"passed"), "line 8 does not continue its hash chain"),
    (edit_with_its_own_hash, "line 8 does not continue its hash chain"),
    (without(4), "has seq 4 in line 4, expected 3"),
    (renumbered, "line 4 does not continue its hash chain"),
    (swapped, "has seq 3 in line 3, expected 2"),
    (doubled, "has seq 3 in line 5, expected 4"),
    (one_hash_removed, "line 5 does not continue its hash chain"),
    (added_without_a_hash, "line 9 does not continue its hash chain"),
    (hashes_of_the_beginning_removed, "line 1 does not continue its hash chain"),
    (all_hashes_removed, "line 1 does not continue its hash chain"),
    (all_hashes_and_the_head_removed, "line 1 does not continue its hash chain"),
]


@pytest.mark.parametrize(("change", "said"), BREAKS, ids=range(len(BREAKS)))
def test_a_changed_line_is_named_and_the_rest_is_still_read(
    run: Path, change: Callable[[Path], object], said: str
) -> None:
    change(run)
    found = inspect_journal(run / "journal.jsonl")
    assert found.problem is not None
    assert said in found.problem
    assert found.note == found.problem
    assert len(found.events) >= 7
    with pytest.raises(GateError, match=said):
        read_journal(run / "journal.jsonl")
    with pytest.raises(GateError, match=said):
        Journal(run / "journal.jsonl")
    with pytest.raises(GateError, match=said):
        require_intact(found, run / "journal.jsonl")


def test_a_journal_that_was_never_edited_has_no_problem_and_shows_its_chain_at_the_end_of_the_run(run: Path) -> None:
    with Journal(run / "journal.jsonl") as journal:
        journal.append("report_written", id="A1")
    found = inspect_journal(run / "journal.jsonl")
    assert (found.problem, found.head_missing, found.chained_from, found.end) == (None, False, 0, 8)
    assert found.note == f"Hash chain of the journal after line 8: {json.loads(lines_of(run)[7])['chain']}."
    assert all("chain" not in event for event in found.events)


def test_a_journal_without_anything_that_shows_its_version_is_one_of_an_older_version(run: Path) -> None:
    lines = [unchained(line).replace(b', "harness_sha256": "' + b"f" * 64 + b'"', b"") for line in lines_of(run)]
    put_lines(run, lines)
    (run / HEAD).unlink()
    found = inspect_journal(run / "journal.jsonl")
    assert (found.problem, found.chained_from) == (None, None)
    assert found.note == "The journal has no hash chain: nothing shows whether it was edited."
    (run / HEAD).write_bytes(head_bytes(8, "a" * 64))
    assert "line 1 does not continue its hash chain" in problem_of(run)


def test_a_cut_end_is_noticed_by_the_head_also_with_a_chain_that_fits(run: Path) -> None:
    lines = lines_of(run)
    put_lines(run, lines[:6])
    assert "was cut after line 6: journal.head beside it records 8 lines" in problem_of(run)
    assert len(read_journal(run / "journal.jsonl")) == 6
    put_lines(run, [])
    assert "was cut after line 0" in problem_of(run)


def test_a_rewritten_journal_differs_from_its_head(run: Path) -> None:
    head = (run / HEAD).read_bytes()
    rechain(run, [line.replace(b"0.5", b"0.1") for line in lines_of(run)])
    assert inspect_journal(run / "journal.jsonl").problem is None, "without a secret nothing but the head shows it"
    (run / HEAD).write_bytes(head)
    assert "was rewritten up to line 8" in problem_of(run)


@pytest.mark.parametrize("content", [None, b"", b"no head\n"])
def test_a_head_that_is_gone_or_unreadable_leaves_the_end_unknown(run: Path, content: bytes | None) -> None:
    (run / HEAD).unlink()
    if content is not None:
        (run / HEAD).write_bytes(content)
    found = inspect_journal(run / "journal.jsonl")
    assert (found.problem, found.head_missing) == (None, True)
    assert "journal.head is gone" in found.note
    with pytest.raises(GateError, match=r"journal\.head is gone"):
        require_intact(found, run / "journal.jsonl")


# Honest runs


def test_a_head_that_lags_behind_refuses_nothing(run: Path) -> None:
    chains = [FIRST, *(json.loads(line)["chain"] for line in lines_of(run))]
    for lines, chain in enumerate(chains):
        (run / HEAD).write_bytes(head_bytes(lines, chain))
        assert inspect_journal(run / "journal.jsonl").problem is None


def test_a_torn_last_line_is_dropped_although_the_head_counts_it(run: Path) -> None:
    content = (run / "journal.jsonl").read_bytes()
    (run / "journal.jsonl").write_bytes(content[:-30])
    found = inspect_journal(run / "journal.jsonl")
    assert (found.problem, found.torn, len(found.events)) == (None, True, 7)
    with Journal(run / "journal.jsonl") as journal:
        journal.append("run_finished", status="failed")
    assert inspect_journal(run / "journal.jsonl").problem is None


KILLED = """
import os, sys, signal
from pathlib import Path
from tinyworlds_gate.run.journal import Journal
calls, when = 0, int(sys.argv[2])

def counted(name):
    original = getattr(os, name)
    def call(*arguments):
        global calls
        calls += 1
        if calls == when:
            if name == "write":
                original(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)
    setattr(os, name, call)

for name in ("open", "write", "pwrite", "fsync"):
    counted(name)
for start in range(2):
    with Journal(Path(sys.argv[1]) / "journal.jsonl") as journal:
        journal.append("step", harness_sha256="f")
        journal.append("step")
print(calls)
"""


def test_a_kill_at_any_call_of_the_writer_leaves_a_journal_that_can_be_continued(tmp_path: Path) -> None:
    def killed(folder: Path, when: int) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", KILLED, str(folder), str(when)]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY)

    calls = int(killed(tmp_path / "whole", 0).stdout)
    assert calls > 12
    for when in range(1, calls + 1, 2):
        folder = tmp_path / str(when)
        assert killed(folder, when).returncode == -9
        if not (folder / "journal.jsonl").exists():
            continue
        found = inspect_journal(folder / "journal.jsonl")
        assert found.problem is None, (when, found.problem)
        if found.events:
            require_intact(found, folder / "journal.jsonl")
        with Journal(folder / "journal.jsonl") as journal:
            journal.append("resumed")
        assert inspect_journal(folder / "journal.jsonl").problem is None


def test_a_journal_of_an_older_version_is_continued_with_a_chain_that_covers_its_lines(run: Path) -> None:
    put_lines(run, [unchained(line).replace(b"harness", b"other") for line in lines_of(run)])
    (run / HEAD).unlink()
    with Journal(run / "journal.jsonl"):
        pass
    assert inspect_journal(run / "journal.jsonl").problem is None, "killed before the first line of the new version"
    with Journal(run / "journal.jsonl") as journal:
        journal.append("run_started", resumed=True, **{HARNESS: "f" * 64})
    found = inspect_journal(run / "journal.jsonl")
    assert (found.problem, found.chained_from, len(found.events)) == (None, 8, 9)
    assert "Its first 8 lines have no chain" in found.note
    edit(run, 7, b"FAIL", b"PASS")
    assert "line 9 does not continue its hash chain" in problem_of(run)


def test_the_kept_journals_load_those_from_before_the_chain_too() -> None:
    chained = {}
    for path in (REPOSITORY / "docs/results/longrun").glob("*/journal.jsonl"):
        found = inspect_journal(path)
        assert found.problem is None
        assert len(found.events) > 50
        chained[path.parent.name] = found.chained_from
    assert {name: start for name, start in chained.items() if start is None} == {
        "longrun-crafter-seed0": None,
        "longrun-crafter-seed1": None,
    }
    assert {start for start in chained.values() if start is not None} == {0}, "the others from their first line on"
