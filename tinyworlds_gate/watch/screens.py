"""Where a watch is shown: a live page on a terminal, plain lines elsewhere."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from tinyworlds_gate.watch.plain import Line
from tinyworlds_gate.watch.view import View

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class Screen(Protocol):
    """Takes each look at the run; closed once, also after Ctrl-C."""

    def show(self, view: View, lines: Sequence[Line]) -> None:
        """Show a look and the lines that it gives a log."""

    def close(self, view: View | None) -> None:
        """Leave the terminal as it was; ``view`` is the last one that was shown."""


class PlainScreen:
    """The lines of the log, on standard output."""

    def show(self, view: View, lines: Sequence[Line]) -> None:
        """Print the new lines at once, also into a pipe."""
        for line in lines:
            print(line, flush=True)

    def close(self, view: View | None) -> None:
        """Nothing is left to do."""


class PageScreen:
    """A page of its own on the terminal, as `top` has it; the last one stays on the terminal afterwards."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()

    def show(self, view: View, lines: Sequence[Line]) -> None:
        """Draw the page anew, for the terminal as large as it is now.

        Raises:
            OSError: the terminal has gone; rich would draw nothing any more.
        """
        if not self._console.is_terminal:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._live.update(self._page(view, self._console.height), refresh=True)

    def close(self, view: View | None) -> None:
        """Give the terminal back and print the last page below what stood there before."""
        with suppress(OSError):  # the terminal has gone
            self._live.stop()
            if view is not None:
                self._console.print(self._page(view, None))

    def _page(self, view: View, height: int | None) -> RenderableType:
        from tinyworlds_gate.watch.page import page

        return page(view, self._console.width, height, ascii_only=self._console.options.ascii_only)


def choose_screen(*, plain: bool) -> Screen:
    """The page where standard output is a terminal that can be drawn on, else lines."""
    if plain:
        return PlainScreen()
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        return PlainScreen()
    return PageScreen(console)
