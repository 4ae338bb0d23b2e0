"""Read each input in a forked child with limits of time and memory, and report how that ended."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile_files.case import Case
from tinyworlds_gate.errors import GateError

SECONDS, WAITING = 20, 10
"""A child may compute for so long, and may take ten times as long, on a machine that is busy with other things."""
MEMORY = 2 * 2**30
"""Bytes of address space that a child may add."""
RESIDENT = 700 * 2**20
"""Bytes of memory that a child may add: more than any file here has."""
LONGEST_SENTENCE = 1500

ACCEPTED, REFUSED = "accepted", "refused"
FAILURES = ("traceback", "hang", "crash", "memory", "ran code", "accepted what must be refused", "no sentence")

Readers = Sequence[Callable[[Path], object]]


@dataclass
class Outcome:
    """How the readers ended, what was wrong, and for how long the slowest child ran."""

    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    @property
    def inputs(self) -> int:
        return self.kinds.total()

    def add(self, case: Case, found: str, detail: str, seconds: float) -> None:
        """Count an input."""
        self.counts[found] += 1
        self.kinds[case.kind] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        if found in FAILURES:
            self.problems.append(f"{case}: {found}: {detail}")

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.counts + other.counts,
            self.kinds + other.kinds,
            self.problems + other.problems,
            max(self.slowest_s, other.slowest_s),
        )

    def as_record(self) -> dict[str, object]:
        """Return the figures as plain data."""
        failures = {name: self.counts[name] for name in FAILURES}
        return {
            "inputs": self.inputs,
            "kinds": dict(self.kinds),
            "accepted": self.counts[ACCEPTED],
            "refused": self.counts[REFUSED],
            "failures": failures,
            "slowest_s": round(self.slowest_s, 1),
        }


def run_cases(
    cases: Iterable[Case],
    readers: Readers,
    before: Callable[[Path], object] = lambda path: None,
    *,
    first_decides: bool = False,
) -> Outcome:
    """Make and read every input.

    Args:
        cases: the inputs.
        readers: all are called; an input is accepted if one of them accepts it.
        before: called in this process, with the input's path.
        first_decides: an input is accepted if the first reader accepts it.
    """
    outcome = Outcome()
    for case in cases:
        with _folder() as folder:
            path = case.make(folder)
            began = time.monotonic()
            before(path)
            found, detail = _in_a_child(path, readers, first_decides=first_decides)
            if (folder / "executed").exists():
                found, detail = "ran code", "a file was written"
            if found == ACCEPTED and case.must_refuse:
                found = "accepted what must be refused"
            outcome.add(case, found, detail, time.monotonic() - began)
    return outcome


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="hostile-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(os.fsencode(folder))


def _in_a_child(path: Path, readers: Readers, *, first_decides: bool) -> tuple[str, str]:
    """Return how a child ended that called the readers one after the other."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            answer = json.dumps(_read(path, readers, first_decides))
            os.write(writing, answer.encode()[:4096])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        said = answers.read()
    _, status, usage = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return ("hang", name) if name in ("SIGXCPU", "SIGALRM") else ("crash", name)
    if not said:
        return "crash", "no answer"
    found, detail, before = json.loads(said)
    added = usage.ru_maxrss * 1024 - before
    return ("memory", f"{added / 2**20:.0f} MiB") if added > RESIDENT else (found, detail)


def _read(path: Path, readers: Readers, first_decides: bool) -> tuple[str, str, int]:
    pages = Path("/proc/self/statm").read_text().split()
    size, resident = (int(one) * resource.getpagesize() for one in pages[:2])
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    signal.alarm(WAITING * SECONDS)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    accepted, detail = [], ""
    for reader in readers:
        try:
            reader(path)
        except GateError as error:
            text = str(error).replace(str(path), "PATH")
            if len(text) > LONGEST_SENTENCE or not text:
                return "no sentence", f"{len(text)} characters: {text[:200]!a}", resident
            accepted.append(False)
            detail = detail or ascii(text)
        except BaseException:  # noqa: BLE001 (every other end is a failure to report)
            return "traceback", ascii(traceback.format_exc(limit=-3)[-700:]), resident
        else:
            accepted.append(True)
    found = ACCEPTED if any(accepted[:1] if first_decides else accepted) else REFUSED
    return found, detail[:700], resident
