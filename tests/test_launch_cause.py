"""Why a child failed: only evidence makes it "out of memory".

pytest tests/test_launch_cause.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinyworlds_gate.launch.cause import (
    cause_of,
    read_error_file,
    worker_exit_codes,
)

SUMMARY = """
Root Cause (first observed failure):
[0]:
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 4711)
"""


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
    assert cause(code=None, name="SIGKILL", kills=0) == "runtime_error"
    assert cause(code=None, name="SIGKILL", kills=None) == "runtime_error"
    assert cause(SUMMARY, code=1, kills=1) == "out_of_memory"
    assert cause("no worker was killed", code=1, kills=1) == "runtime_error"


def test_exit_zero_is_ok_whatever_the_log_says() -> None:
    assert cause("MemoryError", code=0) == "ok"


def test_the_exit_codes_of_workers_are_read_from_the_summary() -> None:
    assert worker_exit_codes(SUMMARY) == [-9]


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
