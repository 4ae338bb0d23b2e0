"""Open HDF5 files that anybody may have written: whole regular files without links to others.

A file is examined before this process opens it, in a child, because damaged files can crash HDF5 or keep it busy for
ever. The child is started once and answers for all files; a file that is unchanged is examined once.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.names import LAUNCH_VARIABLE
from tinyworlds_gate.reference.data.hdf5_examine import examine, fault
from tinyworlds_gate.run.regular_file import MISSING, regular_file_problem

TIMEOUT_S = 60.0
_KNOWN_FILES = 1000


@contextmanager
def open_hdf5(path: Path, fix: str, *, needed: str = "frames file (HDF5)") -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Args:
        fix: the end of the sentence.
        needed: what the file should be, for the sentence.

    Raises:
        DataError: it is no regular file, is damaged, or has links to other files; also for errors of HDF5 in the block.
    """
    size = require_regular(path, fix, needed)
    problem = _EXAMINER.problem(path)
    if problem is not None:
        raise DataError(f"{path} {problem}; a whole {needed} is needed; {fix}")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except OSError as error:
        raise DataError(f"{path} {fault(error, size)}; a whole {needed} is needed; {fix}") from error
    except Exception as error:
        if isinstance(error, MemoryError) or _is_of_h5py(error):
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise DataError(f"{path} cannot be read ({reason}); a whole {needed} is needed; {fix}") from error
        raise


def require_regular(path: Path, fix: str, needed: str) -> int:
    """Return the size of a regular file that is not empty; a FIFO or a device is never opened.

    Raises:
        DataError: it is none.
    """
    problem = regular_file_problem(path)
    if problem is not None:
        what = "there is no such file" if problem == MISSING else f"it {problem}"
        raise DataError(f"{path}: {what}; a {needed} is needed; {fix}")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path} is empty (0 bytes); a {needed} is needed; {fix}")
    return size


def _is_of_h5py(error: BaseException) -> bool:
    """Whether an exception was raised inside h5py, which raises many types for a damaged file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("h5py")


class _Examiner:
    """The child process, and what it said of which files."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int, int, int], str | None] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def problem(self, path: Path) -> str | None:
        """Return why a file is not read; None when nothing is wrong."""
        # A rank or another process that the harness launched: its death becomes a sentence already.
        if "LOCAL_RANK" in os.environ or LAUNCH_VARIABLE in os.environ:
            return None
        found = path.stat()
        key = (str(path.resolve()), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        with self._lock:
            if key not in self._known:
                answer = self._ask(Path(key[0]))
                if len(self._known) >= _KNOWN_FILES:
                    self._known.clear()
                self._known[key] = answer
            return self._known[key]

    def _ask(self, path: Path) -> str | None:
        child = self._running()
        if child is None:
            return examine(path)
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(os.fsdecode(path)).encode() + b"\n")
            child.stdin.flush()
            with selectors.DefaultSelector() as selector:
                selector.register(child.stdout, selectors.EVENT_READ)
                answered = bool(selector.select(TIMEOUT_S))
            line = child.stdout.readline() if answered else b""
        except BrokenPipeError:
            answered, line = True, b""
        if line:
            return str(answer) if (answer := json.loads(line)) is not None else None
        self.close()
        if not answered:
            return f"is damaged: HDF5 did not finish reading it within {TIMEOUT_S:.0f} s"
        code = child.returncode
        name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return f"is damaged: HDF5 crashed on it ({name})"

    def _running(self) -> subprocess.Popen[bytes] | None:
        """Return the child of this process; None where none can be started."""
        if self._child is not None and self._owner == os.getpid() and self._child.poll() is None:
            return self._child
        root = str(Path(__file__).resolve().parents[3])
        given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        paths = [root, *(os.path.abspath(one) for one in given if one)]
        # Nothing marks the child as part of a launch: it trains nothing and works in no project.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TINYWORLDS_GATE_")}
        environment = {**kept, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tinyworlds_gate.reference.data.hdf5_examine"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            return None
        self._owner = os.getpid()
        return self._child

    def close(self) -> None:
        """End the child of this process."""
        child, self._child = self._child, None
        if child is None or self._owner != os.getpid():
            return
        if child.poll() is None:
            child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue


_EXAMINER = _Examiner()
atexit.register(_EXAMINER.close)
