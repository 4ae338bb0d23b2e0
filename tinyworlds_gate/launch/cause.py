"""Why a child failed, by evidence: torch's error file, exceptions in the log, the signal, the kernel's OOM counter."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path

OK = "ok"
OUT_OF_MEMORY = "out_of_memory"
RUNTIME_ERROR = "runtime_error"
TIMEOUT = "timeout"
NODE_LOST = "node_lost"
"""Another machine of the chunk is gone, so that the launchers of the others had to be ended."""
KILLED = "killed"
"""Ended by a signal that a person or a machine sends; a crash raises others (SIGSEGV, SIGABRT, SIGBUS, SIGFPE)."""

OUTSIDE_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_MEMORY_EXCEPTION = re.compile(
    r"(?m)^(?:\[?\w*rank\d*\]?:\s*)?(?:E\s+)?(?:torch\.(?:cuda\.)?OutOfMemoryError|OutOfMemoryError|MemoryError"
    r"|numpy\.(?:_?core\._exceptions\.)?_ArrayMemoryError)\b"
    r"|(?:RuntimeError|AcceleratorError): (?:\[enforce fail at .*\] )?.*"
    r"(?:out of memory|can't allocate memory|CUBLAS_STATUS_ALLOC_FAILED|not enough memory|std::bad_alloc)"
    r"|^OSError: \[Errno 12\]"
    # Libraries that end the process themselves: OpenBLAS, the C++ runtime, OpenMP; and what NCCL has to say of CUDA.
    r"|^OpenBLAS error: Memory allocation still failed|^\s*what\(\):\s+std::bad_alloc|^libgomp: Out of memory"
    r"|^Cuda failure (?:\d+ )?'out of memory'"
)
# What torchrun and its workers print, as torch 2.11 to 2.13 words it (torch/distributed/elastic).
_WORKER_EXIT = re.compile(r"(?m)^(?:\s*rank\s*:\s*(\d+)[^\n]*\n)?\s*exitcode\s*:\s*(-?\d+)(?:\s*\(pid:\s*(\d+)\))?")
_ROOT_CAUSE = "Root Cause (first observed failure):"
_CLOSED_BY_TORCHRUN = re.compile(r"Sending process (\d+) closing signal")
_LAUNCHER_SIGNALLED = re.compile(r"SignalException: Process \d+ got signal: (?:Signals\.)?(\w+)")
_PEER_IS_GONE = re.compile(
    r"(?i)connection (?:was )?(?:closed|reset|refused)|broken pipe|remote process exited|ncclRemoteError"
    r"|Application timeout caused pair closure"
)


@dataclass(frozen=True)
class WorkerEnd:
    """One worker in torchrun's failure summary; a negative exit code is a signal."""

    exit_code: int
    pid: int | None
    root_cause: bool
    """Whether torchrun names it as the first failure it saw."""
    rank: int | None = None


def cause_of(
    *,
    exit_code: int | None,
    signal_name: str | None,
    log_text: str,
    error_file: str | None,
    oom_kills: int | None,
) -> str:
    """``ok``, ``out_of_memory``, ``killed`` or ``runtime_error`` (T1, T6) of a child that the harness did not end.

    ``oom_kills``: how many processes the kernel's OOM killer took around us while the child ran (None: not known). A
    SIGKILL counts as out of memory together with such a kill, as ``killed`` when it is known that there was none, and
    as a runtime error when nothing is known.
    """
    if exit_code == 0 and signal_name is None:
        return OK
    if (error_file and _MEMORY_EXCEPTION.search(error_file)) or _MEMORY_EXCEPTION.search(log_text):
        return OUT_OF_MEMORY
    sent = _outside_signals(exit_code, signal_name, log_text)
    if signal.SIGKILL in sent:
        if oom_kills is None:
            return RUNTIME_ERROR
        return OUT_OF_MEMORY if oom_kills else KILLED
    return KILLED if sent else RUNTIME_ERROR


def worker_ends(log_text: str) -> list[WorkerEnd]:
    """The workers in torchrun's failure summary, in its order: the root cause comes last."""
    root = log_text.rfind(_ROOT_CAUSE)
    return [
        WorkerEnd(
            exit_code=int(found[2]),
            pid=int(found[3]) if found[3] else None,
            root_cause=0 <= root < found.start(),
            rank=int(found[1]) if found[1] else None,
        )
        for found in _WORKER_EXIT.finditer(log_text)
    ]


def first_to_fail(log_text: str) -> WorkerEnd | None:
    """The worker whose end made the others end, None where no summary tells of one.

    Once a worker has failed, torchrun ends the others itself and lists them too. And a worker that lost its peer may
    raise before torchrun looks, and then stands as the root cause: it is the peer that failed first.
    """
    ends = worker_ends(log_text)
    closed = {int(pid) for pid in _CLOSED_BY_TORCHRUN.findall(log_text)}
    root = next((end for end in ends if end.root_cause), None)
    if root is not None and root.exit_code < 0 and not _of_a_lost_peer(root, log_text):
        return root
    if _PEER_IS_GONE.search(log_text):
        for end in ends:
            if end is not root and end.exit_code < 0 and end.pid not in closed:
                return end
    return root


def _of_a_lost_peer(root: WorkerEnd, log_text: str) -> bool:
    """An exception in a C++ thread of gloo or NCCL aborts the worker."""
    return root.exit_code == -signal.SIGABRT and _PEER_IS_GONE.search(log_text) is not None


def _outside_signals(exit_code: int | None, signal_name: str | None, log_text: str) -> set[int]:
    """The signals from outside that ended the child or one of its workers."""
    sent: set[int] = {signal.Signals[signal_name]} if signal_name else set()
    if exit_code is not None and exit_code > 128:
        sent.add(exit_code - 128)  # as a shell says it
    if found := _LAUNCHER_SIGNALLED.findall(log_text):
        sent.add(_signal_number(found[-1]))
    first = first_to_fail(log_text)
    if first is not None and first.exit_code < 0:
        sent.add(-first.exit_code)
    return sent & set(OUTSIDE_SIGNALS)


def _signal_number(word: str) -> int:
    return int(word) if word.isdigit() else int(signal.Signals.__members__.get(word, 0))


def read_error_file(path: Path) -> str | None:
    """The failure that torchrun recorded (its message and traceback), None where there is no such file.

    Source: ``torch.distributed.elastic.multiprocessing.errors`` writes ``{"message": {"message", "extraInfo"}}``.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    try:
        message = json.loads(text)["message"]
        if isinstance(message, str):
            return message
        return f"{message['message']}\n{message.get('extraInfo', {}).get('py_callstack', '')}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return text
