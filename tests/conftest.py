"""Signals for the children of the tests as a terminal leaves them, however the tests themselves were started."""

from __future__ import annotations

import signal


def _ignore(*_: object) -> None:
    """An ignored signal is inherited by children; a handler that does nothing is not."""


# Under `nohup` or a shell's `&` SIGHUP or SIGINT are ignored, and so would every process that the tests send them to.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _ignore)
