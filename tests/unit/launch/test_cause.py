"""Failure causes of a child: "out of memory" needs evidence.

pytest tests/unit/launch/test_cause.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinyworlds_gate.launch.cause import (
    WorkerEnd,
    cause_of,
    read_error_file,
    worker_ends,
)

SUMMARY = """
Root Cause (first observed failure):
[0]:
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 4711)
"""


def summary(*ends: tuple[int, int], said: str = "") -> str:
    """Return these lines and torchrun's failure summary with (exit code, PID) of each worker, the root cause last."""
    *others, root = [f"[0]:\n  time : x\n  exitcode  : {code} (pid: {pid})\n" for code, pid in ends]
    return (
        f"{said}\ntrain_dynamics.py FAILED\nFailures:\n{''.join(others) or '  <NO_OTHER_FAILURES>'}\n"
        f"Root Cause (first observed failure):\n{root}"
    )


CLOSING = "W1231 api.py:1029] Sending process 10 closing signal SIGTERM"
PEER_GONE = "RuntimeError: [../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:5000"


def cause(
    log: str = "", *, code: int | None = 1, name: str | None = None, file: str | None = None, kills: int | None = 0
) -> str:
    return cause_of(exit_code=code, signal_name=name, log_text=log, error_file=file, oom_kills=kills)


@pytest.mark.requirement("T1")
@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.",
        "torch.cuda.OutOfMemoryError: CUDA out of memory.",
        "[rank1]: torch.OutOfMemoryError: CUDA out of memory.",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory",
        "RuntimeError: CUDA error: out of memory",
        "MemoryError",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB",
        "OSError: [Errno 12] Cannot allocate memory",
        "RuntimeError: std::bad_alloc",
        "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.",
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
        "libgomp: Out of memory allocating 64 bytes",
        "torch.distributed.DistBackendError: NCCL error\nLast error:\nCuda failure 2 'out of memory'",
    ],
)
def test_a_memory_exception_in_the_log_or_the_error_file_is_out_of_memory(line: str) -> None:
    assert cause(f"Traceback:\n  File x\n{line}\n") == "out_of_memory"
    assert cause(file=line) == "out_of_memory"


@pytest.mark.requirement("T1")
@pytest.mark.parametrize(
    "line",
    [
        "ValueError: loss is not finite",
        "warning: you may run out of memory soon",
        "RuntimeError: NCCL communicator was aborted",
        "print('MemoryError')",
    ],
)
def test_other_lines_are_a_runtime_error(line: str) -> None:
    assert cause(line) == "runtime_error"


@pytest.mark.requirement("T1")
def test_a_sigkill_is_out_of_memory_only_with_a_kill_counted_by_the_kernel() -> None:
    assert cause(code=None, name="SIGKILL", kills=1) == "out_of_memory"
    assert cause(code=None, name="SIGKILL", kills=0) == "killed"
    assert cause(code=None, name="SIGKILL", kills=None) == "runtime_error"
    assert cause(SUMMARY, code=1, kills=1) == "out_of_memory"
    assert cause("no worker was killed", code=1, kills=1) == "runtime_error"


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_child_ended_by_another_outside_signal_was_killed_whatever_the_counter_says(name: str) -> None:
    """The OOM killer uses SIGKILL only."""
    assert [cause(code=None, name=name, kills=kills) for kills in (0, 1, None)] == ["killed"] * 3


@pytest.mark.requirement("T1", "T6")
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"])
def test_a_crash_is_a_runtime_error(name: str) -> None:
    assert cause(code=None, name=name) == "runtime_error"
    assert cause(summary((-11, 10))) == cause(code=139) == "runtime_error"


@pytest.mark.requirement("T6")
@pytest.mark.parametrize(
    "log",
    [
        summary((-9, 11)),
        summary((-15, 11)),
        summary((-2, 11)),
        summary((-1, 11)),
        summary((-15, 10), (-9, 11), said=CLOSING),
        # Rank 0 lost its peer and raised before torchrun looked.
        summary((-9, 11), (1, 10), said=PEER_GONE),
        summary((-6, 10), (-9, 11), said=PEER_GONE),
        summary((-9, 11), (-6, 10), said=f"terminate called after throwing an instance of ...\n{PEER_GONE}"),
        "torch.distributed.elastic.multiprocessing.api.SignalException: Process 9 got signal: 15",
        "torch.distributed.elastic.multiprocessing.api.SignalException: Process 9 got signal: Signals.SIGTERM",
    ],
)
def test_a_worker_or_launcher_ended_from_outside_was_killed(log: str) -> None:
    assert cause(log) == "killed"


