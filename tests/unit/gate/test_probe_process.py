"""The probe as a process: what it is given, how the journal records it, and what follows when it fails.

pytest tests/unit/gate/test_probe_process.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.gate_evidence import clip, raw, write_raw
from tests.helpers.process_projects import make_project
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.errors import DiskError, LaunchError
from tinyworlds_gate.gate import probe_process
from tinyworlds_gate.gate.clip_plan import ClipPlan
from tinyworlds_gate.gate.inference_job import InferenceJob, Subject
from tinyworlds_gate.gate.inference_process import InferenceChild
from tinyworlds_gate.gate.probe_process import NOT_ENDED, TEACHER_FORCED, recorded_probe, run_probe
from tinyworlds_gate.launch.cause import KILLED, OUT_OF_MEMORY, RUNTIME_ERROR, TIMEOUT
from tinyworlds_gate.launch.child import ChildResult
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.power.world import EPISODE_FRAMES, write_world
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames, write_generated
from tinyworlds_gate.reference.rollout.probe_files import read_request
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.source_state import SourceState
from tinyworlds_gate.targets.base import Target

CONTEXT, STEPS, CLIPS = 3, 6, 8
KEY = {"attempt": 1, "draw": 1}
GREY = """
import sys
from pathlib import Path
import numpy as np
from tinyworlds_gate.reference.rollout.probe_files import ProbeResult, read_request, write_result
asked = read_request(Path(sys.argv[1]))
frames = {name: np.full((len(one.rows), 6, 16, 16, 3), 99, np.uint8) for name, one in asked.groups.items()}
write_result(Path(sys.argv[2]), ProbeResult(frames, {"dynamics": "d"}))
"""
FAILS = "import sys\nprint('[probe] error: the device is gone', file=sys.stderr)\nsys.exit(3)\n"


@pytest.fixture
def job(tmp_path: Path) -> Iterator[InferenceJob]:
    settings = resolve_settings(REPOSITORY / "tinyworlds_gate" / "power" / "settings", {}, project_root=tmp_path)
    target = make_project(tmp_path)
    layout = RunLayout(tmp_path, "run")
    layout.logs.mkdir(parents=True)
    with Journal(layout.root / "journal.jsonl", project_root=tmp_path) as journal:
        yield InferenceJob(
            settings=settings,
            layout=layout,
            journal=journal,
            say=lambda _: None,
            target=target,
            trusted_target=replace(target, probe_script=tmp_path / "scripts" / "run_probe.py"),
            on_cpu=True,
            clips=ClipPlan(write_world(tmp_path / "data" / "lamps_frames.h5", episodes=CLIPS)),
            check_inputs=lambda: None,
        )


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    references = {stage: CheckpointRef(stage, 9, tmp_path / stage, "d" * 64, 1) for stage in STAGES}
    return Subject(1, 1, references, SourceState())


@pytest.fixture
def measures(job: InferenceJob) -> Path:
    rows = [
        clip([0.01] * STEPS, episode=number, start=number * EPISODE_FRAMES) | {"latent_actions": [[1, 2, 3]] * STEPS}
        for number in range(CLIPS)
    ]
    path = job.layout.root / "measures_01.json"
    codes = np.broadcast_to(np.array([1, 2, 3], np.int16), (CLIPS, STEPS, 3)).copy()
    frames = np.zeros((CLIPS, STEPS, 16, 16, 3), np.uint8)
    write_generated(path.with_name("measures_01_frames.h5"), GeneratedFrames(frames, random=frames, codes=codes))
    return write_raw(path, raw(rows, generated_frames="measures_01_frames.h5", n_actions=8))


def events(job: InferenceJob, name: str) -> list[dict[str, Any]]:
    return [event for event in job.journal.events() if event["event"] == name]


def probe_script(job: InferenceJob, text: str) -> None:
    assert job.trusted_target.probe_script is not None
    job.trusted_target.probe_script.write_text(text)


@pytest.mark.requirement("G5", "G7")
def test_the_choice_is_journalled_before_the_process_and_its_files_give_the_same_again(
    job: InferenceJob, subject: Subject, measures: Path
) -> None:
    probe_script(job, GREY)
    found = run_probe(job, subject, measures, exit_code=0, batch_size=4)
    assert (found.problem, found.not_run, found.clips) == ("", "", tuple(range(CLIPS)))
    assert found.result is not None
    assert found.result.frames["predicted"].shape == (CLIPS, STEPS, 16, 16, 3)
    (started,), (finished,) = events(job, "probe_started"), events(job, "probe_finished")
    assert started["clips"] == list(found.clips)
    assert started["foreign"] == [list(pair) for pair in found.foreign]
    assert (finished["exit_code"], finished["problem"]) == (0, None)
    again = recorded_probe(job.journal.events(), KEY, job.layout.project_root)
    assert again is not None
    assert (again.clips, again.foreign, again.result is not None) == (found.clips, found.foreign, True)
    assert list(job.layout.root.glob("*_true_clips.h5")) == [], "what the process reads last is not left behind"
    assert recorded_probe(job.journal.events(), {"attempt": 2, "draw": 1}, job.layout.project_root) is None


@pytest.mark.requirement("G5")
def test_the_request_has_the_requested_settings_and_checkpoints_whatever_the_measures_state(
    job: InferenceJob, subject: Subject, measures: Path
) -> None:
    probe_script(job, GREY)
    content = json.loads(measures.read_text())
    write_raw(measures, {**content, "decode_steps": 1, "temperature": 1.0, "rollout": "pixels", "seed": 7})
    run_probe(job, subject, measures, exit_code=0, batch_size=4)
    (started,) = events(job, "probe_started")
    asked = read_request(job.layout.project_root / started["request"])
    inference = job.settings.inference
    assert asked.settings == {
        "generation_steps": STEPS,
        "prediction_horizon": 1,
        "decode_steps": inference.decode_steps,
        "temperature": 0.0,
        "space": "tokens",
        "memory": None,
        "token_choice": "likeliest",
        "batch_size": 4,
        "seed": inference.seed,
    }
    assert inference.decode_steps != 1
    assert asked.checkpoints == {stage: str(path) for stage, path in subject.paths.items()}
    assert (asked.clips, asked.device) == (CLIPS, "cpu")
    assert {group.context.shape[1] for group in asked.groups.values()} == {CONTEXT}


def no_codes(measures: Path) -> None:
    path = measures.with_name("measures_01_frames.h5")
    write_generated(path, GeneratedFrames(np.zeros((CLIPS, STEPS, 16, 16, 3), np.uint8)))


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("script", "change", "said", "times"),
    [
        (FAILS, None, r"generate them again failed: it exited with code 3 .*: the device is gone", 2),
        ("", None, "the probe wrote no frames", 2),
        (GREY, no_codes, "left no action codes", 1),
        (GREY, lambda measures: measures.write_text("{}"), "the measures hold no clip", 1),
        (GREY, lambda measures: measures.with_name("measures_01_frames.h5").unlink(), "wrote no generated frames", 1),
    ],
)
def test_a_probe_that_cannot_be_made_is_a_problem_that_the_journal_has(
    job: InferenceJob,
    subject: Subject,
    measures: Path,
    script: str,
    change: Callable[[Path], object] | None,
    said: str,
    times: int,
) -> None:
    probe_script(job, script)
    if change is not None:
        change(measures)
    found = run_probe(job, subject, measures, exit_code=0, batch_size=4)
    assert found.result is None
    assert [bool(one["problem"]) for one in events(job, "probe_finished")] == [True] * times
    assert len({(*one["clips"], *one["played"]) for one in events(job, "probe_started")}) <= 1, "the same clips"
    again = recorded_probe(job.journal.events(), KEY, job.layout.project_root)
    assert again == found
    assert re.search(said, found.problem), found.problem


@pytest.mark.requirement("G5")
def test_a_process_that_fails_once_is_repeated(job: InferenceJob, subject: Subject, measures: Path) -> None:
    flag = job.layout.root / "failed"
    once = f"from pathlib import Path\nflag = Path({str(flag)!r})\nif not flag.exists():\n    flag.touch()\n    1 / 0\n"
    probe_script(job, once + GREY)
    said = list[str]()
    found = run_probe(replace(job, say=said.append), subject, measures, exit_code=0, batch_size=4)
    assert (found.problem, found.result is not None) == ("", True)
    assert [bool(one["problem"]) for one in events(job, "probe_finished")] == [True, False]
    assert said == [f"the probe, {subject.name}: it failed and is repeated once, with the same clips"]


def ended_with(*causes: str) -> Callable[..., InferenceChild]:
    """Return what ends as a process with each of these causes in turn, without frames."""
    left = iter(causes)

    def run(job: InferenceJob, target: Target, command: list[object], log: Path) -> InferenceChild:
        child = ChildResult(("python",), exit_code=1, signal=None, wall_s=1.0, pid=7, log=log, log_tail=("it ended",))
        return InferenceChild(child, next(left), None)

    return run


@pytest.mark.requirement("G5", "L6")
@pytest.mark.parametrize(
    ("causes", "batches", "temperature"),
    [
        ((TIMEOUT,), [4], 0.0),
        ((RUNTIME_ERROR, TIMEOUT), [4, 4], 0.0),
        ((RUNTIME_ERROR, RUNTIME_ERROR), [4, 4], 0.0),
        ((KILLED, RUNTIME_ERROR, KILLED), [4, 4, 4], 0.0),
        ((KILLED, KILLED, RUNTIME_ERROR), [4, 4, 4], 0.0),
        ((OUT_OF_MEMORY, OUT_OF_MEMORY, RUNTIME_ERROR, RUNTIME_ERROR), [4, 2, 1, 1], 0.0),
        ((OUT_OF_MEMORY, OUT_OF_MEMORY, OUT_OF_MEMORY), [4, 2, 1], 0.0),
        ((OUT_OF_MEMORY,), [4], 0.5),
    ],
)
def test_each_cause_of_an_end_has_its_answer(
    job: InferenceJob,
    subject: Subject,
    measures: Path,
    monkeypatch: pytest.MonkeyPatch,
    causes: tuple[str, ...],
    batches: list[int],
    temperature: float,
) -> None:
    monkeypatch.setattr(probe_process, "run_inference", ended_with(*causes))
    inference = job.settings.inference.model_copy(update={"temperature": temperature})
    said = list[str]()
    warm = replace(job, settings=replace(job.settings, inference=inference), say=said.append)
    if causes[-1] == OUT_OF_MEMORY:
        with pytest.raises(LaunchError, match=r"ran out of memory .* Nothing is judged: free memory"):
            run_probe(warm, subject, measures, exit_code=0, batch_size=4)
    else:
        assert "generate them again failed" in run_probe(warm, subject, measures, exit_code=0, batch_size=4).problem
    requests = [read_request(job.layout.project_root / one["request"]) for one in events(job, "probe_started")]
    assert [request.settings["batch_size"] for request in requests] == batches
    assert len(said) == len(batches) - 1, "each further try is announced"


@pytest.mark.requirement("G5")
def test_a_full_disk_stops_the_probe(
    job: InferenceJob, subject: Subject, measures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: object) -> InferenceChild:
        return replace(ended_with(RUNTIME_ERROR)(*arguments), disk_problem="no space left on /data")

    monkeypatch.setattr(probe_process, "run_inference", run)
    with pytest.raises(DiskError, match=r"no space left on /data .* free some space"):
        run_probe(job, subject, measures, exit_code=0, batch_size=4)


@pytest.mark.requirement("G5", "G7")
def test_a_failed_inference_run_and_a_teacher_forced_rollout_need_no_probe(
    job: InferenceJob, subject: Subject, measures: Path
) -> None:
    assert run_probe(job, subject, measures, exit_code=1, batch_size=4).not_run == NOT_ENDED
    inference = job.settings.inference.model_copy(update={"teacher_forced": True})
    forced = replace(job, settings=replace(job.settings, inference=inference))
    assert run_probe(forced, subject, measures, exit_code=0, batch_size=4).not_run == TEACHER_FORCED
    assert [event["reason"] for event in events(job, "probe_skipped")] == [NOT_ENDED, TEACHER_FORCED]
    assert events(job, "probe_started") == []
    found = recorded_probe(job.journal.events(), KEY, job.layout.project_root)
    assert found is not None
    assert found.not_run == TEACHER_FORCED


@pytest.mark.requirement("G5")
def test_a_target_without_a_probe_script_is_refused(job: InferenceJob, subject: Subject, measures: Path) -> None:
    bare = replace(job, trusted_target=replace(job.trusted_target, probe_script=None))
    with pytest.raises(LaunchError, match="has no script that generates frames without the true future"):
        run_probe(bare, subject, measures, exit_code=0, batch_size=4)
