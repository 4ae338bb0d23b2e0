"""Limits of a journal's lines, its end, its head, and the sentences on them.

pytest tests/unit/run/test_hash_chain_edges.py
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run import hash_chain
from tinyworlds_gate.run.hash_chain import (
    FIRST,
    HEAD,
    JournalState,
    as_event,
    chained_line,
    chained_lines,
    end_problem,
    head_bytes,
    read_head,
    read_lines,
    require_intact,
)

FIX = "restore the file from a copy or start a new run."


def body(seq: int, length: int = 0, **fields: Any) -> bytes:
    """Return a line's JSON, padded to ``length`` bytes with its line end."""
    text = json.dumps({"seq": seq, "event": "x", **fields})
    return (text[:-1] + " " * max(0, length - len(text) - 1) + "}").encode()


def read(*lines: bytes, head: tuple[int, str] | None = None) -> JournalState:
    return read_lines(Path("j"), io.BytesIO(b"".join(lines)), head)


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ((100, 50), None),
        ((101,), "line 1 has more than 16 MiB"),
        ((50, 101), "line 2 has more than 16 MiB"),
        ((40, 40, 101), "line 3 has more than 16 MiB"),
        ((100, 51), "it has more than 512 MiB"),
        ((50, 50, 51), "it has more than 512 MiB"),
    ],
)
def test_a_line_and_a_journal_have_a_largest_size(
    lengths: tuple[int, ...], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (hash_chain.LONGEST_LINE, hash_chain.LONGEST_JOURNAL) == (16 * 2**20, 512 * 2**20)
    monkeypatch.setattr(hash_chain, "LONGEST_LINE", 100)
    monkeypatch.setattr(hash_chain, "LONGEST_JOURNAL", 150)
    lines = [body(seq, length) + b"\n" for seq, length in enumerate(lengths)]
    assert [len(line) for line in lines] == list(lengths)
    if said is None:
        assert (read(*lines).size, len(read(*lines).events)) == (150, 2)
        return
    said = said.replace("16 MiB", "0 MiB").replace("512 MiB", "0 MiB")
    with pytest.raises(
        GateError, match=f"^The journal j cannot be read: {said}, which no run writes; {re.escape(FIX)}$"
    ):
        read(*lines)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b'{"seq": 0, "event": "x", "chain": "c", "a": 1}', {"seq": 0, "event": "x", "a": 1}),
        *((line, None) for line in (
            b"", b"[]", b"7", b'{"event": "x"}', b'{"seq": 0}', b'{"seq": true, "event": "x"}',
            b'{"seq": "0", "event": "x"}', b'{"seq": 0.0, "event": "x"}', b'{"seq": 0, "event": 1}',
            b'{"seq": 0, "event": "x"', b"\xff",
        )),
    ],
)  # fmt: skip
def test_an_event_has_a_number_and_a_name(line: bytes, event: dict[str, Any] | None) -> None:
    assert as_event(line) == event


def test_a_line_as_long_as_the_limit_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_chain, "LONGEST_LINE", 60)
    assert as_event(body(0, 61)) is not None
    assert as_event(body(0, 62)) is None


def test_the_chain_begins_with_the_lines_before_it() -> None:
    bodies = [body(0), body(1), body(2)]
    for start in (0, 1, 3, None):
        content, last = chained_lines(bodies, start)
        found = read(content)
        before = b"".join(one + b"\n" for one in bodies[: 3 if start is None else start])
        chain, chains = digest(before), [*[""] * (3 if start is None else start), digest(before)]
        for one in bodies[3 if start is None else start :]:
            chain = digest(chain.encode() + one)
            chains.append(chain)
        assert (list(found.chains), last, found.problem) == (chains, chains[-1], None)
        assert found.chained_from == (start if start in (0, 1) else None)
        assert (found.size, found.torn, len(found.events)) == (len(content), False, 3)
    assert chained_lines(bodies) == chained_lines(bodies, 0)
    assert chained_line(bodies[0], FIRST)[1] == digest(FIRST.encode() + bodies[0])
    assert read().chains == [FIRST]


@pytest.mark.parametrize("torn", [b'{"seq": 1, "ev', b"\x00\x00\n"])
def test_only_the_last_line_may_be_torn(torn: bytes) -> None:
    whole, _ = chained_lines([body(0)])
    found = read(whole, torn)
    assert (found.problem, found.torn, found.size, len(found.events)) == (None, True, len(whole), 1)
    damaged = f"The journal j is damaged in line 2: it is no event. Only a last line may be torn; {FIX}"
    rest, _ = chained_lines([body(0), body(1)])
    assert read(whole, b"\x00\x00\n", rest).problem == damaged
    with pytest.raises(GateError, match=re.escape(damaged)):
        read(body(0) + b"\n", b"\x00\x00\n", body(1) + b"\n")


