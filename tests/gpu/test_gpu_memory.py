"""Out of memory on a real GPU: a reference stage halves its batch 8 → 4 → 2 → 1 and ends DEGRADED.

python -m pytest tests/gpu/test_gpu_memory.py -m gpu --record-devices results/devices
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.gpu import programs
from tests.gpu.chunks import Evidence, foreign
from tests.gpu.ladder import LARGE, SMALL, make_ladder
from tests.gpu.record import Control
from tinyworlds_gate.launch.devices.nvml import GpuInfo
from tinyworlds_gate.launch.failure_text import failure_text

BALLAST_S = 200.0
# Of what a second clip needs, so much is left free beyond what one clip needs.
ROOM = 0.3


def peak_gib(evidence: Evidence) -> float:
    """Return the peak memory of the chunk's process, or of the whole GPU if the PID is hidden."""
    assert evidence.result.ok, failure_text(evidence.result)
    if evidence.result.peak_gpu_mem_gib is not None:
        return evidence.result.peak_gpu_mem_gib
    used = [gpu.memory_used_gib for sample in evidence.samples for gpu in sample.gpus[:1] if gpu.memory_used_gib]
    return max(used) - used[0]


@pytest.mark.gpu
@pytest.mark.timeout(240)
@pytest.mark.requirement("T1", "H8", "H9")
def test_a_batch_that_does_not_fit_the_gpu_goes_down_the_ladder_to_degraded(
    tmp_path: Path, control: Control, gpus: list[GpuInfo]
) -> None:
    control.must = "halve 8, 4, 2, 1 for out_of_memory by torch's error file, then pass as DEGRADED"
    ladder = make_ladder(tmp_path, LARGE)
    one, two = (peak_gib(ladder.probe(batch, gpus=1)) for batch in (1, 2))
    control.facts["memory of a batch of 1 and of 2 in GiB"] = [round(one, 2), round(two, 2)]
    assert two - one > 0.5, "a clip needs too little memory to tell batches apart"
    with foreign(programs.BALLAST, 0, one + ROOM * (two - one), BALLAST_S) as said:
        control.facts["left free by the ballast process in GiB"] = round(float(said.split()[1]), 2)
        result, context = ladder.train(gpus=1)
    events = context.journal.events()
    finished = [event for event in events if event["event"] == "chunk_finished"]
    retunes = [event for event in events if event["event"] == "retune"]
    batches = [event["params"]["batch_size_per_gpu"] for event in events if event["event"] == "chunk_started"]
    control.facts |= {
        "batches tried": batches,
        "causes": [event["cause"] for event in finished],
        "peak memory of each chunk in GiB": [event["peak_gpu_mem_gib"] for event in finished],
        "stage": f"{result.verdict}: {result.reason}",
    }
    assert batches == [8, 4, 2, 1]
    assert [event["cause"] for event in finished] == ["out_of_memory"] * 3 + ["ok"]
    assert [event["id"] for event in retunes] == ["T1"] * 3
    for number in (1, 2, 3):
        failure = json.loads(context.layout.chunk_error_file(number).read_text(encoding="utf-8"))
        assert "OutOfMemoryError: CUDA out of memory" in json.dumps(failure)
    assert result.verdict == "DEGRADED"
    (stage,) = [event for event in events if event["event"] == "stage_finished"]
    assert stage["degraded"] is True
    assert "out_of_memory" in retunes[-1]["cause"]


@pytest.mark.slow
@pytest.mark.requirement("T1")
def test_the_project_of_the_ladder_trains_where_memory_is_enough(tmp_path: Path) -> None:
    """Small and without a GPU: everything the test above needs except memory."""
    ladder = make_ladder(tmp_path, SMALL)
    probe = ladder.probe(2, gpus=0)
    assert probe.result.ok, failure_text(probe.result)
    result, context = ladder.train(gpus=0)
    assert result.verdict == "PASS", ladder.said
    assert [event["cause"] for event in context.journal.events() if event["event"] == "chunk_finished"] == ["ok"]