@pytest.mark.requirement("T1", "T6")
@pytest.mark.parametrize(
    "log",
    [
        # torchrun ends the other workers of one that failed, and lists them too.
        summary((-15, 10), (1, 11), said=CLOSING),
        summary((-15, 10), (-11, 11), said=CLOSING),
        summary((-9, 10), (1, 11), said=f"{CLOSING}\nUnable to shutdown process 10 via SIGTERM, forcefully exiting"),
        summary((-15, 10), (1, 11)),
        summary((1, 10), (1, 11), said=PEER_GONE),
        # The worker that torchrun closed lost its peer as well.
        summary((-15, 10), (1, 11), said=f"{CLOSING}\n{PEER_GONE}"),
        summary((-9, 10), (-6, 11), said=f"{CLOSING}\n{PEER_GONE}"),
        # A crash that is no abort comes from the worker itself, although its peer was lost too.
        *(summary((-9, 10), (number, 11), said=PEER_GONE) for number in (-11, -7, -8, -4)),
        # An abort without a lost peer is the worker's own.
        summary((-9, 10), (-6, 11)),
        summary((-6, 10)),
        # The summary of an earlier launch, which a worker has printed.
        summary((-9, 5)) + summary((1, 11)),
    ],
)
def test_a_worker_that_torchrun_ended_after_another_failed_was_not_killed(log: str) -> None:
    assert cause(log) == "runtime_error"


@pytest.mark.requirement("T1")
def test_a_memory_exception_is_out_of_memory_also_when_its_worker_was_killed_in_the_end() -> None:
    assert cause(summary((-9, 11), said="torch.OutOfMemoryError: CUDA out of memory.")) == "out_of_memory"


@pytest.mark.requirement("T1", "T6")
def test_a_shell_s_exit_code_for_an_outside_signal_is_that_signal() -> None:
    assert [cause(code=128 + number) for number in (2, 9, 15)] == ["killed"] * 3
    assert cause(code=137, kills=1) == "out_of_memory"
    assert [cause(code=code) for code in (2, 9, 15, 128)] == ["runtime_error"] * 4


@pytest.mark.requirement("T6")
def test_the_last_of_two_launchers_that_were_signalled_counts() -> None:
    said = "torch.distributed.elastic.multiprocessing.api.SignalException: Process 9 got signal: "
    assert cause(f"{said}15\n{said}6\n") == "runtime_error"
    assert cause(f"{said}6\n{said}15\n") == "killed"


def test_exit_zero_is_ok_whatever_the_log_says() -> None:
    assert cause("MemoryError", code=0) == "ok"


def test_the_exit_codes_of_workers_are_read_from_the_summary() -> None:
    assert worker_ends(SUMMARY) == [WorkerEnd(-9, 4711, root_cause=True, rank=1)]
    assert worker_ends(summary((-15, 10), (1, 11))) == [WorkerEnd(-15, 10, False), WorkerEnd(1, 11, True)]
    assert worker_ends("no worker failed\nE1231 api.py:1002] failed (exitcode: -9) local_rank: 1 (pid: 5)") == []


def test_the_error_file_of_torch_gives_its_message_and_stack(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    assert read_error_file(path) is None
    path.write_text(json.dumps({"message": {"message": "ValueError: x", "extraInfo": {"py_callstack": "File y"}}}))
    assert read_error_file(path) == "ValueError: x\nFile y"
    path.write_text("torn {")
    assert read_error_file(path) == "torn {"


def test_a_real_error_file_of_torch_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.elastic.multiprocessing.errors import record

    @record
    def train() -> None:
        raise MemoryError("no room")

    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    with pytest.raises(MemoryError):
        train()
    text = read_error_file(tmp_path / "error.json")
    assert text is not None
    assert "MemoryError: no room" in text
    assert cause(file=text) == "out_of_memory"