def test_lines_that_are_missing_are_named_by_their_numbers() -> None:
    said = "The journal j has seq 2 in line 2, expected 1: lines are missing, doubled or moved; "
    with pytest.raises(GateError, match=re.escape(said)):
        read(body(0) + b"\n", body(2) + b"\n")


BROKEN = (
    "The journal j was changed after it was written: line {} does not continue its hash chain, so that this line or "
    "the "
    f"one before it was changed, removed or inserted. Nothing from there on counts; {FIX}"
)
NEWER = ({"harness_sha256": "f"}, {"binding": {"harness_sha256": "f"}})


@pytest.mark.parametrize("newer", NEWER)
def test_a_version_that_chains_its_journals_leaves_no_line_without_a_chain(newer: dict[str, Any]) -> None:
    assert read(body(0) + b"\n", body(1, **newer) + b"\n").problem == BROKEN.format(1)
    mixed, _ = chained_lines([body(0, **newer), body(1)], 1)
    assert read(mixed).problem == BROKEN.format(1)
    assert read(body(0, binding=None) + b"\n", body(1, binding=["harness_sha256"]) + b"\n").problem is None


def test_a_head_shows_that_a_chain_was_removed() -> None:
    lines = [body(seq) + b"\n" for seq in range(3)]
    at_two = digest(b"".join(lines[:2]))
    assert read(*lines, head=(2, at_two)).problem is None
    assert read(*lines, head=(0, FIRST)).problem is None
    assert read(*lines, head=(3, digest(b"".join(lines)))).problem is None
    for head in ((2, "0" * 64), (1, at_two), (4, at_two)):
        found = read(*lines, head=head)
        assert (found.problem, found.chained_from) == (BROKEN.format(1), 0)
    assert read(head=(1, at_two)).problem is None


def test_the_end_of_a_journal_is_compared_with_its_head() -> None:
    content, last = chained_lines([body(0), body(1)])
    found = read(content)
    assert end_problem(Path("j"), found, (2, last)) is None
    assert end_problem(Path("j"), found, (1, found.chains[1])) is None
    assert end_problem(Path("j"), replace(found, torn=True), (3, "0" * 64)) is None
    cut = f"The journal j was cut after line 2: {HEAD} beside it records {{}} lines; {FIX}"
    assert end_problem(Path("j"), found, (3, last)) == cut.format(3)
    assert end_problem(Path("j"), replace(found, torn=True), (4, last)) == cut.format(4)
    rewritten = (
        f"The journal j was rewritten up to line 2: its hash chain there is not the one that {HEAD} beside it "
        f"records; {FIX}"
    )
    assert end_problem(Path("j"), found, (2, "0" * 64)) == rewritten
    later, _ = chained_lines([body(0), body(1)], 1)
    assert end_problem(Path("j"), read(later), (0, "0" * 64)) is None, "nothing is known of lines before the chain"


def test_a_head_has_one_length_and_is_read_back(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    assert read_head(journal) is None
    for lines in (0, 7, 123456789012):
        content = head_bytes(lines, "a" * 64)
        assert len(content) == 12 + 1 + 64 + 1
        (tmp_path / HEAD).write_bytes(content)
        assert read_head(journal) == (lines, "a" * 64)
    for content in (b"", b"x", head_bytes(1, "a" * 63), head_bytes(1, "g" * 64), head_bytes(1, "a" * 64) + b"\n"):
        (tmp_path / HEAD).write_bytes(content)
        assert read_head(journal) is None


def test_the_note_covers_the_run_s_end() -> None:
    ends = [body(0), json.dumps({"seq": 1, "event": "run_finished"}).encode(), body(2)]
    found = read(chained_lines(ends)[0])
    assert found.end == 2
    assert found.note == f"Hash chain of the journal after line 2: {found.chains[2]}."
    assert read(chained_lines([body(0), body(1)])[0]).end == 2
    part = replace(read(chained_lines(ends, 1)[0]), head_missing=True)
    assert part.note == (
        f"Hash chain of the journal after line 2: {part.chains[2]}. Its first 1 lines have no chain: nothing shows "
        f"whether "
        f"they were edited. {HEAD} is gone: nothing shows whether the end is complete."
    )
    assert read(body(0) + b"\n").note == "The journal has no hash chain: nothing shows whether it was edited."
    assert replace(found, problem="bad").note == "bad"
    require_intact(found, Path("j"))
    gone = (
        f"{Path('a') / HEAD} is gone, so that nothing shows whether the end of the journal is complete: restore it from"
    )
    with pytest.raises(GateError, match=re.escape(gone)):
        require_intact(part, Path("a/j"))
    with pytest.raises(GateError, match=r"^bad$"):
        require_intact(replace(found, problem="bad"), Path("j"))
