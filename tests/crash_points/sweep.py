"""Run every case of the sweep: fork a child, let a fault hit it, look at the disk, run it again, look again."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests.crash_points.shim import (
    FAULTS,
    KILL,
    POWER,
    TORN,
    Injection,
    Shim,
    lose_power,
    points,
)
from tests.crash_points.subject import State, Subject
from tinyworlds_gate.errors import GateError

DONE, REFUSED, DEFECT, KILLED = 0, 3, 4, -9
"""How a child ends: done, one sentence, a traceback, SIGKILL."""

RESUME_FAULTS = (KILL, "ENOSPC", "EIO", TORN)


@dataclass(frozen=True)
class Case:
    """A fault at a change of the command and, where there is a second one, at a change of its rerun."""

    subject: Subject
    first: Injection
    second: Injection | None = None


@dataclass
class Counts:
    """Cases by row and fault, and what went wrong."""

    cases: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class Bench:
    """The folders of one worker, on a memory disk where there is one."""

    def __init__(self, base: Path, subject: Subject) -> None:
        self.subject, self._base = subject, base
        self._template = base / "template"
        self._template.mkdir(parents=True)
        subject.make(self._template)
        subject.check(self._template, (), "broken off")
        self.number = 0

    def count_points(self) -> list[tuple[str, str]]:
        """Return the changes of an undisturbed command, as (kind, name)."""
        folder, log = self._copy()
        code = run_child(self.subject, folder, log, Injection())
        problems = self.subject.check(folder, _acknowledged(log), "settled")
        if code != DONE or problems:
            raise RuntimeError(f"{self.subject.name}: the undisturbed command fails ({code}, {_said(log)}): {problems}")
        return points(log)

    def resume_points(self, first: Injection) -> int:
        """Return the number of changes that the rerun makes after a fault."""
        folder, log = self._copy()
        self._disturb(folder, log, first)
        again = log.with_suffix(".again")
        run_child(self.subject, folder, again, Injection())
        return len(points(again)) if again.exists() else 0

    def problems(self, case: Case) -> list[str]:
        """Run a case; return what went wrong."""
        folder, log = self._copy()
        found = self._disturb(folder, log, case.first)
        done = list(_acknowledged(log))
        if case.second is not None:
            second = log.with_suffix(".second")
            found += self._disturb(folder, second, case.second, done)
            done += _acknowledged(second)
        last = log.with_suffix(".last")
        code = run_child(self.subject, folder, last, Injection())
        if code != DONE:
            found.append(f"the rerun does not go on by itself: {_said(last)}")
        state: State = "settled" if code == DONE else "broken off"
        found += self.subject.check(folder, [*done, *_acknowledged(last)], state)
        return found

    def _disturb(self, folder: Path, log: Path, injection: Injection, before: Sequence[str] = ()) -> list[str]:
        code = run_child(self.subject, folder, log, injection)
        if code == KILLED and injection.fault == POWER:
            lose_power(log, folder)
        found = [f"no sentence, but a traceback: {_said(log)}"] if code == DEFECT else []
        state: State = "done" if code == DONE else "broken off"
        return found + self.subject.check(folder, [*before, *_acknowledged(log)], state)

    def _copy(self) -> tuple[Path, Path]:
        self.number += 1
        folder = self._base / "case"
        shutil.rmtree(folder, ignore_errors=True)
        for left in self._base.glob("log*"):
            left.unlink()
        shutil.copytree(self._template, folder, symlinks=True)
        return folder, self._base / "log"


def run_child(subject: Subject, folder: Path, log: Path, injection: Injection) -> int:
    """Run the command in a forked child with a fault; return how it ended."""
    child = os.fork()
    if child == 0:
        code = DEFECT
        try:
            shim = Shim(injection, log)
            shim.install()
            try:
                subject.act(folder, lambda text: shim.note(f"acknowledged {text}", 0, ""))
                shim.end()
                code = DONE
            except GateError as error:
                shim.note(f"said {' '.join(str(error).split())}", 0, "")
                code = REFUSED
            except BaseException:  # noqa: BLE001 (every other end is a defect to report)
                shim.note(f"said {traceback.format_exc(limit=-4)!r}", 0, "")
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _lines(log: Path, kind: str) -> list[str]:
    if not log.exists():
        return []
    lines = [line.split("\t")[0] for line in log.read_text(encoding="utf-8").splitlines()]
    return [line.removeprefix(kind) for line in lines if line.startswith(kind)]


def _acknowledged(log: Path) -> list[str]:
    return _lines(log, "acknowledged ")


def _said(log: Path) -> str:
    return (_lines(log, "said ") or ["nothing"])[-1]


def cases_of(bench: Bench, changes: Sequence[tuple[str, str]], *, resumes: int) -> Iterator[Case]:
    """Yield every fault at every change, and after a kill at each change up to ``resumes`` faults of the rerun."""
    for at, (kind, _) in enumerate(changes):
        for fault in FAULTS:
            if fault != TORN or kind == "write":
                yield Case(bench.subject, Injection(at, fault))
        first = Injection(at, KILL)
        count = bench.resume_points(first) if resumes else 0
        for number in sorted({count * step // resumes for step in range(resumes)} if count else ()):
            fault = RESUME_FAULTS[(at + number) % len(RESUME_FAULTS)]
            yield Case(bench.subject, first, Injection(number, fault))
    yield from (Case(bench.subject, Injection(len(changes), fault)) for fault in (KILL, POWER))


def sweep(subject: Subject, *, resumes: int, part: int = 0, parts: int = 1, every: int = 1) -> Counts:
    """Run the cases of a subject: of ``parts`` equal parts the one with this number, and every n-th case of it."""
    counts = Counts()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as base:
        bench = Bench(Path(base) / "bench", subject)
        changes = bench.count_points()
        step = parts * every
        for number, case in enumerate(cases_of(bench, changes, resumes=resumes)):
            if number % step != part * every:
                continue
            at = case.first.at or 0
            kind, name = changes[at] if at < len(changes) else ("the end", "")
            row = subject.label(name) if subject.label else subject.name
            fault = f"{case.first.fault}"
            counts.cases[row, "during the resume" if case.second else fault] += 1
            where = f"{row}, {fault} at {f'{kind} {name}'.strip()} ({at})"
            if case.second is not None:
                where += f", then {case.second.fault} at change {case.second.at} of the rerun"
            counts.problems += [f"{where}: {one}" for one in bench.problems(case)]
    return counts


def sweep_in_processes(subject: Subject, jobs: int) -> Counts:
    """Run all cases of a subject in several processes and add their counts."""
    with get_context("fork").Pool(jobs) as pool:
        parts = pool.starmap(_part, [(subject.name, number, jobs) for number in range(jobs)])
    total = Counts()
    for one in parts:
        total.cases.update(one.cases)
        total.problems += one.problems
    return total


def _part(name: str, part: int, parts: int) -> Counts:
    from tests.crash_points.subjects import SUBJECTS

    subject = next(one for one in SUBJECTS if one.name == name)
    return sweep(subject, resumes=subject.resumes, part=part, parts=parts)
