"""Progress of a stage: a rich bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StartupTimer:
    """Measures the seconds before a stage's first update, in total and per section."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._parts: dict[str, float] = {}

    @contextmanager
    def section(self, part: str) -> Iterator[None]:
        """Context manager that measures a section."""
        began = time.monotonic()
        yield
        self._parts[part] = time.monotonic() - began

    def __str__(self) -> str:
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self._parts.items())
        return f"{time.monotonic() - self._began:.1f} s ({parts})"


class ProgressLines:
    """Shows update, loss and updates per second; as plain lines, one every ``every`` updates."""

    def __init__(self, stage: str, start: int, end: int, *, every: int, enabled: bool) -> None:
        self.stage, self.start, self.end, self.every, self.enabled = stage, start, end, every, enabled
        self._began = time.monotonic()
        self._bar = None
        if enabled and sys.stdout.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]:.4f}"),
                TimeRemainingColumn(),
            )
            self._task = self._bar.add_task(stage, total=end, completed=start, loss=float("nan"))
            self._bar.start()

    def show(self, update: int, loss: float) -> None:
        """Report a finished update (0-based)."""
        if not self.enabled:
            return
        done = update + 1
        if self._bar is not None:
            self._bar.update(self._task, completed=done, loss=loss)
            return
        if done % self.every == 0 or done == self.end:
            rate = (done - self.start) / max(time.monotonic() - self._began, 1e-9)
            print(f"[{self.stage}] update {done}/{self.end} loss {loss:.6f} ({rate:.2f} updates/s)", flush=True)

    def close(self) -> None:
        """Stop the progress bar."""
        if self._bar is not None:
            self._bar.stop()
