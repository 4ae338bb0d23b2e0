"""Memory that runs out for real: the rows of rows_memory.py.

pytest tests/faults/test_memory.py -m "slow or not slow"
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.runs import faulty_project, reports_of
from tests.helpers.checkpoint_files import write_ours
from tests.helpers.fake_stages import FakeProject
from tests.helpers.gate_evidence import clip, raw, write_raw
from tests.helpers.hungry_stages import ARRAYS, CGROUP, LIBRARY, MIB, ROLL_OUT, TENSORS, make_hungry
from tests.helpers.memory_limits import memory_cgroup
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.findings.inference import inference_run
from tinyworlds_gate.findings.training import degraded
from tinyworlds_gate.gate.attempt import run_attempt
from tinyworlds_gate.launch.cause import read_error_file
from tinyworlds_gate.loop.inference_gate import inference_job
from tinyworlds_gate.loop.stage_controller import StageController
from tinyworlds_gate.names import STAGES

TOKENIZER = "video_tokenizer"


def batches(project: FakeProject) -> list[tuple[int, int]]:
    """(batch of a GPU, effective batch) of each chunk that was started."""
    return [
        (event["params"]["batch_size_per_gpu"], event["effective_batch"]) for event in project.events("chunk_started")
    ]


def causes(project: FakeProject) -> list[Any]:
    return [event["cause"] for event in project.events("chunk_finished")]


@pytest.mark.fault("memory-limit-ladder")
@pytest.mark.requirement("T1", "H8", "H9", "P2", "A5")
def test_what_does_not_fit_is_halved_down_to_one_and_the_run_is_degraded(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, TOKENIZER, scene, chunk=8)
    make_hungry(project, TOKENIZER, ARRAYS, mib=96, mib_per_clip=64)
    result = StageController(project.context, TOKENIZER, {}).train(8)

    assert result.verdict == "DEGRADED", result.reason
    assert batches(project) == [(8, 16), (4, 8), (2, 4), (1, 2)]
    assert causes(project) == ["out_of_memory"] * 3 + ["ok"]
    retunes = project.events("retune")
    assert [event["changes"] for event in retunes] == [{"batch_size_per_gpu": [n, n // 2]} for n in (8, 4, 2)]
    assert [event["effective_batch"] for event in retunes] == [[16, 8], [8, 4], [4, 2]]
    assert {event["id"] for event in retunes} == {"T1"}
    assert degraded(project.context.journal.events()).verdict == "DEGRADED"

    report = reports_of(project.context.layout)
    assert "The run is degraded: video_tokenizer had to fall to a batch of 1 per GPU. The cause: out" in report["A5"]
    assert "batch_size_per_gpu 8 → 4" in report["A5"]
    assert "Unable to allocate 512. MiB for an array" in report["A5"]


@pytest.mark.fault("memory-limit-floor")
@pytest.mark.requirement("T1", "A5")
def test_one_clip_that_does_not_fit_ends_the_stage_at_once_with_the_remedy(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, TOKENIZER, scene, chunk=8, batch=1)
    make_hungry(project, TOKENIZER, TENSORS, mib=32, mib_per_clip=64)
    result = StageController(project.context, TOKENIZER, {}).train(8)

    message = "Out of memory at batch_size_per_gpu 1, the floor: a smaller model or more memory is needed."
    assert result.verdict == "FAIL"
    assert message in result.reason
    assert (batches(project), causes(project)) == ([(1, 2)], ["out_of_memory"])
    layout = project.context.layout
    assert "can't allocate memory" in layout.chunk_log(1, TOKENIZER).read_text()
    assert "can't allocate memory" in str(read_error_file(layout.chunk_error_file(1)))
    (retune,) = project.events("retune")
    assert (retune["proceed"], retune["changes"], retune["reason"]) == (False, {}, message)
    assert message in reports_of(layout)["A5"]


@pytest.mark.fault("memory-library-abort")
@pytest.mark.requirement("T1")
def test_a_library_that_ends_the_process_for_want_of_memory_is_out_of_memory(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, TOKENIZER, scene, chunk=8, batch=2)
    make_hungry(project, TOKENIZER, LIBRARY, mib=4, fits=1)
    result = StageController(project.context, TOKENIZER, {}).train(8)

    assert result.verdict == "DEGRADED", result.reason
    assert causes(project) == ["out_of_memory", "ok"]
    log = project.context.layout.chunk_log(1, TOKENIZER).read_text()
    assert "Traceback" not in log
    assert re.search(r"The cause: out.of.memory", reports_of(project.context.layout)["A5"])


@pytest.mark.fault("kernel-oom-kill")
@pytest.mark.requirement("T1", "H8", "A5")
def test_a_worker_that_the_kernel_kills_for_its_memory_is_out_of_memory(tmp_path: Path, scene: BeginScene) -> None:
    """Its end is a plain SIGKILL; only the counter of the cgroup that it sits in says who did it."""
    project = faulty_project(tmp_path, TOKENIZER, scene, chunk=8, batch=4)
    with memory_cgroup(192 * MIB) as group:
        make_hungry(project, TOKENIZER, CGROUP, members=group.members, mib_per_clip=100)
        result = StageController(project.context, TOKENIZER, {}).train(8)

    assert result.verdict == "DEGRADED", result.reason
    assert [batch for batch, _ in batches(project)] == [4, 2, 1]
    assert [(event["signal"], event["cause"]) for event in project.events("chunk_finished")] == [
        ("SIGKILL", "out_of_memory"),
        ("SIGKILL", "out_of_memory"),
        (None, "ok"),
    ]
    report = reports_of(project.context.layout)
    assert "was ended by SIGKILL" in report["A5"]
    assert "The run is degraded: video_tokenizer had to fall to a batch of 1 per GPU. The cause: out" in report["A5"]


@pytest.mark.fault("kernel-oom-kill")
@pytest.mark.requirement("T6", "H8")
def test_the_same_signal_from_a_person_is_not(tmp_path: Path, scene: BeginScene) -> None:
    """The same program in the same cgroup: nobody ran out of memory, so no batch is halved."""
    project = faulty_project(tmp_path, TOKENIZER, scene, chunk=8, batch=4)
    with memory_cgroup(512 * MIB) as group:
        make_hungry(project, TOKENIZER, CGROUP, members=group.members, mib_per_clip=20, killed_by_another=True)
        result = StageController(project.context, TOKENIZER, {}).train(8)

    assert result.verdict == "PASS", result.reason
    assert batches(project) == [(4, 8), (4, 8)]
    assert [(event["signal"], event["cause"]) for event in project.events("chunk_finished")] == [
        ("SIGKILL", "killed"),
        (None, "ok"),
    ]
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"]) == ("T6", {})
    assert "had to fall to a batch of 1" not in reports_of(project.context.layout)["A5"]


def infer(
    tmp_path: Path, scene: BeginScene, *, batch_size: int, **limits: object
) -> tuple[FakeProject, Mapping[str, CheckpointRef]]:
    """A project whose inference needs memory, and the checkpoints that it would be run on."""
    project = faulty_project(tmp_path, TOKENIZER, scene)
    (project.scripts / "run_inference.py").write_text(ROLL_OUT)
    (project.scripts / "limits.json").write_text(json.dumps(limits))
    clips = [clip([0.01] * 3, episode=number % 2, start=10 * number) for number in range(4)]
    write_raw(project.scripts / "measures.json", raw(clips))
    settings = project.context.settings
    inference = settings.inference.model_copy(update={"batch_size": batch_size})
    project.context.settings = replace(settings, inference=inference)
    return project, {stage: write_ours(tmp_path / "given", stage, 4) for stage in STAGES}


@pytest.mark.fault("memory-inference")
@pytest.mark.requirement("L6", "H9", "G1")
def test_inference_that_does_not_fit_rolls_fewer_clips_out_at_once(tmp_path: Path, scene: BeginScene) -> None:
    project, checkpoints = infer(tmp_path, scene, batch_size=8, mib=96, mib_per_clip=40)
    attempt = run_attempt(inference_job(project.context), 1, checkpoints)

    (g1,) = [one for one in attempt.verdict.conditions if one.id == "G1"]
    assert g1.verdict == "PASS", "the process that fitted is judged; it is a stand-in that generates no frames"
    assert [event["batch_size"] for event in project.events("inference_started")] == [8, 4, 2]
    assert [event["cause"] for event in project.events("inference_finished")] == ["out_of_memory"] * 2 + ["ok"]
    assert [event["attempt"] for event in project.events("gate_verdict")] == [1]
    found = {one.id: one.verdict for one in inference_run(project.context.journal.events())}
    assert found == {"L6": "PASS", "L7": "PASS"}
    report = reports_of(project.context.layout)
    message = "Inference attempt 1: it ran out of memory and is run again with batch_size 4 → 2."
    assert message in report["A5"]
    assert message in report["A6"] or message in report["A1"]


@pytest.mark.fault("memory-inference-floor")
@pytest.mark.requirement("L6", "L8")
def test_inference_that_cannot_take_one_clip_judges_nothing_and_says_how_to_go_on(
    tmp_path: Path, scene: BeginScene
) -> None:
    """Training dynamics on would not give the machine more memory."""
    project, checkpoints = infer(tmp_path, scene, batch_size=2, mib=16, mib_per_clip=40)
    with pytest.raises(
        LaunchError, match=r"ran out of memory with a single clip at a time .* --resume-run results/run"
    ):
        run_attempt(inference_job(project.context), 1, checkpoints)

    assert [event["batch_size"] for event in project.events("inference_started")] == [2, 1]
    assert project.events("gate_verdict") == []
    assert "it ran out of memory and is run again with batch_size 2 → 1." in reports_of(project.context.layout)["A5"]
