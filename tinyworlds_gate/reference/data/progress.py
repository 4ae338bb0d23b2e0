"""Progress of data commands: a rich bar on a terminal, a plain line per tenth elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)``; ``total`` is 0 when it is unknown."""


@contextmanager
def console_progress(label: str, stream: TextIO | None = None) -> Iterator[Progress]:
    """Yield a callback that shows ``label`` and the progress, on standard error by default."""
    out = stream or sys.stderr
    if out.isatty():
        with _rich_bar(label, out) as report:
            yield report
    else:
        yield _plain_lines(label, out)


@contextmanager
def _rich_bar(label: str, out: TextIO) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(file=out)) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _plain_lines(label: str, out: TextIO) -> Progress:
    started = time.monotonic()
    shown = -1

    def report(done: int, total: int) -> None:
        nonlocal shown
        tenth = done * 10 // total if total else done // 1000
        if tenth > shown:
            shown = tenth
            of = f"/{total} ({100 * done // total} %)" if total else ""
            print(f"{label}: {done}{of} after {time.monotonic() - started:.0f} s", file=out, flush=True)

    return report
