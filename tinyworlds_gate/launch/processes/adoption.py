"""What a launch leaves behind becomes our child, whatever it did to its session, environment and command line.

On Linux a process can take in the orphans below it (PR_SET_CHILD_SUBREAPER). A process that a checkout left behind
could otherwise write into the files of the gate that comes next. Elsewhere nothing is found here.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from tinyworlds_gate.launch.processes.bystanders import session_of
from tinyworlds_gate.launch.processes.find import ProcessFacts, facts_of
from tinyworlds_gate.launch.processes.stage_of_process import environment_of
from tinyworlds_gate.names import LAUNCH_VARIABLE
from tinyworlds_gate.run.identity import ProcessIdentity

_SET_SUBREAPER, _GET_SUBREAPER = 36, 37


class Adoption:
    """The children that this process had before a launch, to tell the orphans of the launch from them.

    Args:
        token: the marker of the launch. An orphan that carries it does not hide: `bystanders.py` decides.
        everything: orphans with the marker count as well.
    """

    def __init__(self, token: str, *, everything: bool = False) -> None:
        self._token, self._everything = token, everything
        self._before = {one.identity for one in _children()}

    def orphans(self, launcher: ProcessIdentity | None) -> list[ProcessFacts]:
        """Return the processes of the launch that became our children; none of a launch is in our session."""
        ours = session_of(os.getpid())
        fresh = [one for one in _children() if one.identity not in self._before and one.identity != launcher]
        fresh = [one for one in fresh if session_of(one.pid) not in (None, ours)]
        return [one for one in fresh if self._everything or not self._shows_its_marker(one.pid)]

    def _shows_its_marker(self, pid: int) -> bool:
        with suppress(psutil.Error, OSError):
            return environment_of(psutil.Process(pid)).get(LAUNCH_VARIABLE) == self._token
        return False


@contextmanager
def adopting_orphans(token: str, *, everything: bool = False) -> Iterator[Adoption]:
    """Take in the orphans of what is started inside; a context manager. Arguments as for `Adoption`."""
    was = ctypes.c_int(0)
    _prctl(_GET_SUBREAPER, ctypes.addressof(was))
    _prctl(_SET_SUBREAPER, 1)
    try:
        yield Adoption(token, everything=everything)
    finally:
        _prctl(_SET_SUBREAPER, was.value)


def _children() -> list[ProcessFacts]:
    """Our children that the main thread started or that were taken in, which counts as the same."""
    with suppress(psutil.Error):
        children = [facts for one in psutil.Process().children() if (facts := facts_of(one)) is not None]
        listed = _listed(os.getpid())
        return [one for one in children if listed is None or one.pid in listed]
    return []


def _listed(pid: int) -> set[int] | None:
    """The children of a process's main thread; None where the kernel does not list them."""
    with suppress(OSError, ValueError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return {int(word) for word in file.read().split()}
    return None


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0)
