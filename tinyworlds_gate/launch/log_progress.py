"""Decide whether the growth of a log is progress: a warning that repeats itself is none."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from tinyworlds_gate.run.redact import redact
from tinyworlds_gate.targets.log_lines import log_lines

TAIL_BYTES = 65536
_MOST_LINES = 20_000
_LONGEST_LINE = 500
_LONGEST_QUOTE = 200
_VARYING = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b|\d+")
_WARNING = re.compile(
    r"(?i)^\[?[WEF]\d{4}\b|\b(?:warn(?:ing)?|error|errno|failed|failure|cannot|could not|can't|unable|refused"
    r"|unreachable|time[d]? ?out|retry(?:ing)?|retries|waiting|still|not (?:known|found|respond\w*))\b"
)


class LogProgress:
    """Reads what a log gained between two calls.

    With ``strict``, a line counts once, whatever numbers (times, PIDs, counters) it holds. Otherwise only a line that
    reads like a warning is held to that, because a progress bar differs in its numbers alone.
    """

    def __init__(self, path: Path, *, strict: bool) -> None:
        self._path, self._strict = path, strict
        self._seen: set[str] = set()
        self._rest = ""
        self.size = -1
        self.repeated: str | None = None
        """The newest line that was seen before, redacted; None after a new one."""

    def grew(self) -> bool:
        """Whether the log changed in size since the last call."""
        with suppress(OSError):
            size, before = os.stat(self._path).st_size, self.size
            self.size = size
            return size != before
        return False

    def text_from(self, begin: int) -> str:
        """Return what the log holds from a byte on (at most the last 64 KiB)."""
        with suppress(OSError), open(self._path, "rb") as log:
            log.seek(max(begin, os.stat(self._path).st_size - TAIL_BYTES))
            return log.read(TAIL_BYTES).decode("utf-8", errors="replace")
        return ""

    def moved(self) -> bool:
        """Whether the log gained a new line since the last call."""
        before = self.size
        if not self.grew():
            return False
        begin = max(before, 0) if self.size > before else 0
        lines, self._rest = self._added(begin)
        if not lines:
            return not self._strict  # the start of a line, or an empty one
        repeated = [line for line in lines if self._is_repeated(line)]
        self.repeated = redact(repeated[-1][:_LONGEST_LINE])[:_LONGEST_QUOTE] if len(repeated) == len(lines) else None
        return self.repeated is None

    def _added(self, begin: int) -> tuple[list[str], str]:
        """The whole lines since ``begin`` (at most the last 64 KiB), and the start of the next one."""
        with suppress(OSError), open(self._path, "rb") as log:
            log.seek(max(begin, self.size - TAIL_BYTES))
            text = self._rest + log.read(self.size - log.tell()).decode("utf-8", errors="replace")
            whole = max(text.rfind("\n"), text.rfind("\r")) + 1
            return list(log_lines(text[:whole])), text[whole:][:_LONGEST_LINE]
        return [], ""

    def _is_repeated(self, line: str) -> bool:
        if not self._strict and not _WARNING.search(line[:_LONGEST_LINE]):
            return False
        key = _VARYING.sub("0", line[:_LONGEST_LINE])
        if key in self._seen:
            return True
        if len(self._seen) < _MOST_LINES:
            self._seen.add(key)
        return False
