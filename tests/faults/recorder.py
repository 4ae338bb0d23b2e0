"""The pytest plugin behind --record-faults: outcome and seconds of each test that carries a row's mark."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.record import FAIL, NOT_RUN, PASS, Tests, merge, read_record, write_record
from tinyworlds_gate.launch.devices.nvml import gpu_inventory


class Recorder:
    """Collects while a session runs, and merges into the file at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, set[str]] = {}
        """Node ID → the rows that it carries."""
        self.outcomes: dict[str, tuple[str, str]] = {}
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Look before -m and -k deselect."""
        for item in items:
            rows = {str(id) for mark in item.iter_markers("fault") for id in mark.args}
            if rows:
                self.rows[item.nodeid] = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Setup, call and teardown: the worst counts (a process that is left running fails the teardown)."""
        if report.nodeid not in self.rows:
            return
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.outcomes[report.nodeid] = (FAIL, report.when or "")
        elif report.skipped:
            self.outcomes[report.nodeid] = (NOT_RUN, _skip_reason(report))
        else:
            self.outcomes.setdefault(report.nodeid, (PASS, ""))

    def pytest_sessionfinish(self) -> None:
        """Write."""
        collected: dict[str, set[str]] = {}
        fresh: dict[str, Tests] = {}
        same: dict[str, Any] = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "machine": machine_words(),
            "commit": _commit(),
        }
        for node, rows in self.rows.items():
            for id in rows:
                collected.setdefault(id, set()).add(node)
                if node in self.outcomes:
                    outcome, reason = self.outcomes[node]
                    told = {"outcome": outcome, "reason": reason, "seconds": round(self.seconds[node], 1)}
                    fresh.setdefault(id, {})[node] = told | same
        write_record(self.path, merge(read_record(self.path), fresh, collected))


def machine_words() -> str:
    """``2 CPU cores, 24 GiB, no GPU``."""
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    gpus = gpu_inventory()
    told = f"{len(gpus)} × {gpus[0].name}" if gpus else "no GPU"
    return f"{cpus} CPU cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {told}"


def _commit() -> str:
    answer = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "unknown"


def _skip_reason(report: pytest.TestReport) -> str:
    told = report.longrepr
    return str(told[2]).removeprefix("Skipped: ") if isinstance(told, tuple) else str(told)
