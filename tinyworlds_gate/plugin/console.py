"""What the loop says while it works: plain lines in CI, a rich bar on a terminal, past pytest's capturing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tinyworlds_gate.run.redact import redact

PLAIN_INTERVAL_S = 15.0
SHORTEST_S = 1.0
"""A rate over less than this is not shown."""


class Voice:
    """Writes to the terminal although pytest captures the output of tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._quiet = config.get_verbosity() < -1
        self._bar: Any = None
        self._bar_key: tuple[str, int] | None = None
        self._last_line = 0.0
        self._measured_from: tuple[tuple[str, int], int, float] | None = None

    def say(self, text: str) -> None:
        """One line."""
        if self._quiet:
            return
        with self._terminal() as reporter:
            self._end_bar()
            _write_line(reporter, text)

    def progress(self, what: str, start: int, done: int, end: int, seconds: float) -> None:
        """How far a stage (in updates) or the dataset (in frames) is: ``done`` of ``end`` after ``seconds``."""
        if self._quiet or done <= start:
            return
        if self._measured_from is None or self._measured_from[0] != (what, end) or seconds < self._measured_from[2]:
            # The rate counts from the first sign of progress: before it lie imports and loading. A retry starts anew.
            self._measured_from = ((what, end), done, seconds)
        _, first, since = self._measured_from
        with self._terminal() as reporter:
            if reporter is not None and sys.stdout.isatty():
                self._draw_bar(what, start, done, end)
            elif seconds - since >= SHORTEST_S and time.monotonic() - self._last_line >= PLAIN_INTERVAL_S:
                self._last_line = time.monotonic()
                rate = (done - first) / (seconds - since)
                left_s = (end - done) / max(rate, 1e-6)
                _write_line(reporter, f"{what}: {done} of {end}, {rate:.1f}/s, about {left_s:.0f} s left")

    @contextmanager
    def _terminal(self) -> Iterator[Any]:
        manager = self._config.pluginmanager
        reporter, capture = manager.getplugin("terminalreporter"), manager.getplugin("capturemanager")
        if capture is None:
            yield reporter
            return
        with capture.global_and_fixture_disabled(), lost_terminal_ignored():
            yield reporter
            sys.stdout.flush()

    def _draw_bar(self, stage: str, start: int, done: int, end: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar_key != (stage, end):
            self._end_bar()
            self._bar = Progress(
                TextColumn(r"\[gate] {task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(file=sys.stdout),
                auto_refresh=False,
                transient=True,
            )
            print()
            self._bar.start()
            self._task = self._bar.add_task(stage, total=end, completed=start)
            self._bar_key = (stage, end)
        self._bar.update(self._task, completed=done, refresh=True)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar, self._bar_key = None, None


def _write_line(reporter: Any, text: str) -> None:
    text = redact(text)
    if reporter is None:
        print(text)
    else:
        reporter.ensure_newline()
        reporter.write_line(f"[gate] {text}")


def outlive_the_terminal(config: pytest.Config) -> None:
    """From here on, secrets are removed from what pytest writes, and what it writes to a lost terminal is dropped.

    Reports and journal have what was dropped.
    """
    writer = config.get_terminal_writer()
    lost = False

    def guarded(method: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **keywords: Any) -> None:
            nonlocal lost
            if lost:
                return
            try:
                method(*args, **keywords)
            except OSError:
                lost = True
                _drop_what_is_buffered()

        return call

    # As pytest's own pastebin plugin does it; a writer's other methods all end in these two.
    write = writer.write
    writer.write = guarded(lambda text, **markup: write(redact(text), **markup))  # type: ignore[method-assign]
    writer.flush = guarded(writer.flush)  # type: ignore[method-assign]


@contextmanager
def lost_terminal_ignored() -> Iterator[None]:
    """Inside, writing to a terminal that takes no more is no error."""
    try:
        yield
    except OSError:
        _drop_what_is_buffered()


def _drop_what_is_buffered() -> None:
    """Else the interpreter would try to write it once more at its very end, and change the exit status."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)
        sys.stdout.flush()
