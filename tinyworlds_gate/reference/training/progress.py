"""Progress of a stage: a rich bar when a person looks on, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Preparation:
    """What a stage spends before its first update, part by part, in seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._parts: dict[str, float] = {}

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Counts what runs inside."""
        began = time.monotonic()
        yield
        self._parts[part] = time.monotonic() - began

    def __str__(self) -> str:
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self._parts.items())
        return f"{time.monotonic() - self._began:.1f} s ({parts})"


class ProgressLines:
    """Shows update, loss and rate; a plain line every ``every`` updates."""

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
        """Report the update that was just taken."""
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
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
