"""Why a child failed, by evidence: torch's error file, exceptions in the log, the signal, the cgroup's OOM counter."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from pathlib import Path

OK = "ok"
OUT_OF_MEMORY = "out_of_memory"
RUNTIME_ERROR = "runtime_error"
TIMEOUT = "timeout"

_MEMORY_EXCEPTION = re.compile(
    r"(?m)^(?:\[?\w*rank\d*\]?:\s*)?(?:E\s+)?(?:torch\.(?:cuda\.)?OutOfMemoryError|OutOfMemoryError|MemoryError"
    r"|numpy\.(?:_?core\._exceptions\.)?_ArrayMemoryError)\b"
    r"|(?:RuntimeError|AcceleratorError): (?:\[enforce fail at .*\] )?.*"
    r"(?:out of memory|can't allocate memory|CUBLAS_STATUS_ALLOC_FAILED|not enough memory)"
)
_WORKER_EXIT = re.compile(r"exitcode\s*:\s*(-?\d+)")


def cause_of(
    *,
    exit_code: int | None,
    signal_name: str | None,
    log_text: str,
    error_file: str | None,
    oom_kills: int | None,
) -> str:
    """``ok``, ``out_of_memory`` or ``runtime_error`` (T1, T6) of a child that ended by itself.

    ``oom_kills``: how many processes the kernel's OOM killer took in our cgroups while the child ran (None: not
    known). A SIGKILL counts as out of memory only together with such a kill.
    """
    if exit_code == 0 and signal_name is None:
        return OK
    if (error_file and _MEMORY_EXCEPTION.search(error_file)) or _MEMORY_EXCEPTION.search(log_text):
        return OUT_OF_MEMORY
    killed = signal_name == "SIGKILL" or -signal.SIGKILL in worker_exit_codes(log_text) or exit_code == 137
    return OUT_OF_MEMORY if killed and oom_kills else RUNTIME_ERROR


def worker_exit_codes(log_text: str) -> list[int]:
    """The exit codes in torchrun's failure summary; a negative one is a signal."""
    return [int(code) for code in _WORKER_EXIT.findall(log_text)]


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


def oom_kill_counts(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> dict[str, int]:
    """The OOM kills so far of this process's cgroup and of each one above it; empty where the system has no counter."""
    counts: dict[str, int] = {}
    for folder in _cgroup_folders(root, own):
        for name in ("memory.events", "memory.oom_control"):
            try:
                text = (folder / name).read_text(encoding="utf-8")
            except OSError:
                continue
            found = re.search(r"(?m)^oom_kill (\d+)$", text)
            if found:
                counts[str(folder)] = int(found[1])
                break
    return counts


def oom_kills_since(before: Mapping[str, int], after: Mapping[str, int]) -> int | None:
    """How many kills came between two counts, None when no cgroup was counted both times."""
    grown = [after[name] - before[name] for name in before if name in after]
    return max(grown) if grown else None


def _cgroup_folders(root: Path, own: Path) -> list[Path]:
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        inside = base / path.lstrip("/")
        folders += [inside, *(parent for parent in inside.parents if parent.is_relative_to(base))]
    return list(dict.fromkeys(folders))
