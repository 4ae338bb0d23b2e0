"""Torchrun's summary and error file at their limits (the causes: test_cause.py).

pytest tests/unit/launch/test_cause_edges.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyworlds_gate.launch.cause import WorkerEnd, first_to_fail, read_error_file, worker_ends

HEADING = "Root Cause (first observed failure):\n"
END = "  rank      : {}\n  exitcode  : {} (pid: {})\n"


def test_the_root_cause_is_what_follows_its_heading() -> None:
    first, second = END.format(1, -9, 71), END.format(0, 1, 70)
    assert worker_ends(HEADING + first) == [WorkerEnd(-9, 71, True, 1)]
    assert worker_ends(first) == [WorkerEnd(-9, 71, False, 1)]
    assert worker_ends(first + HEADING + second) == [WorkerEnd(-9, 71, False, 1), WorkerEnd(1, 70, True, 0)]
    assert worker_ends(" exitcode : 3\n") == [WorkerEnd(3, None, False, None)]


@pytest.mark.parametrize(
    ("root_code", "other_code", "said", "first_pid"),
    [
        (-9, 1, "", 70),
        (1, -9, "", 70),
        (1, -9, "connection reset by peer", 71),
        (1, -9, "connection reset by peer\nSending process 71 closing signal SIGTERM", 70),
        (1, 2, "connection reset by peer", 70),
        (-6, -9, "connection reset by peer", 71),
        (-6, -9, "", 70),
        (0, -9, "broken pipe", 71),
    ],
)
def test_the_first_to_fail_is_the_root_cause_or_the_peer_it_lost(
    root_code: int, other_code: int, said: str, first_pid: int
) -> None:
    text = f"{said}\n" + END.format(1, other_code, 71) + HEADING + END.format(0, root_code, 70)
    found = first_to_fail(text)
    assert found is not None
    assert found.pid == first_pid


def test_an_error_file_is_read_up_to_one_mebibyte(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    frame = len('{"message": ""}')
    for longer, shown in ((0, "x"), (1, '{"message": "x')):
        path.write_text('{"message": "' + "x " * ((2**20 - frame) // 2) + "x" * ((2**20 - frame) % 2 + longer) + '"}')
        found = read_error_file(path)
        assert found is not None
        assert found.startswith(shown)
    assert read_error_file(tmp_path / "gone.json") is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"message": {"message": "m", "extraInfo": {"py_callstack": "c"}}}', "m\nc"),
        ('{"message": {"message": "m", "extraInfo": {}}}', "m\n"),
        ('{"message": {"message": "m"}}', "m\n"),
        ('{"message": {}}', '{"message": {}}'),
        ('{"message": 5}', '{"message": 5}'),
        ('{"other": 5}', '{"other": 5}'),
        ("[]", "[]"),
        ("torn {", "torn {"),
    ],
)
def test_an_error_file_of_another_form_is_shown_as_it_is(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "error.json").write_text(content)
    assert read_error_file(tmp_path / "error.json") == expected
