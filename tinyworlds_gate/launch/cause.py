"""Determine why a child process failed: torch's error file, exceptions in the log, the signal, the OOM-kill counter."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.run.plain_json import load_json
from tinyworlds_gate.run.redact import redact

OK = "ok"
OUT_OF_MEMORY = "out_of_memory"
RUNTIME_ERROR = "runtime_error"
TIMEOUT = "timeout"
NODE_LOST = "node_lost"
"""Another machine of the chunk was lost, so the harness ended the launchers of the others."""
KILLED = "killed"
"""Ended by a signal from outside; a crash raises other signals (SIGSEGV, SIGABRT, SIGBUS, SIGFPE)."""

OUTSIDE_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_MEMORY_EXCEPTION = re.compile(
    r"(?m)^(?:\[?\w*rank\d*\]?:\s*)?(?:E\s+)?(?:torch\.(?:cuda\.)?OutOfMemoryError|OutOfMemoryError|MemoryError"
    r"|numpy\.(?:_?core\._exceptions\.)?_ArrayMemoryError)\b"
    r"|(?:RuntimeError|AcceleratorError): .*"
    r"(?:out of memory|can't allocate memory|CUBLAS_STATUS_ALLOC_FAILED|not enough memory|std::bad_alloc)"
    r"|^OSError: \[Errno 12\]"
    # Libraries that end the process themselves (OpenBLAS, the C++ runtime, OpenMP), and NCCL's report of a CUDA error.
    r"|^OpenBLAS error: Memory allocation still failed|^\s*what\(\):\s+std::bad_alloc|^libgomp: Out of memory"
    r"|^Cuda failure (?:\d+ )?'out of memory'"
)
# Output of torchrun and its workers in torch 2.11 to 2.13 (torch/distributed/elastic).
_WORKER_EXIT = re.compile(
    r"(?m)^(?:[ \t]*rank[ \t]*:[ \t]*(\d+)[^\n]*\n)?[ \t]*exitcode[ \t]*:[ \t]*(-?\d+)"
    r"(?:\s*\(pid:\s*(\d+)\))?"
)
_LONGEST_ERROR_FILE = 2**20
_ROOT_CAUSE = "Root Cause (first observed failure):"
_CLOSED_BY_TORCHRUN = re.compile(r"Sending process (\d+) closing signal")
_LAUNCHER_SIGNALLED = re.compile(r"SignalException: Process \d+ got signal: (?:Signals\.)?(\w+)")
_PEER_LOST = re.compile(
    r"(?i)connection (?:was )?(?:likely )?(?:closed|reset|refused)|broken pipe|remote process exited|ncclRemoteError"
    r"|Application timeout caused pair closure"
)
_TIMED_OUT = re.compile(r"(?i)timed out waiting \d+ ?ms|collective operation timeout|Socket Timeout")
"""What gloo, NCCL's watchdog and torch's store say in a rank that waited too long for others."""

_TORCH_ERROR = re.compile(r"(?:RuntimeError|(?:torch\.distributed\.)?Dist\w*Error)\b")


@dataclass(frozen=True)
class WorkerEnd:
    """One worker in torchrun's failure summary; a negative exit code is a signal number."""

    exit_code: int
    pid: int | None
    root_cause: bool
    """Whether torchrun reports it as the first failure that it observed."""
    rank: int | None = None


def cause_of(
    *,
    exit_code: int | None,
    signal_name: str | None,
    log_text: str,
    error_file: str | None,
    oom_kills: int | None,
    exceptions: str | None = None,
) -> str:
    """Return ``ok``, ``out_of_memory``, ``killed`` or ``runtime_error`` for a child that ended by itself (T1, T6).

    ``oom_kills`` is the number of OOM kills in the child's cgroups while it ran (None: unknown). A SIGKILL counts as
    out of memory if there was an OOM kill, as ``killed`` if there was none, and as a runtime error if it is unknown.

    ``exceptions``: the tracebacks of all ranks that failed first; None: not known. Then the whole log is searched for
    an exception that shows out of memory, though the stage may have handled it.
    """
    if exit_code == 0 and signal_name is None:
        return OK
    shown = f"{error_file or ''}\n{log_text}" if exceptions is None else exceptions
    if _MEMORY_EXCEPTION.search(shown):
        return OUT_OF_MEMORY
    sent = _outside_signals(exit_code, signal_name, log_text)
    if signal.SIGKILL in sent:
        if oom_kills is None:
            return RUNTIME_ERROR
        return OUT_OF_MEMORY if oom_kills else KILLED
    return KILLED if sent else RUNTIME_ERROR


