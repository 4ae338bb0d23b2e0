"""The sentences on a failed child at their limits, over made-up results.

pytest tests/unit/launch/test_failure_text_edges.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tinyworlds_gate.launch.child import LOG_TAIL_LINES, ChildResult
from tinyworlds_gate.launch.failure_text import failure_sentence, failure_text, repeated_failure, shown_error
from tinyworlds_gate.launch.raised import Raised

END = "  rank      : {}\n  exitcode  : {} (pid: 7{})\n"
HEADING = "Root Cause (first observed failure):\n"


def result(**changes: Any) -> ChildResult:
    fields: dict[str, Any] = {
        "command": ("python", "train.py"),
        "exit_code": 1,
        "signal": None,
        "wall_s": 2.04,
        "pid": 7,
        "log": Path("logs/chunk.log"),
        "log_tail": (),
        "stopped": None,
        "ended": (),
    }
    return ChildResult(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "it exited with code 1 after 2.0 s (log: chunk.log)"),
        ({"log_tail": ("a", "ValueError: no")}, "it exited with code 1 after 2.0 s: ValueError: no (log: chunk.log)"),
        (
            {"exit_code": None, "signal": "SIGKILL", "log_tail": ("ValueError: no",)},
            "it was ended by SIGKILL after 2.0 s",
        ),
        ({"stopped": "no step"}, "it was stopped by the harness after 2.0 s: no step (log: chunk.log)"),
    ],
)
def test_a_sentence_names_the_end_and_its_reason(changes: dict[str, Any], said: str) -> None:
    assert failure_sentence(result(**changes)).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", None),
        ("all is well", None),
        ("[dynamics] error: first\n[dynamics] error: second\nValueError: x", "second"),
        ("ValueError: x\nKeyError: y", "KeyError: y"),
        ("[rank1]: ValueError: x", "ValueError: x"),
        ("torch.x.ChildFailedError: \nall", None),
        (f"E{'x' * 288}ValueError: ", f"E{'x' * 288}ValueError:"),
        ("torch.SignalException: Process 7 got signal: 15", "the launcher was signalled"),
        (HEADING + END.format(1, -9, 1), "rank 1 was ended by SIGKILL"),
        (HEADING + END.format(1, -200, 1), "rank 1 was ended by signal 200"),
        (HEADING + "  exitcode : -9\n", "a worker was ended by SIGKILL"),
        (HEADING + END.format(1, 0, 1), "rank 1 exited with code 0"),
        (END.format(0, 3, 0) + END.format(1, 4, 1), "rank 1 exited with code 4"),
        (END.format(0, 3, 0) + END.format(1, 4, 1) + "KeyError: y", "KeyError: y"),
    ],
)
def test_the_last_lines_show_the_error_or_the_signal(text: str, said: str | None) -> None:
    assert shown_error(text) == said


@pytest.mark.parametrize(("length", "cut"), [(299, False), (300, False), (301, True)])
def test_a_line_of_more_than_300_characters_is_cut(length: int, cut: bool) -> None:
    line = f"KeyError: {'y' * (length - 10)}"
    assert shown_error(line) == (f"{line[:300]}…" if cut else line)


def test_the_whole_text_has_the_last_lines_of_the_log() -> None:
    assert failure_text(result()) == (
        "python train.py\nexited with code 1 after 2.0 s. Its last lines:\n    (it wrote nothing)\n"
        "The whole log: logs/chunk.log"
    )
    lines = tuple(f"line {at}" for at in range(LOG_TAIL_LINES + 2))
    found = failure_text(result(log_tail=lines, exit_code=None, signal="SIGTERM", stopped="it hung")).splitlines()
    assert (
        found[1] == "was stopped by the harness because it hung; it was ended by SIGTERM after 2.0 s. Its last lines:"
    )
    assert found[2:-1] == [f"    {line}" for line in lines[2:]]


RAISED = Raised("KeyError", "a/b.py:3", "gone")


@pytest.mark.parametrize(
    ("tail", "shown"),
    [
        ((), "(it wrote nothing)"),
        (("a", "  b ", "", "c", "d"), "`b`; `c`; `d`"),
        (("a", "b", "c", "KeyError: gone", "x1", "x2", "x3", "x4"), "`b`; `c`; `KeyError: gone`"),
        (("KeyError: gone", "a", "KeyError: gone", "x1", "x2", "x3"), "`KeyError: gone`; `a`; `KeyError: gone`"),
        (("KeyError: other", "a", "b", "c"), "`a`; `b`; `c`"),
        (("ValueError: gone", "a", "b", "c"), "`a`; `b`; `c`"),
    ],
)
def test_a_repeated_failure_shows_the_lines_up_to_the_exception(tail: tuple[str, ...], shown: str) -> None:
    found = repeated_failure(RAISED, tail, "chunk.log")
    assert found.startswith(
        "The same failure came twice, and no other parameters mend it: KeyError: gone (at a/b.py:3). Last lines of "
        f"chunk.log: {shown}. Fix: "
    )


def test_the_fix_is_that_of_the_error_with_a_hint_after_it() -> None:
    other = Raised("ZeroDivisionError", None, "")
    general = "mend the cause in the code or the settings that the last lines name"
    assert f"Fix: {general}; then start" in repeated_failure(other, (), "x.log")
    assert f"Fix: {general}. go round; then start" in repeated_failure(other, (), "x.log", "go round")
    assert RAISED.fix is not None
    assert f"Fix: {RAISED.fix}; then start the run again." in repeated_failure(RAISED, (), "x.log")


@pytest.mark.parametrize(("length", "known"), [(79, False), (80, True), (100, True)])
def test_a_long_message_is_found_by_its_first_eighty_characters(length: int, known: bool) -> None:
    line = f"KeyError: {'m' * length}"
    found = repeated_failure(Raised("KeyError", None, "m" * 100), (line, "a", "b", "c"), "x.log")
    assert (f"Last lines of x.log: `{line}`. Fix" in found) is known
