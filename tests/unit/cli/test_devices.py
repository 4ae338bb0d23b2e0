"""`tinyworlds-gate devices` on samples of real chunks: healthy ones hold, and every control stays what it was.

pytest tests/unit/cli/test_devices.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.commands import REPOSITORY, TEST_DATA
from tinyworlds_gate.cli.main import main

HEALTHY = TEST_DATA / "devices"
CONTROLS = REPOSITORY / "docs" / "results" / "devices-two-h100"
TOGETHER = ("two-gpus-nccl", "two-gpus-nccl-no-heartbeats")
APART = (
    "foreign-busy-on-gpu-1",
    "idle-context-on-gpu-1",
    "foreign-busy-beside-idle-context",
    "one-rank-asleep",
    "one-after-the-other",
    "two-ranks-on-one-gpu",
)


def judged(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> tuple[int, bool | None, str]:
    code = main(["devices", str(path), "--json", *words])
    answer = json.loads(capsys.readouterr().out)
    return code, answer["dual_gpu_ok"], answer["reason"]


@pytest.mark.requirement("H6", "L3")
@pytest.mark.parametrize("name", ["fork_dynamics_two_h200", "fork_latent_actions_two_h200"])
def test_a_healthy_chunk_of_a_checkout_without_heartbeats_holds(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, ok, reason = judged(capsys, HEALTHY / f"{name}.jsonl")
    assert (code, ok) == (0, True), reason
    assert "their shares of GPU time add up to more than turns could" in reason


@pytest.mark.requirement("H6", "L3")
@pytest.mark.parametrize("name", TOGETHER)
def test_two_ranks_that_worked_together_hold(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(capsys, CONTROLS / f"{name}.jsonl")[:2] == (0, True)


@pytest.mark.requirement("H6", "L3")
@pytest.mark.parametrize("name", APART)
@pytest.mark.parametrize("beats", [True, False], ids=["with heartbeats", "without"])
def test_samples_of_gpus_that_were_never_busy_together_do_not_hold(
    name: str, beats: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = CONTROLS / f"{name}.jsonl"
    if not beats:
        lines = [line for line in path.read_text().splitlines() if json.loads(line)["kind"] == "sample"]
        path = tmp_path / "samples.jsonl"
        path.write_text("\n".join(lines) + "\n")
    code, ok, _ = judged(capsys, path)
    assert (code, ok is True) == (1, False)


def test_samples_of_one_worker_do_not_prove_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(capsys, HEALTHY / "fork_dynamics_two_h200.jsonl", "--workers", "1")[:2] == (1, None)
    assert main(["devices", str(HEALTHY / "fork_dynamics_two_h200.jsonl")]) == 0
    assert capsys.readouterr().out.startswith("dual_gpu_ok True: 2 GPUs (GPU-")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), ("[]\n", "line 1 is not a device sample"), ("{\n", "line 1 is not a device sample")],
)
def test_a_file_that_holds_no_samples_is_named_with_the_fix(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "samples.jsonl"
    if content is not None:
        path.write_text(content)
    assert main(["devices", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "results/RUN/devices" in error or "JSON" in error
