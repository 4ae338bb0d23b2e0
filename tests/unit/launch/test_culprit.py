"""Who failed first, from torchrun's summary and the exceptions of the ranks.

pytest tests/unit/launch/test_culprit.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tinyworlds_gate.launch.cause import cause_of
from tinyworlds_gate.launch.culprit import culprit_of, ranks_at_end
from tinyworlds_gate.launch.rank_errors import RankError, error_of, errors_of_ranks

PIDS = {0: 10, 1: 11}
LOST = "RuntimeError: [../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:5000"
LATE = "RuntimeError: [../gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 600000ms for recv operation"
NCCL_LATE = (
    "[rank0]:[E1130 12:00:00 ProcessGroupNCCL.cpp:685] [Rank 0] Watchdog caught collective operation timeout: "
    "WorkNCCL(SeqNum=7, OpType=ALLREDUCE, Timeout(ms)=600000) ran for 600029 milliseconds before timing out."
)
ABORTED = f"terminate called after throwing an instance of 'gloo::IoException'\n  what():  {LOST}"


def log_of(ends: Mapping[int, int], *, closed: tuple[int, ...] = (), root: int = 0, said: str = "") -> str:
    """Return a log with torchrun's summary: rank → exit code, and the ranks that torchrun closed."""
    lines = [said] + [f"W1130 api.py:1028] Sending process {PIDS[rank]} closing signal SIGTERM" for rank in closed]
    lines += ["train.py FAILED", "Failures:"]
    for rank, code in sorted(ends.items(), key=lambda entry: entry[0] == root):
        lines += ["Root Cause (first observed failure):"] if rank == root else []
        lines += [
            f"[{rank}]:",
            f"  rank      : {rank} (local_rank: {rank})",
            f"  exitcode  : {code} (pid: {PIDS[rank]})",
        ]
    return "\n".join(lines) + "\n"


def found(log: str, errors: Mapping[int, str] = {}, cause: str = "runtime_error") -> str | None:
    known = {rank: RankError(text, text) for rank, text in errors.items()}
    return culprit_of(ranks_at_end(log, known, PIDS), cause)


@pytest.mark.requirement("A5", "H9")
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("root", [0, 1])
@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (-9, None, "was ended by SIGKILL"),
        (-15, None, "was ended by SIGTERM"),
        (-11, None, "was ended by SIGSEGV"),
        (-6, None, "was ended by SIGABRT"),
        (3, None, "exited with code 3"),
        (1, "ValueError: a clip of length 0", "raised ValueError: a clip of length 0"),
        (1, "MemoryError", "ran out of memory: MemoryError"),
        (1, "torch.AcceleratorError: CUDA error: out of memory", "ran out of memory: "),
        (1, "torch.AcceleratorError: CUDA error: device-side assert triggered", "met a CUDA error: "),
        (1, "ModuleNotFoundError: No module named 'einops'", "could not import a module: "),
        (1, "FileNotFoundError: [Errno 2] No such file or directory: 'x'", "did not find a file: "),
        (1, "RuntimeError: DataLoader worker (pid 9) is killed by signal: Killed.", "lost a worker process of its "),
        (1, "ConnectionResetError: [Errno 104] Connection reset by peer", "raised ConnectionResetError"),
    ],
)
def test_the_rank_that_failed_is_named_and_not_the_one_that_lost_it(
    rank: int, root: int, code: int, error: str | None, said: str
) -> None:
    peer = 1 - rank
    errors = {peer: LOST} | ({rank: error} if error else {})
    both = log_of({rank: code, peer: 1}, root=root, said=LOST)
    assert (found(both, errors) or "").startswith(f"rank {rank} {said}")
    if code != -15:
        ended = log_of({rank: code, peer: -15}, root=root, closed=(peer,), said=LOST)
        assert (found(ended, errors) or "").startswith(f"rank {rank} {said}")
        assert (found(ended, {rank: error} if error else {}) or "").startswith(f"rank {rank} {said}")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_missing_from_the_summary_left(rank: int) -> None:
    peer = 1 - rank
    for code in (1, -6):
        log = log_of({peer: code}, root=peer, said=LOST if code == 1 else ABORTED)
        said = found(log, {peer: LOST} if code == 1 else {})
        assert (said or "").startswith(f"rank {rank} left with exit code 0 before its peers")


@pytest.mark.parametrize(
    ("code", "said", "errors"), [(1, LATE, {0: LATE}), (-6, NCCL_LATE, {})], ids=["gloo", "NCCL's watchdog"]
)
def test_a_rank_that_waited_too_long_is_no_culprit(code: int, said: str, errors: dict[int, str]) -> None:
    log = log_of({0: code, 1: -15}, closed=(1,), said=said)
    assert (found(log, errors) or "").startswith("rank 1 did not come to a collective in which its peers waited")


def test_a_rank_that_torchrun_closed_while_it_shut_down_is_named_without_a_cause() -> None:
    said = found(log_of({0: 1, 1: -15}, closed=(1,), said=LOST), {0: LOST})
    assert said == (f"rank 1 closed its connections first, and how it ended is not known; rank 0 then raised {LOST}")


