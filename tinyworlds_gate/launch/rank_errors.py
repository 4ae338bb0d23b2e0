"""The exception of each rank: from torch's error files, which no log flood hides, or from the log's rank prefixes."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.launch.raised import EXCEPTION, RANK_PREFIX
from tinyworlds_gate.run.plain_json import load_json
from tinyworlds_gate.run.redact import redact

ERROR_FILE_OF_RANK = "TORCHELASTIC_ERROR_FILE"
"""The variable in which torchrun names each worker a file of its own."""

_NAME = "error.json"
_LONGEST_FILE = 2**20
_LONGEST = 300
_WATCHDOG = re.compile(r"Rank (\d+)\] Process group watchdog thread terminated with exception: (.+)")
"""NCCL's thread found an error before the rank did, and aborts the process."""


@dataclass(frozen=True)
class RankError:
    """The exception that ended a rank."""

    text: str
    """``type: message``, one line, redacted."""
    traceback: str = ""
    """All of it, with the exceptions that led to it; empty if only its line is known."""


def error_of(path: Path) -> RankError | None:
    """Return the exception in a worker's error file; None without one.

    The worker's environment names the path, so only a regular file of ours with torch's name and contents is read.
    """
    if path.name != _NAME:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, encoding="utf-8", errors="replace") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
                return None
            message = load_json(file.read(_LONGEST_FILE))["message"]
        text, traceback = (message, "") if isinstance(message, str) else (message["message"], _callstack(message))
        return RankError(first_line(text), f"{text}\n{traceback}") if isinstance(text, str) else None
    return None


def _callstack(message: Mapping[str, Any]) -> str:
    return str(message.get("extraInfo", {}).get("py_callstack", ""))


def errors_in_log(log_text: str) -> dict[int, RankError]:
    """Return rank → its last exception, of the lines that torch or NCCL's watchdog mark with their rank."""
    found = {int(one[1]): RankError(first_line(f"RuntimeError: {one[2]}")) for one in _WATCHDOG.finditer(log_text)}
    for line in log_text.splitlines():
        prefix = RANK_PREFIX.match(line)
        if prefix is not None and EXCEPTION.match(text := line[prefix.end() :].rstrip()) is not None:
            found[int(prefix[1])] = RankError(first_line(text))
    return found


def errors_of_ranks(files: Mapping[int, Path], log_text: str) -> dict[int, RankError]:
    """Return rank → the exception that ended it."""
    recorded = {rank: error for rank, path in files.items() if (error := error_of(path)) is not None}
    return errors_in_log(log_text) | recorded


def first_line(text: str) -> str:
    """Return the first line of an exception's text, shortened and redacted."""
    line = redact(text.strip().split("\n", 1)[0].rstrip(": "))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


_KINDS: tuple[tuple[str, str], ...] = (
    (r".*DataLoader worker", "lost a worker process of its data loader"),
    (
        r"(torch\.(cuda\.)?)?OutOfMemoryError|MemoryError|numpy\.\S*_ArrayMemoryError|OSError: \[Errno 12\]"
        r"|([\w.]*\.)?(RuntimeError|AcceleratorError|DistBackendError): .*"
        r"(out of memory|can't allocate memory|ALLOC_FAILED|not enough memory|std::bad_alloc)",
        "ran out of memory",
    ),
    (
        r"(\w+\.)*\w+: .*(CUDA error|CUDA driver error|device-side assert|CUBLAS_STATUS|CUDNN_STATUS)",
        "met a CUDA error",
    ),
    (r"(ModuleNotFoundError|ImportError)\b", "could not import a module"),
    (r"FileNotFoundError\b|.*(No such file or directory|there is no such file|does not exist)", "did not find a file"),
    (r"([\w.]*\.)?(CheckpointError|UnpicklingError)\b|\w+: PytorchStreamReader", "could not read a checkpoint"),
)
"""Pattern over ``type: message`` → what happened to the rank."""


def sentence_of(error: str) -> str:
    """Return what an exception means for its rank, with the exception: `ran out of memory: MemoryError`."""
    said = next((said for pattern, said in _KINDS if re.match(pattern, error)), None)
    return f"raised {error}" if said is None else f"{said}: {error}"
