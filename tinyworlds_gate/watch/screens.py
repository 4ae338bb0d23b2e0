"""Outputs of a watch: a live page on a terminal, plain lines otherwise."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tinyworlds_gate.watch.plain import Line
from tinyworlds_gate.watch.view import View

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class PlainScreen:
    """Prints the log lines to standard output."""

    def show(self, view: View, lines: Sequence[Line]) -> None:
        """Print the new lines and flush."""
        for line in lines:
            print(line, flush=True)

    def close(self, view: View | None) -> None:
        """Do nothing."""


class PageScreen:
    """A full-screen page like `top`; the last page is printed to the terminal at the end."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()

    def show(self, view: View, lines: Sequence[Line]) -> None:
        """Redraw the page for the current terminal size.

        Raises:
            OSError: the terminal was closed (rich would silently draw nothing).
        """
        if not self._console.is_terminal:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._live.update(self._page(view, self._console.height), refresh=True)

    def close(self, view: View | None) -> None:
        """Restore the terminal, also after Ctrl-C, and print the last page below its earlier contents."""
        with suppress(OSError):  # the terminal was closed
            self._live.stop()
            if view is not None:
                self._console.print(self._page(view, None))

    def _page(self, view: View, height: int | None) -> RenderableType:
        from tinyworlds_gate.watch.page import page

        return page(view, self._console.width, height, ascii_only=self._console.options.ascii_only)


def choose_screen(*, plain: bool) -> PlainScreen | PageScreen:
    """Return the page if standard output is a capable terminal, otherwise plain lines."""
    if plain:
        return PlainScreen()
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        return PlainScreen()
    return PageScreen(console)
