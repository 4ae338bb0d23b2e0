"""The pytest plugin of --record-faults: outcome and seconds of each test with a ``fault`` mark."""

from __future__ import annotations

import fcntl
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.record import FAIL, NOT_RUN, PASS, Tests, merge, read_record, write_record
from tinyworlds_gate.launch.devices.nvml import gpu_inventory
from tinyworlds_gate.run.machine import total_memory_gib, usable_cpus


class Recorder:
    """Collects outcomes during a session and merges them into the file at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, set[str]] = {}
        """Node ID → the faults that it tests."""
        self.outcomes: dict[str, tuple[str, str]] = {}
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Collect the marks before -m and -k deselect tests."""
        for item in items:
            rows = {str(id) for mark in item.iter_markers("fault") for id in mark.args}
            if rows:
                self.rows[item.nodeid] = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst outcome of setup, call and teardown (a leftover process fails the teardown)."""
        if report.nodeid not in self.rows:
            return
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.outcomes[report.nodeid] = (FAIL, report.when or "")
        elif report.skipped:
            self.outcomes[report.nodeid] = (NOT_RUN, _skip_reason(report))
        else:
            self.outcomes.setdefault(report.nodeid, (PASS, ""))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Merge the outcomes into the file; each process of pytest-xdist merges its own."""
        collected: dict[str, set[str]] = {}
        fresh: dict[str, Tests] = {}
        same: dict[str, Any] = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "machine": machine_text(),
            "commit": _commit(),
        }
        for node, rows in self.rows.items():
            for id in rows:
                collected.setdefault(id, set()).add(node)
                if node in self.outcomes:
                    outcome, reason = self.outcomes[node]
                    measured = {"outcome": outcome, "reason": reason, "seconds": round(self.seconds[node], 1)}
                    fresh.setdefault(id, {})[node] = measured | same
        files_named = not any("::" in argument for argument in session.config.args)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            write_record(self.path, merge(read_record(self.path), fresh, collected if files_named else {}))
        finally:
            os.close(folder)


def machine_text() -> str:
    """Return this machine as text: ``2 CPU cores, 24 GiB, no GPU``."""
    gpus = gpu_inventory()
    gpu_text = f"{len(gpus)} × {gpus[0].name}" if gpus else "no GPU"
    return f"{usable_cpus()} CPU cores, {total_memory_gib():.0f} GiB, {gpu_text}"


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
    cause = report.longrepr
    return str(cause[2]).removeprefix("Skipped: ") if isinstance(cause, tuple) else str(cause)
