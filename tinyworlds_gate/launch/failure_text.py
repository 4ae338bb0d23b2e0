"""What a failed child is said to have died of, in one sentence: for a table's cell, where its last lines do not fit."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Protocol

from tinyworlds_gate.launch.cause import WorkerEnd, first_to_fail, worker_ends
from tinyworlds_gate.launch.child import LOG_TAIL_LINES
from tinyworlds_gate.run.redact import redact_command

_STAGE_ERROR = re.compile(r"(?m)^\s*\[\w+\] error: (.+)$")
_EXCEPTION = re.compile(r"(?m)^\s*(?:\[?rank\d+\]?:\s*)?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*)$")
_OF_THE_LAUNCHER = ("ChildFailedError", "SignalException")
_LONGEST = 300


def failure_sentence(result: Failure) -> str:
    """How a child ended, after how long, and why as far as its last lines say: its error, its exception, its signal."""
    how = f"was ended by {result.signal}" if result.signal else f"exited with code {result.exit_code}"
    why = None if result.signal else _why("\n".join(result.log_tail))
    if result.stopped:
        how, why = "was stopped by the harness", result.stopped
    told = f"it {how} after {result.wall_s:.1f} s"
    return f"{told}: {why} (log: {result.log.name})" if why else f"{told} (log: {result.log.name})"


def _why(text: str) -> str | None:
    stage = _STAGE_ERROR.findall(text)
    if stage:
        return _short(stage[-1])
    first = first_to_fail(text)
    if first is not None and first.exit_code < 0:
        return f"{_worker(first)} was ended by {_signal_name(-first.exit_code)}"
    said = [line for line in _EXCEPTION.findall(text) if not line.split(":")[0].endswith(_OF_THE_LAUNCHER)]
    if said:
        return _short(said[-1])
    if "SignalException" in text:
        return "the launcher was signalled"
    ends = worker_ends(text)
    return f"{_worker(ends[-1])} exited with code {ends[-1].exit_code}" if ends else None


def _worker(end: WorkerEnd) -> str:
    return "a worker" if end.rank is None else f"rank {end.rank}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


class Failure(Protocol):
    """What ``ChildResult`` and ``ChunkResult`` both tell of a child."""

    @property
    def command(self) -> tuple[str, ...]: ...
    @property
    def exit_code(self) -> int | None: ...
    @property
    def signal(self) -> str | None: ...
    @property
    def wall_s(self) -> float: ...
    @property
    def stopped(self) -> str | None: ...
    @property
    def log(self) -> Path: ...
    @property
    def log_tail(self) -> tuple[str, ...]: ...


def failure_text(result: Failure) -> str:
    """What a person needs to know of a failed child: command, end, duration, last lines, the log's path (style 7)."""
    how = f"was ended by {result.signal}" if result.signal else f"exited with code {result.exit_code}"
    if result.stopped:
        how = f"was stopped by the harness since {result.stopped}; it {how}"
    tail = "\n".join(f"    {line}" for line in result.log_tail[-LOG_TAIL_LINES:]) or "    (it wrote nothing)"
    command = redact_command(result.command)
    return f"{command}\n{how} after {result.wall_s:.1f} s. Its last lines:\n{tail}\nThe whole log: {result.log}"
