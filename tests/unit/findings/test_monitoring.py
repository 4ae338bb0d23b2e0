"""M4 from the logs of watches. ``pytest tests/unit/findings/test_monitoring.py``"""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyworlds_gate.findings import monitoring
from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.findings.monitoring import long_watch
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.watch.record import LATEST, WatchLog


@pytest.mark.requirement("M4")
@pytest.mark.parametrize(
    ("seen", "verdict", "reason", "log"),
    [
        ([], "NOT-RUN", "optional: no watch was started", None),
        ([(0, 9.0)], "NOT-RUN", "optional: a watch was started, but it never saw the run working (Logs/0.log)", None),
        ([(1, 120.0)], "PASS", "watched from another terminal: 1 observation(s) over 2 min (--for 4h)", "Logs/0.log"),
        (
            [(2, 5.0), (3, 8.0), (3, 4.0)],
            *(
                "PASS",
                "watched from another terminal: 3 observation(s) over 8.0 s (--for 4h); the longest of 3 watches",
            ),
            "Logs/1.log",
        ),
    ],
)
def test_a_watch_counts_when_it_saw_the_run_working(
    seen: list[tuple[int, float]],
    verdict: str,
    reason: str,
    log: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = RunLayout(tmp_path, "a").create()
    logs = [WatchLog(layout.histories / f"{n}.log", "4h", count, seconds) for n, (count, seconds) in enumerate(seen)]
    monkeypatch.setattr(monitoring, "read_watch_logs", lambda of: logs)
    assert long_watch(layout) == Finding("M4", verdict, reason, log)
    for number in range(len(logs)):
        (layout.histories / LATEST).write_text(f"run: results/a\nlog: Logs/{number}.log\n")
        assert long_watch(layout) == Finding("M4", verdict, reason, log)
    (layout.histories / LATEST).write_text("run: results/a\nlog: Logs/other.log\n")
    named = f"Logs/{LATEST}"
    told = f"{named} names Logs/other.log, which is no log of a watch of this run"
    assert long_watch(layout) == Finding("M4", "INVALID", told, named)
