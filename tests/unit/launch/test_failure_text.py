"""Failure sentence of a child process, from its last log lines.

pytest tests/unit/launch/test_failure_text.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit.launch.test_cause import CLOSING, PEER_GONE, SUMMARY, summary
from tinyworlds_gate.launch.child import ChildResult, run_child
from tinyworlds_gate.launch.failure_text import failure_sentence


def failed(*lines: str, code: int | None = 1, name: str | None = None, stopped: str | None = None) -> str:
    text = "\n".join(lines)
    return failure_sentence(
        ChildResult(
            command=("python", "train.py"),
            exit_code=code,
            signal=name,
            wall_s=12.34,
            pid=7,
            log=Path("results/a/logs/chunk_001_dynamics.log"),
            log_tail=tuple(text.splitlines()),
            stopped=stopped,
        )
    )


TRACEBACK = "Traceback (most recent call last):\n  File x, line 1, in train\n    step()\n"
CHILD_FAILED = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "


@pytest.mark.requirement("A5", "H9")
@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([f"{TRACEBACK}ValueError: no such clip"], "ValueError: no such clip"),
        ([f"[rank1]: {TRACEBACK}", "[rank1]: torch.cuda.SomeError: bad"], "torch.cuda.SomeError: bad"),
        (["  [dynamics] error: the loss of update 7 is nan", CHILD_FAILED], "the loss of update 7 is nan"),
        ([PEER_GONE, CHILD_FAILED, "ValueError: the first one"], "ValueError: the first one"),
        ([CLOSING, CHILD_FAILED, SUMMARY], "rank 1 was ended by SIGKILL"),
        ([PEER_GONE, summary((-9, 11), (1, 10))], "a worker was ended by SIGKILL"),
        ([PEER_GONE, summary((-11, 11), (-6, 10))], "a worker was ended by SIGSEGV"),
        ([summary((3, 10))], "a worker exited with code 3"),
        ([f"{TRACEBACK}x.y.SignalException: Process 9 got signal: 15"], "the launcher was signalled"),
    ],
)
def test_the_sentence_reports_the_first_failure_in_the_last_lines(lines: list[str], why: str) -> None:
    assert failed(*lines) == f"it exited with code 1 after 12.3 s: {why} (log: chunk_001_dynamics.log)"


def test_without_an_error_line_the_exit_code_is_reported() -> None:
    assert failed("loss 0.1", code=9) == "it exited with code 9 after 12.3 s (log: chunk_001_dynamics.log)"
    assert failed() == "it exited with code 1 after 12.3 s (log: chunk_001_dynamics.log)"


def test_a_signal_or_a_stop_by_the_harness_takes_precedence_over_the_last_lines() -> None:
    assert failed(PEER_GONE, code=None, name="SIGKILL").startswith("it was ended by SIGKILL after 12.3 s (log")
    stopped = failed("KeyboardInterrupt", code=None, name="SIGTERM", stopped="it made no step for 3 s after step 4")
    assert stopped.startswith("it was stopped by the harness after 12.3 s: it made no step for 3 s after step 4 (log")


def test_a_sentence_stays_short() -> None:
    assert len(failed(f"RuntimeError: {'x' * 5000}")) < 400


def test_a_real_crash_is_reported_with_its_exception(tmp_path: Path) -> None:
    result = run_child(
        [sys.executable, "-c", "raise KeyError('the stage')"],
        cwd=tmp_path,
        env={},
        log_path=tmp_path / "child.log",
        deadline_s=60,
    )
    assert "exited with code 1 after " in failure_sentence(result)
    assert ": KeyError: 'the stage' (log: child.log)" in failure_sentence(result)
