"""The stage program and the record of the GPU tests, on a machine without a GPU.

pytest tests/gpu/test_controls_on_cpu.py
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.gpu.chunks import Evidence, gpu_chunk, hide_pids, plan
from tests.gpu.record import DeviceRecord
from tests.helpers.process_evidence import FOREIGN, GPU0, TREE, WORKER0, beats, gpu, sample_at
from tinyworlds_gate.launch.devices.concurrency import judge_cpu_workers


@pytest.mark.slow
@pytest.mark.requirement("L3")
def test_ranks_that_follow_a_plan_work_together_or_in_turns(tmp_path: Path) -> None:
    turns = [
        plan(None, (0, 1.5), (3, 4.5), seconds=6, backend="gloo"),
        plan(None, (1.5, 3), (4.5, 6), seconds=6, backend="gloo"),
    ]
    evidence = gpu_chunk(tmp_path / "turns", turns)
    steps = {rank: max(beat.step for beat in evidence.beats if beat.rank == rank) for rank in (0, 1)}
    assert min(steps.values()) > 3
    together = [plan(None, seconds=3, backend="gloo", reduce=True) for _ in (0, 1)]
    evidence = gpu_chunk(tmp_path / "together", together)
    ok, reason = judge_cpu_workers(evidence.beats, 2)
    assert ok is True, reason
    assert "CPU workers at the same time: yes" in evidence.result.dual_gpu_reason
    assert {rank: [beat for beat in evidence.beats if beat.rank == rank][-1].updates for rank in (0, 1)}.keys() == {
        0,
        1,
    }


@pytest.mark.slow
def test_a_rank_without_heartbeats_follows_its_plan_in_silence(tmp_path: Path) -> None:
    evidence = gpu_chunk(tmp_path, [plan(None, (0, 1), seconds=2, beats=False)])
    assert evidence.beats == []
    assert evidence.result.dual_gpu_ok is None


def test_hidden_pids_are_only_the_launchers_own() -> None:
    hidden = hide_pids(sample_at(1.0, gpu(GPU0, 90, [WORKER0, FOREIGN])), TREE)
    assert set(hidden.gpus[0].processes or ()) == {WORKER0 + 5_000_000, FOREIGN}
    assert set(hidden.gpus[0].activity or ()) == {WORKER0 + 5_000_000, FOREIGN}


def test_the_record_holds_samples_verdicts_and_facts_but_no_host_and_no_path(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    record = DeviceRecord(folder)
    evidence = Evidence(_result(), [sample_at(1.0, gpu(GPU0, 90, [WORKER0]))], beats(0, GPU0, end=10.0), nproc=2)
    control = record.control("test_a_control")
    control.must = "not pass"
    control.keep("a-control", evidence)
    control.facts["PIDs resolve"] = True
    for outcome in ("passed", "failed", "passed"):
        record.note("test_a_control", _report(outcome))
    record.write()
    lines = [json.loads(line) for line in (folder / "a-control.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["sample", "beat", "beat", "beat"]
    assert all("host" not in line for line in lines)
    (written,) = json.loads((folder / "summary.json").read_text())["controls"]
    assert (written["outcome"], written["why"]) == ("failed", "AssertionError: the log … says no")
    assert written["said"] == {"as it ran": {"dual_gpu_ok": False, "reason": "the ranks | share"}}
    table = (folder / "summary.md").read_text()
    assert (
        "| a control | failed: AssertionError: the log … says no | not pass | as it ran | False | the ranks \\| share |"
        in table
    )
    assert "| PIDs resolve | True | test_a_control |" in table


def _result() -> Any:
    return SimpleNamespace(dual_gpu_ok=False, dual_gpu_reason="the ranks | share")


def _report(outcome: str) -> Any:
    text = "E   AssertionError: the log /srv/runs/a.log says no\nE   more"
    return SimpleNamespace(
        outcome=outcome, duration=1.0, failed=outcome == "failed", skipped=False, longrepr=None, longreprtext=text
    )
