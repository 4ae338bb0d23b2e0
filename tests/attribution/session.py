"""Run one planned fault: the injector here, the harness in a process of its own that gets no word of the plan."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.attribution.catalogue import CGROUP
from tests.attribution.harness import OUTPUT, REPORT
from tests.attribution.injector import Injector
from tests.attribution.plan import Planned
from tests.attribution.project import Watchdog, build
from tests.helpers.config_files import REPOSITORY
from tests.helpers.memory_limits import remove_cgroup
from tests.helpers.tiny_project import environment


@dataclass(frozen=True)
class Ran:
    """What a run left: the text of its report, whether the fault happened, seconds, and the harness's output."""

    report: str
    happened: bool
    seconds: float
    output: str


class Harness:
    """The process that runs the harness, one chunk after the other; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.attribution.harness"],
            cwd=REPOSITORY,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Harness:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=300.0)

    def run(self, root: Path, stage: str, fault: Planned | None, watchdog: Watchdog, *, on_gpus: bool = False) -> Ran:
        """Build a project, run a chunk of it and cause the fault meanwhile; ``None`` causes none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        began = time.monotonic()
        build(root, stage, watchdog, on_gpus=on_gpus)
        with Injector(root, fault) as injector:
            print(root, stage, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        if (root / CGROUP).is_symlink():
            remove_cgroup((root / CGROUP).resolve())
        assert answer == "done\n", "the harness's process ended"
        texts = [
            (root / name).read_text(encoding="utf-8", errors="replace") if (root / name).exists() else ""
            for name in (REPORT, OUTPUT)
        ]
        return Ran(texts[0], injector.happened, time.monotonic() - began, texts[1])
