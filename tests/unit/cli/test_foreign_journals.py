"""A journal of any size and content: a report takes time in proportion to it, or is refused with one sentence.

pytest tests/unit/cli/test_foreign_journals.py
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tinyworlds_gate.cli.main import main
from tinyworlds_gate.findings.training import parameters
from tinyworlds_gate.reports.model import build_record
from tinyworlds_gate.reports.render import render_all

RUN = {"run": "r", "timestamp": "2026_01_01_00_00_00", "profile": "smoke", "kind": "smoke"}
STARTED = {"event": "run_started", "schema": 1, **RUN, "command": ["pytest"], "options": {}, "seed": 0}
PARAMS = {"batch_size_per_gpu": 1, "gradient_accumulation_steps": 1, "learning_rate": 1e-3, "log_interval": 1}
SETTINGS = {"params": PARAMS, "param_sources": {}, "nproc_per_node": 1, "effective_batch": 1}


def chunks(number: int) -> Iterator[dict[str, Any]]:
    one = {"chunk": number, "stage": "dynamics"}
    bounds = {"start_update": number, "end_update": number + 1, "target_updates": 10**6}
    yield {"event": "chunk_started", **one, **bounds, **SETTINGS}
    yield {"event": "chunk_finished", **one, "cause": "ok", "failure": None, "updates_per_s": 3.0}
    yield {
        "event": "retune",
        **one,
        "id": "T1",
        "cause": "x",
        "proceed": True,
        "changes": {},
        "effective_batch": [1, 1],
    }


def attempts(number: int) -> Iterator[dict[str, Any]]:
    one = {"attempt": number, "draw": 1}
    yield {"event": "inference_started", **one}
    yield {"event": "inference_retry", **one, "reason": "it was killed"}
    yield {"event": "gate_verdict", **one, "verdict": "FAIL", "sentence": "FAIL: x", "measures": {}, "conditions": []}


def seconds(shape: Callable[[int], Iterator[dict[str, Any]]], count: int) -> float:
    made = [STARTED, *(event for number in range(1, count + 1) for event in shape(number))]
    events = [{"seq": seq, "time": 1e9 + seq, **json.loads(json.dumps(event))} for seq, event in enumerate(made)]
    began = time.process_time()
    render_all(build_record(Path("project"), Path("project/results/r"), events), "now")
    parameters(events)
    return time.process_time() - began


@pytest.mark.slow
@pytest.mark.parametrize("shape", [chunks, attempts])
def test_four_times_the_events_take_about_four_times_as_long(
    shape: Callable[[int], Iterator[dict[str, Any]]],
) -> None:
    seconds(shape, 10)
    assert seconds(shape, 1200) < 8 * seconds(shape, 300)


FOREIGN = [
    {"event": "chunk_started", "chunk": 1},
    {"event": "chunk_finished", "chunk": [], "stage": {}, "workers": 3},
    {"event": "gate_verdict", "attempt": 1, "draw": 1, "measures": [1], "conditions": 7},
    {"event": "stale_processes", "ended": [{"pid": 1}]},
    {"event": "settings_resolved", "settings": [1], "thresholds": "x"},
    {"event": "dataset_ready", "evaluation": 3, "draws": {}},
    {"event": "retune", "stage": "dynamics", "changes": {"learning_rate": 1}},
    {"event": "run_finished", "status": None, "sentence": {}},
]


@pytest.mark.parametrize("command", ["report", "verdict", "keep", "runs"])
@pytest.mark.parametrize("event", FOREIGN, ids=lambda event: str(event["event"]))
def test_an_event_of_another_kind_is_a_sentence(
    event: dict[str, Any], command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results" / "r"
    folder.mkdir(parents=True)
    lines = [json.dumps({"seq": seq, "time": 1e9 + seq, **one}) for seq, one in enumerate([STARTED, event])]
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n")
    words = ["--project-root", str(tmp_path)] if command in ("keep", "runs") else []
    code = main([command, *([] if command == "runs" else [str(folder)]), *words])
    shown = capsys.readouterr()
    assert code in (0, 1, 2)
    assert code < 2 or shown.err.count("\n") == 1, shown.err
    assert len(shown.err) < 1500


@pytest.mark.parametrize("text", ["word " * 1_000_000, "ab12" * 1_000_000])
def test_of_a_text_of_megabytes_a_report_shows_the_beginning(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results" / "r"
    folder.mkdir(parents=True)
    end = {"event": "run_finished", "status": "failed", "sentence": text, "exit_status": 1, "seconds": 1.0}
    lines = [json.dumps({"seq": seq, "time": 1e9 + seq, **one}) for seq, one in enumerate([STARTED, end])]
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n")
    began = time.process_time()
    assert main(["report", str(folder)]) == 1
    assert time.process_time() - began < 20, "to look for secrets in all of it takes a minute"
    assert len(capsys.readouterr().out) < 100_000
    written = list((tmp_path / "docs" / "action").iterdir())
    assert written
    assert all(path.stat().st_size < 500_000 for path in written)
