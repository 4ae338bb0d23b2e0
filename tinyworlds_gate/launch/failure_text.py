"""Describe a failed child: one sentence for a table cell, or the full text with its last log lines."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from tinyworlds_gate.launch.cause import WorkerEnd, first_to_fail, worker_ends
from tinyworlds_gate.launch.child import LOG_TAIL_LINES, ChildResult
from tinyworlds_gate.launch.launcher import ChunkResult
from tinyworlds_gate.launch.raised import Raised
from tinyworlds_gate.run.redact import redact_command

_STAGE_ERROR = re.compile(r"(?m)^[ \t]*\[\w+\] error: (.+)$")
_EXCEPTION = re.compile(r"(?m)^[ \t]*(?:\[?rank\d+\]?:[ \t]*)?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*)$")
_LAUNCHER_ERRORS = ("ChildFailedError", "SignalException")
_LONGEST = 300
_SHOWN_LINES = 3


def failure_sentence(result: ChildResult | ChunkResult) -> str:
    """Return how a child ended, after how long, and the error, exception or signal that its last lines show."""
    how = f"was ended by {result.signal}" if result.signal else f"exited with code {result.exit_code}"
    why = None if result.signal else shown_error("\n".join(result.log_tail))
    if isinstance(result, ChunkResult):
        why = result.culprit or why
        if result.signal and any(worker.pid != result.launcher_pid for worker in result.workers):
            why = "the launcher got the signal, no worker did"
    if result.stopped:
        how, why = "was stopped by the harness", result.stopped
    end = f"it {how} after {result.wall_s:.1f} s"
    return f"{end}: {why} (log: {result.log.name})" if why else f"{end} (log: {result.log.name})"


def shown_error(text: str) -> str | None:
    """Return the error, exception or signal that the last lines of a log show; None when they show none."""
    stage = _STAGE_ERROR.findall(text)
    if stage:
        return _short(stage[-1])
    first = first_to_fail(text)
    if first is not None and first.exit_code < 0:
        return f"{_worker(first)} was ended by {_signal_name(-first.exit_code)}"
    raised = [line for line in _EXCEPTION.findall(text) if not line.split(":")[0].endswith(_LAUNCHER_ERRORS)]
    if raised:
        return _short(raised[-1])
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


def failure_text(result: ChildResult | ChunkResult) -> str:
    """Return the command, the end, the duration, the last lines and the log's path of a failed child."""
    how = f"was ended by {result.signal}" if result.signal else f"exited with code {result.exit_code}"
    if result.stopped:
        how = f"was stopped by the harness because {result.stopped}; it {how}"
    tail = "\n".join(f"    {line}" for line in result.log_tail[-LOG_TAIL_LINES:]) or "    (it wrote nothing)"
    command = redact_command(result.command)
    return f"{command}\n{how} after {result.wall_s:.1f} s. Its last lines:\n{tail}\nThe whole log: {result.log}"


def repeated_failure(raised: Raised, tail: Sequence[str], log: str, hint: str | None = None) -> str:
    """Return why a stage stops after the same failure twice: the cause, the last lines of its log, and the fix (T1).

    ``hint``: a way around the failing line.
    """
    shown = "; ".join(f"`{_short(line)}`" for line in _last_lines(raised, tail)) or "(it wrote nothing)"
    fix = raised.fix or "mend the cause in the code or the settings that the last lines name"
    fix += "" if hint is None else f". {hint}"
    return (
        f"The same failure came twice, and no other parameters mend it: {raised.sentence()}. Last lines of {log}: "
        f"{shown}. Fix: {fix}; then start the run again."
    )


def _last_lines(raised: Raised, tail: Sequence[str]) -> list[str]:
    """Return the last lines of a log up to the exception: what a launcher writes after it explains nothing."""
    written = [line.strip() for line in tail if line.strip()]
    at = [number for number, line in enumerate(written) if raised.type in line and raised.message[:80] in line]
    return written[: at[-1] + 1][-_SHOWN_LINES:] if at else written[-_SHOWN_LINES:]