@pytest.mark.parametrize("code", [1, -6])
def test_what_a_rank_raised_counts_more_than_how_it_shut_down(code: int) -> None:
    log = log_of({0: -15, 1: code}, root=1, closed=(0,), said=LOST)
    assert found(log, {1: "torch.AcceleratorError: CUDA error: no"}) == (
        "rank 1 met a CUDA error: torch.AcceleratorError: CUDA error: no"
    )


def test_the_only_exception_without_a_rank_is_that_of_the_rank_that_exited_with_code_1() -> None:
    missing = "Traceback (most recent call last):\n  File \"a.py\", line 1\nModuleNotFoundError: No module named 'x'"
    log = log_of({1: 1, 0: -15}, root=1, closed=(0,), said=missing)
    assert found(log) == "rank 1 could not import a module: ModuleNotFoundError: No module named 'x'"
    assert found(log_of({0: 1, 1: 1}, said=missing)) == (
        "every rank could not import a module: ModuleNotFoundError: No module named 'x'"
    )
    two = f"{missing}\nTraceback (most recent call last):\nKeyError: 'b'"
    assert found(log_of({1: 1, 0: -15}, root=1, closed=(0,), said=two)) == "rank 1 exited with code 1"
    assert found(log_of({1: 3, 0: -15}, root=1, closed=(0,), said=missing)) == "rank 1 exited with code 3"


def test_an_error_that_nccls_watchdog_found_first_is_that_of_its_rank() -> None:
    said = "[rank1]:[E1130 ProcessGroupNCCL.cpp:2057] [PG ID 0 PG GUID 0 Rank 1] Process group watchdog thread "
    said += "terminated with exception: CUDA error: device-side assert triggered"
    log = log_of({0: -15, 1: -6}, root=1, closed=(0,), said=said)
    errors = {rank: error.text for rank, error in errors_of_ranks({}, log).items()}
    assert found(log, errors) == "rank 1 met a CUDA error: RuntimeError: CUDA error: device-side assert triggered"


def test_what_every_rank_raised_names_no_rank_and_what_is_not_known_none() -> None:
    both = log_of({0: 1, 1: 1})
    assert found(both, {0: "KeyError: 'fps'", 1: "KeyError: 'fps'"}) == "every rank raised KeyError: 'fps'"
    said = found(both, {0: "KeyError: 'fps'", 1: "ValueError: 3"})
    assert said == "rank 0 raised KeyError: 'fps'; rank 1 raised ValueError: 3; which was first is not known"
    assert found(both + LOST) is None, "one of the two only lost its peer"
    assert found(both + LOST, {0: LOST, 1: LOST}) is None
    assert found("no summary") is None


def test_the_kernels_kill_is_called_so() -> None:
    log = log_of({1: -9}, root=1, closed=(0,))
    assert found(log, cause="out_of_memory") == "rank 1 was ended by SIGKILL by the kernel, for its memory"


def test_an_exception_that_the_stage_handled_is_not_the_cause() -> None:
    log = log_of({1: 1}, root=1, said="Traceback (most recent call last):\nMemoryError\ntrying a smaller batch")
    raised = {1: RankError("ValueError: 3", "ValueError: 3\nTraceback …")}
    chained = {1: RankError("ValueError: 3", "ValueError: 3\nMemoryError\nThe above exception was the direct cause")}
    for errors, cause in ((raised, "runtime_error"), (chained, "out_of_memory"), ({}, "out_of_memory")):
        text = ranks_at_end(log, errors, PIDS).exceptions
        assert cause_of(exit_code=1, signal_name=None, log_text=log, error_file=None, oom_kills=0, exceptions=text) == (
            cause
        )


def test_a_rank_that_torchrun_closed_was_not_killed_from_outside() -> None:
    log = log_of({0: 3, 1: -15}, root=1, closed=(1,), said=LOST)
    assert cause_of(exit_code=1, signal_name=None, log_text=log, error_file=None, oom_kills=0) == "runtime_error"


def test_error_files_count_before_the_log_and_only_where_they_are_torchs(tmp_path: Path) -> None:
    def write(name: str, content: object) -> Path:
        path = tmp_path / name / "error.json"
        path.parent.mkdir()
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    info = {"message": "KeyError: 'a'\nmore", "extraInfo": {"py_callstack": "File x", "timestamp": "1"}}
    good, plain = write("good", {"message": info}), write("plain", {"message": "ValueError: 3"})
    assert error_of(good) == RankError("KeyError: 'a'", "KeyError: 'a'\nmore\nFile x")
    assert error_of(plain) == RankError("ValueError: 3", "ValueError: 3\n")
    link = tmp_path / "link" / "error.json"
    link.parent.mkdir()
    link.symlink_to(good)
    fifo = tmp_path / "fifo" / "error.json"
    fifo.parent.mkdir()
    os.mkfifo(fifo)
    other = tmp_path / "other.json"
    other.write_text(good.read_text())
    for path in (link, fifo, other, tmp_path / "gone" / "error.json", write("torn", '{"message": {"mess')):
        assert error_of(path) is None, path
    log = "[rank0]: Traceback (most recent call last):\n[rank0]: x.MyError: no\n[rank1]: OSError: [Errno 5] I/O error\n"
    texts = {rank: error.text for rank, error in errors_of_ranks({1: good}, log).items()}
    assert texts == {0: "x.MyError: no", 1: "KeyError: 'a'"}
