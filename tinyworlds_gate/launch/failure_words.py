"""What a failed child is said to have died of, in one sentence: for a table's cell, where its last lines do not fit."""

from __future__ import annotations

import re
import signal

from tinyworlds_gate.launch.cause import WorkerEnd, first_to_fail, worker_ends
from tinyworlds_gate.launch.child import Failure

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
