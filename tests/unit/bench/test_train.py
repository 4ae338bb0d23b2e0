"""What the benches make of moments and records; the speeds themselves are never tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.commands import REPOSITORY
from tinyworlds_gate.bench.baseline import rate_of, read_speeds, regressions, summary_of, write_speeds
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.bytecode import has_bytecode

MEASURED = {"device": "a GPU", "torch": "2", "profile": "baseline", "compile": True}


def record(ratio: float) -> dict[str, Any]:
    stage = {
        "stage": "dynamics",
        "updates_per_s": 120.0,
        "first_update_s": 13.0,
        "peak_mem_gib": 1.5,
        "yardstick_ratio": ratio,
        "ddp_speedup": 1.9,
    }
    return {
        "bench": "train",
        "device": "a GPU",
        "torch": "2",
        "profile": "baseline",
        "compile": True,
        "stages": [stage],
    }


def rollout_record() -> dict[str, Any]:
    case = {"case": "batch1_steps16", "frames_per_s": 230.0, "same_tokens": 1.0, "yardstick_ratio": 25.0}
    return {
        "bench": "rollout",
        "device": "a GPU",
        "torch": "2",
        "profile": "baseline",
        "compile": True,
        "cases": [case],
    }


def test_a_rate_is_the_median_over_windows_after_the_warm_up() -> None:
    slow_start = [0.0, 5.0, 10.0]
    steady = [10 + 0.1 * number for number in range(1, 101)]
    stalled = [steady[-1] + 5 + 0.1 * number for number in range(1, 52)]
    rate = rate_of([*slow_start, *steady, *stalled], skip=3)
    assert rate.fastest == pytest.approx(10)
    assert rate.median == pytest.approx(10)
    assert rate.slowest == pytest.approx(5, rel=0.05)
    assert rate.updates == 150


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="3 updates less 2 of warm-up leave nothing to time"):
        rate_of([0.0, 1.0, 2.0], skip=2)


def test_benches_keep_their_keys_side_by_side_with_the_commands_that_made_them(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "bench.json"
    write_speeds(path, record(6.0), "bench train")
    write_speeds(path, rollout_record(), "bench rollout")
    kept = read_speeds(path)
    assert kept["train_updates_per_s"] == {"dynamics": 120.0}
    assert kept["rollout_fps"] == {"batch1_steps16": 230.0}
    assert kept["yardstick_ratio"] == {"dynamics": 6.0, "batch1_steps16": 25.0}
    assert kept["ddp_speedup"] == {"dynamics": 1.9}
    assert kept["measured"]["train"]["command"] == "bench train"
    assert kept["measured"]["rollout"]["device"] == "a GPU"


@pytest.mark.parametrize(("now", "is_slower"), [(6.0, False), (5.2, False), (5.0, True)])
def test_a_ratio_that_fell_by_more_than_15_percent_is_a_regression(now: float, is_slower: bool) -> None:
    told = regressions(summary_of(record(6.0)), record(now))
    assert [one.split(":")[0] for one in told] == (["dynamics"] if is_slower else [])


def test_a_faster_absolute_rate_hides_no_lower_ratio() -> None:
    slower = record(3.0)
    slower["stages"][0]["updates_per_s"] = 500.0
    assert regressions(summary_of(record(6.0)), slower)[0].startswith(
        "dynamics: 3.00 times the yardstick, and it was 6.00"
    )


@pytest.mark.parametrize("content", ["", "[]", "no json"])
def test_a_file_that_keeps_no_speeds_is_reported_with_the_fix(content: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(content)
    with pytest.raises(GateError, match="no file of stored speeds"):
        read_speeds(path)


def test_bench_train_times_a_real_stage_and_keeps_its_ratio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    path = tmp_path / "bench.json"
    words = ["--device", "cpu", "--stage", "latent_actions", "--updates", "2", "--rounds", "1", "--batch", "2"]
    assert main(["bench", "train", *words, "--write", str(path)]) == 0
    (row,) = json.loads(capsys.readouterr().out.splitlines()[-1])["stages"]
    assert row["stage"] == "latent_actions"
    assert (row["batch"], row["updates"], row["peak_mem_gib"]) == (2, 2, None)
    assert min(row["updates_per_s"], row["first_update_s"], row["yardstick_ratio"]) > 0
    kept = read_speeds(path)
    assert kept["measured"]["train"]["bytecode"] is has_bytecode(Path(torch.__file__))
    assert kept["yardstick_ratio"] == {"latent_actions": row["yardstick_ratio"]}
    assert kept["measured"]["train"]["command"].endswith("--batch 2 --updates 2")


@pytest.mark.slow
def test_bench_rollout_times_its_cases_and_checks_them_against_a_kept_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"yardstick_ratio": {"batch1_steps16": 1e9}}))
    words = ["--device", "cpu", "--frames", "1", "--rounds", "1", "--check", str(path)]
    assert main(["bench", "rollout", *words]) == 1
    told = capsys.readouterr().out
    assert "slower than" in told
    record_line = next(line for line in told.splitlines() if line.startswith("{"))
    assert [one["same_tokens"] for one in json.loads(record_line)["cases"]] == [1.0, 1.0, 1.0]
