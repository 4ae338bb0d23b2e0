"""Judge a sample of mutants by the tests, several at a time, each in a copy of the tree of its own."""

from __future__ import annotations

import compileall
import multiprocessing
import platform
import py_compile
import queue
import random
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from tests.mutants.equivalent import Equivalent
from tests.mutants.judges import Judge, Judges, within_budget
from tests.mutants.packages import CODE, ends_processes, modules
from tests.mutants.record import TIMED_OUT, PackageRecord, read_packages, write_record
from tests.mutants.sample import Mutant, draw, places
from tests.mutants.trees import Outcome, Tree, copy_tree

Task = TypeVar("Task")
Sample = tuple[int, list[Mutant]]
"""Positions of a package that can be mutated, and the mutants drawn from them."""

UNMUTATED_LIMIT_S = 240.0
SLACK_S = 20.0
NOBODY_JUDGES = Outcome(passed=True, timed_out=False, failed="", seconds=0.0, output="")


@dataclass(frozen=True)
class Options:
    """What a run does."""

    root: Path
    work: Path
    """Folder for the copies of the tree."""
    record: Path
    packages: Sequence[str]
    seed: int
    sample: int
    """Mutants a package."""
    jobs: int
    space: Sequence[str]
    """Command that starts a PID namespace; empty: mutants of code that ends processes are not run."""
    judge_s: float
    """How long the tests of one mutant may take without it."""
    deadline_s: float
    resume: bool = False
    equivalent: Sequence[Equivalent] = ()


class Run:
    """One mutation run; :meth:`judge` writes the record after every mutant."""

    def __init__(self, options: Options, say: Callable[[str], None] = print) -> None:
        self._options = options
        self._say = say
        self._ends_at = time.monotonic() + options.deadline_s
        self._source = options.work / "source" / "tree"
        self._trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.records: dict[str, PackageRecord] = {}
        self._times: dict[str, Future[float | None]] = {}
        self.failing: dict[str, str] = {}
        """Test file that fails without a mutant → the end of its output."""

    def prepare(self) -> None:
        """Copy the tree once for each job. Bytecode is matched by the text's hash, so that a mutant is never missed."""
        copy_tree(self._options.root, self._source)
        for folder in (CODE, "tests"):
            mode = py_compile.PycInvalidationMode.CHECKED_HASH
            compileall.compile_dir(self._source / folder, quiet=2, invalidation_mode=mode)
        for number in range(self._options.jobs):
            place = self._options.work / f"job-{number}"
            shutil.copytree(self._source.parent, place, symlinks=True)
            self._trees.put(Tree(place / "tree", self._options.space))

    def draw(self) -> dict[str, Sample]:
        """Return package → its sample; the packages are searched at the same time."""
        options = self._options
        sources = [_sources(package, self._source) for package in options.packages]
        seeds = [f"{options.seed}:{package}" for package in options.packages]
        with ProcessPoolExecutor(min(options.jobs, len(seeds)), multiprocessing.get_context("spawn")) as pool:
            samples = pool.map(_sample, sources, [options.sample] * len(seeds), seeds)
            return dict(zip(options.packages, samples, strict=True))

    def judge(self, samples: Mapping[str, Sample]) -> dict[str, PackageRecord]:
        """Judge every mutant of the samples; write and return the record."""
        options, tasks = self._options, []
        earlier = read_packages(options.record) if options.resume else {}
        for package, (positions, mutants) in samples.items():
            record = self.records[package] = PackageRecord(options.seed, options.sample, positions)
            killed = earlier[package]["killed_by"] if package in earlier else {}
            tasks += [(package, mutant) for mutant in mutants if not self._is_decided(record, mutant, killed)]
        found = Judges(self._source)
        judges = {mutant.module: found.of(mutant.module) for _, mutant in tasks}
        # Mixed, so that a deadline does not leave out one package.
        random.Random(options.seed).shuffle(tasks)
        self._each(tasks, lambda tree, task: self._judge(tree, *task, judges[task[1].module]))
        self._save()
        return self.records

    def _save(self) -> None:
        facts = {
            "tool": f"cosmic-ray {metadata.version('cosmic-ray')}",
            "python": platform.python_version(),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "tests_failing_without_a_mutant": sorted(self.failing),
        }
        write_record(self._options.record, self.records, facts)

    def _is_decided(self, record: PackageRecord, mutant: Mutant, killed: Mapping[str, str]) -> bool:
        """Record a mutant that needs no test run: one that may end other processes, or one that was killed before."""
        source = (self._source / CODE / mutant.module).read_text(encoding="utf-8")
        if not self._options.space and ends_processes(mutant.module, source):
            record.add_not_run(mutant, "it may end processes, and this machine has no PID namespace for it")
            return True
        if mutant.key in killed:
            record.add_killed(mutant, killed[mutant.key])
            return True
        return False

    def _seconds(self, tree: Tree, path: str) -> float | None:
        """Return how long a test file takes without a mutant, measured once; None if it fails then."""
        with self._lock:
            first = path not in self._times
            measured = self._times.setdefault(path, Future())
        if first:
            outcome = tree.run([path], UNMUTATED_LIMIT_S)
            measured.set_result(outcome.seconds if outcome.passed else None)
            if not outcome.passed:
                self.failing[path] = outcome.output
                self._say(f"{path} fails without a mutant and judges none:\n{outcome.output}")
        return measured.result()

    def _judge(self, tree: Tree, package: str, mutant: Mutant, judges: Sequence[Judge]) -> None:
        if time.monotonic() >= self._ends_at:
            self._note(package, mutant, [], None)
            return
        chosen = within_budget(judges, lambda path: self._seconds(tree, path), self._options.judge_s)
        tests = [path for path, _ in chosen]
        allowed, left = SLACK_S + 3 * sum(spent for _, spent in chosen), self._ends_at - time.monotonic()
        if not tests:
            self._note(package, mutant, tests, NOBODY_JUDGES)
            return
        outcome = tree.judge(mutant.module, mutant.source, tests, max(min(allowed, left), 0.0))
        self._note(package, mutant, tests, None if outcome.timed_out and left < allowed else outcome)

    def _note(self, package: str, mutant: Mutant, tests: Sequence[str], outcome: Outcome | None) -> None:
        with self._lock:
            record = self.records[package]
            if outcome is None:
                record.add_not_run(mutant, "the time of the run was over")
            elif outcome.passed:
                record.add_survivor(mutant, tests, self._options.equivalent)
                self._say(f"survived: {mutant.module}:{mutant.line} {mutant.before} → {mutant.after}")
            else:
                record.add_killed(mutant, TIMED_OUT if outcome.timed_out else outcome.failed or outcome.output[-200:])
            self._save()

    def _each(self, tasks: Sequence[Task], work: Callable[[Tree, Task], None]) -> None:
        """Do every task in a tree that no other task uses at the time."""

        def in_a_tree(task: Task) -> None:
            tree = self._trees.get()
            try:
                work(tree, task)
            finally:
                self._trees.put(tree)

        with ThreadPoolExecutor(self._options.jobs) as pool:
            for future in [pool.submit(in_a_tree, task) for task in tasks]:
                future.result()


def _sources(package: str, root: Path) -> dict[str, str]:
    return {module: (root / CODE / module).read_text(encoding="utf-8") for module in modules(package, root)}


def _sample(sources: Mapping[str, str], size: int, seed: str) -> Sample:
    return sum(len(places(module, text)) for module, text in sources.items()), draw(sources, size, seed)