def worker_ends(log_text: str) -> list[WorkerEnd]:
    """Return the workers in torchrun's failure summary, in its order: the root cause comes last."""
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
    """Return the worker that failed first, or None without a failure summary.

    After one worker fails, torchrun ends the others and lists them too. A worker that lost its peer may raise before
    torchrun polls; torchrun then reports it as the root cause, although the peer failed first.
    """
    ends = worker_ends(log_text)
    closed = closed_by_torchrun(log_text)
    root = next((end for end in ends if end.root_cause), None)
    if root is not None and root.exit_code == -signal.SIGTERM and root.pid in closed:
        # It had raised for its lost peer when torchrun ended it; torchrun compares whole seconds.
        root = next((end for end in ends if end is not root and end.exit_code and end.pid not in closed), root)
    # A C++ thread of gloo or NCCL that lost its peer aborts its worker too.
    if root is not None and root.exit_code < 0 and root.exit_code != -signal.SIGABRT:
        return root
    if _PEER_LOST.search(log_text):
        for end in ends:
            if end is not root and end.exit_code < 0 and end.pid not in closed:
                return end
    return root


def closed_by_torchrun(log_text: str) -> set[int]:
    """Return the PIDs of the workers that torchrun ended since another one had failed."""
    return {int(pid) for pid in _CLOSED_BY_TORCHRUN.findall(log_text)}


def lost_its_peer(error: str) -> bool:
    """Whether an exception (``type: message``) only shows that another rank closed its connections or did not come."""
    shown = _PEER_LOST.search(error) or _TIMED_OUT.search(error)
    return _TORCH_ERROR.match(error) is not None and shown is not None


def waited_too_long(error: str) -> bool:
    """Whether an exception shows that another rank did not come to a collective."""
    return _TIMED_OUT.search(error) is not None


def shows_lost_peers(log_text: str) -> bool:
    """Whether a worker reported anywhere in a log that it lost its peer or waited too long for it."""
    return (_PEER_LOST.search(log_text) or _TIMED_OUT.search(log_text)) is not None


def _outside_signals(exit_code: int | None, signal_name: str | None, log_text: str) -> set[int]:
    """Return the outside signals that ended the child or one of its workers."""
    sent: set[int] = {signal.Signals[signal_name]} if signal_name else set()
    if exit_code is not None and exit_code > 128:
        sent.add(exit_code - 128)  # a shell's exit code for a signal
    if found := _LAUNCHER_SIGNALLED.findall(log_text):
        sent.add(_signal_number(found[-1]))
    first = first_to_fail(log_text)
    if first is not None and first.exit_code < 0:
        sent.add(-first.exit_code)
    return sent & set(OUTSIDE_SIGNALS)


def _signal_number(name: str) -> int:
    return int(name) if name.isdigit() else int(signal.Signals.__members__.get(name, 0))


def read_error_file(path: Path) -> str | None:
    """Return the failure that torchrun recorded (message and traceback), redacted; None without the file.

    Source: ``torch.distributed.elastic.multiprocessing.errors`` writes ``{"message": {"message", "extraInfo"}}``.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LONGEST_ERROR_FILE)
    except FileNotFoundError:
        return None
    try:
        message = load_json(text)["message"]
        if not isinstance(message, str):
            message = f"{message['message']}\n{message.get('extraInfo', {}).get('py_callstack', '')}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        message = text
    return redact(message)
