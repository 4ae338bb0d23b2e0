"""The stage controller over real processes: chunks, evidence, gate, retunes, budget (L5, S1–S5, T1–T4, H7, H8)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.checkpoint_files import names_in, write_ours
from tests.helpers.fake_stages import RUN, FakeProject, fake_project
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.findings.training import absolute_steps, chunk_checkpoints, degraded
from tinyworlds_gate.launch.launcher import ChunkResult
from tinyworlds_gate.loop.stage_controller import StageController, StageResult
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence
from tinyworlds_gate.stages.chunk_history import ChunkHistory
from tinyworlds_gate.stages.failure import failure_of

OUT_OF_MEMORY = {"last_words": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"}
TOKENIZER, DYNAMICS = "video_tokenizer", "dynamics"
GOOD = {"losses": [0.02, 0.01, 0.005]}


def train(project: FakeProject, stage: str, target: int = 8, **keywords: Any) -> StageResult:
    inputs = {}
    if stage == DYNAMICS:
        stock = project.scripts / "stock"
        inputs = {name: write_ours(stock, name, 1) for name in (TOKENIZER, "latent_actions")}
    return StageController(project.context, stage, inputs, **keywords).train(target)


def params(project: FakeProject, key: str) -> list[Any]:
    return [event["params"][key] for event in project.events("chunk_started")]


@pytest.mark.requirement("L5", "H7", "S4", "M1", "M2", "M3")
def test_a_stage_in_two_chunks_continues_from_its_own_checkpoint_on_one_schedule(tmp_path: Path) -> None:
    project = fake_project(tmp_path, TOKENIZER)
    result = train(project, TOKENIZER)
    assert (result.verdict, result.updates, result.usable) == ("PASS", 8, True)
    first, second = project.lives(TOKENIZER)
    assert (first["n_updates"], first["schedule_start"], first["schedule_end"]) == ("4", "0", "8")
    assert "checkpoint" not in first
    assert second["checkpoint"].endswith("results/run_1/video_tokenizer/checkpoints/video_tokenizer_step_3")
    assert (second["n_updates"], second["schedule_start"], second["schedule_end"]) == ("8", "0", "8")
    spans = [(event["start_update"], event["end_update"]) for event in project.events("chunk_started")]
    assert spans == [(0, 4), (4, 8)]
    for event in project.events("chunk_finished"):
        assert {channel["verdict"] for channel in event["channels"].values()} == {"PASS"}
        assert (event["cause"], event["problems"], event["history_rows"]) == ("ok", [], 4)
    assert [event["decision"] for event in project.events("stage_gate")] == ["continue", "continue"]
    assert absolute_steps(project.context.journal.events()).verdict == "PASS"
    assert chunk_checkpoints(project.context.journal.events()).verdict == "PASS"


@pytest.mark.requirement("P1")
def test_a_chunk_states_each_parameter_with_its_origin(tmp_path: Path) -> None:
    project = fake_project(tmp_path, TOKENIZER, chunk=8)
    train(project, TOKENIZER)
    (event,) = project.events("chunk_started")
    assert event["params"]["learning_rate"] == 1e-3
    assert event["param_sources"]["learning_rate"].endswith("video_tokenizer.yaml")
    assert event["effective_batch"] == 16


@pytest.mark.requirement("T1", "P2", "H9", "S4", "H7")
def test_out_of_memory_halves_the_batch_and_the_span_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    """The try that died had saved a checkpoint on its way: nothing of it is trained again."""
    project = fake_project(tmp_path, TOKENIZER, steps=[1, 3, 7])
    project.plan(TOKENIZER, {**OUT_OF_MEMORY, "save_at": 1, "die_at": 3}, {}, {})
    result = train(project, TOKENIZER)
    assert result.verdict == "PASS", result.reason
    assert params(project, "batch_size_per_gpu") == [8, 4, 4]
    assert [event["effective_batch"] for event in project.events("chunk_started")] == [16, 8, 8]
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"], retune["effective_batch"]) == (
        "T1",
        {"batch_size_per_gpu": [8, 4]},
        [16, 8],
    )
    assert retune["cause"].startswith("out_of_memory: ")
    spans = [(event["start_update"], event["end_update"]) for event in project.events("chunk_started")]
    assert spans == [(0, 4), (2, 4), (4, 8)]
    assert project.lives(TOKENIZER)[1]["checkpoint"].endswith("video_tokenizer_step_1")
    # The gate judges the whole span, not only what its last try trained.
    assert [event["measures"]["updates"] for event in project.events("stage_gate")] == [4, 4]
    assert project.events("chunk_started")[1]["param_sources"]["batch_size_per_gpu"] == "retune T1"
    assert absolute_steps(project.context.journal.events()).verdict == "PASS"


@pytest.mark.requirement("S4", "H7")
def test_a_try_without_its_evidence_takes_only_the_last_update_again(tmp_path: Path) -> None:
    project = fake_project(tmp_path, TOKENIZER, chunk=8, steps=[6, 7])
    project.plan(TOKENIZER, {"save_at": 6, "no_picture": True}, {})
    assert train(project, TOKENIZER).verdict == "PASS"
    spans = [(event["start_update"], event["end_update"]) for event in project.events("chunk_started")]
    assert spans == [(0, 8), (7, 8)]
    assert project.lives(TOKENIZER)[1]["checkpoint"].endswith("video_tokenizer_step_6")


@pytest.mark.requirement("H7", "S4")
def test_a_chunk_whose_harness_died_goes_on_before_its_last_update(tmp_path: Path) -> None:
    """The checkpoint of the last update may be there, its other evidence is lost: that update is taken again."""
    project = fake_project(tmp_path, TOKENIZER, chunk=8, steps=[7])
    for step in (5, 6, 7):
        write_ours(project.context.layout.checkpoints(TOKENIZER), TOKENIZER, step, manifest={"run": RUN})
    started = {"stage": TOKENIZER, "chunk": 1, "start_update": 0, "end_update": 8}
    cut = [project.context.journal.append("chunk_started", **started)]
    result = StageController(project.context, TOKENIZER, {}).train(8, so_far=cut)
    assert result.verdict == "PASS", result.reason
    (closed, _) = project.events("chunk_finished")
    assert (closed["cause"], closed["continue_from"]["step"]) == ("interrupted", 6)
    assert project.lives(TOKENIZER)[0]["checkpoint"].endswith("video_tokenizer_step_6")
    assert project.events("retune") == []


@pytest.mark.requirement("H6", "T6", "H8")
@pytest.mark.parametrize(
    ("verdict", "usable"), [("PASS", True), ("DEGRADED", True), ("NOT-RUN", True), ("FAIL", False), ("INVALID", False)]
)
def test_weights_of_a_stage_that_failed_or_whose_devices_are_unproven_are_not_built_on(
    tmp_path: Path, verdict: str, usable: bool
) -> None:
    checkpoint = CheckpointRef(TOKENIZER, 7, tmp_path, "0" * 64, 1)
    assert StageResult(TOKENIZER, verdict, "", 8, checkpoint).usable is usable
    assert not StageResult(TOKENIZER, verdict, "", 0, None).usable


@pytest.mark.requirement("T1", "H8")
def test_a_batch_of_one_marks_the_stage_degraded(tmp_path: Path) -> None:
    project = fake_project(tmp_path, TOKENIZER, chunk=8, batch=2)
    project.plan(TOKENIZER, {**OUT_OF_MEMORY, "die_at": 2}, {})
    result = train(project, TOKENIZER)
    assert (result.verdict, result.usable) == ("DEGRADED", True)
    assert project.events("stage_finished")[-1]["degraded"] is True
    found = degraded(project.context.journal.events())
    assert found.verdict == "DEGRADED"
    assert "fell to batch_size_per_gpu 1: out_of_memory" in found.reason


@pytest.mark.requirement("T1")
def test_out_of_memory_at_a_batch_of_one_gives_up_at_once(tmp_path: Path) -> None:
    project = fake_project(tmp_path, TOKENIZER, chunk=8, batch=1)
    project.plan(TOKENIZER, *[{**OUT_OF_MEMORY, "die_at": 2}] * 9)
    result = train(project, TOKENIZER)
    assert (result.verdict, result.usable, result.updates) == ("FAIL", False, 0)
    assert "Out of memory at batch_size_per_gpu 1, the floor" in result.reason
    assert len(project.lives(TOKENIZER)) == 1


@pytest.mark.requirement("T1", "L5")
def test_a_spent_budget_fails_the_stage_with_the_reason_of_its_last_chunk(tmp_path: Path) -> None:
    project = fake_project(tmp_path, TOKENIZER, chunk=8, retries=2)
    lives = [{"die_at": 1, "last_words": f"RuntimeError: disk {at} is on fire", "exit_code": 7} for at in range(9)]
    project.plan(TOKENIZER, *lives)
    result = train(project, TOKENIZER)
    assert result.verdict == "FAIL"
    assert "exited with code 7 after" in result.reason
    assert "disk 2 is on fire" in result.reason
    assert "The budget is spent: video_tokenizer was retuned 2 times" in result.reason
    assert len(project.lives(TOKENIZER)) == 3
    assert project.events("stage_finished")[-1]["checkpoint"] is None
    assert project.events("chunk_finished")[-1]["log_tail"][-1] == "RuntimeError: disk 2 is on fire"


@pytest.mark.requirement("T2", "S1", "P1")
def test_a_gate_that_is_not_met_at_the_target_retunes_and_extends_the_stage_by_a_chunk(tmp_path: Path) -> None:
    project = fake_project(tmp_path, TOKENIZER, chunk=8, steps=[7, 15])
    project.plan(TOKENIZER, {"losses": [0.5]}, GOOD)
    result = train(project, TOKENIZER)
    assert (result.verdict, result.updates) == ("PASS", 16)
    first, second = project.lives(TOKENIZER)
    assert (first["learning_rate"], second["learning_rate"]) == ("0.001", "0.0005")
    assert (first["gradient_accumulation_steps"], second["gradient_accumulation_steps"]) == ("2", "3")
    # The extension has a schedule of its own, from where the stage stood.
    assert (second["schedule_start"], second["schedule_end"], second["n_updates"]) == ("8", "16", "16")
    assert second["checkpoint"].endswith("video_tokenizer_step_7")
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"]["learning_rate"]) == ("T2", [1e-3, 5e-4])
    assert [event["decision"] for event in project.events("stage_gate")] == ["retune", "continue"]


@pytest.mark.requirement("T4", "S3")
def test_a_gate_that_is_not_met_before_the_target_trains_on_with_the_new_rate(tmp_path: Path) -> None:
    project = fake_project(tmp_path, DYNAMICS)
    project.plan(DYNAMICS, {"losses": [1.0, 2.0, 6.5, 7.4]}, {"losses": [2.0, 1.5, 1.2, 1.0]})
    result = train(project, DYNAMICS)
    assert (result.verdict, result.updates) == ("PASS", 8)
    first, second = project.lives(DYNAMICS)
    assert float(second["learning_rate"]) == pytest.approx(0.2 * float(first["learning_rate"]))
    assert (second["schedule_start"], second["schedule_end"]) == ("0", "8")
    assert second["video_tokenizer_path"].endswith("video_tokenizer_step_1")
    assert [event["id"] for event in project.events("retune")] == ["T4"]


@pytest.mark.requirement("S4", "T4")
def test_a_loss_that_is_not_finite_turns_the_learning_rate_and_never_the_batch(tmp_path: Path) -> None:
    project = fake_project(tmp_path, DYNAMICS, chunk=8)
    broken = {"losses": [1.0, float("nan")], "die_at": 2, "last_words": "the loss of update 1 is nan", "exit_code": 3}
    project.plan(DYNAMICS, broken, {"losses": [1.0]})
    result = train(project, DYNAMICS)
    assert result.verdict == "PASS", result.reason
    (retune,) = project.events("retune")
    assert retune["id"] == "T4"
    assert "batch_size_per_gpu" not in retune["changes"]
    assert "the loss of update 1 is nan" in retune["cause"]
    assert params(project, "batch_size_per_gpu") == [8, 8]


@pytest.mark.requirement("S4")
@pytest.mark.parametrize(
    ("fault", "channel", "said"),
    [
        ({"no_checkpoint": True}, "M2", "no checkpoint video_tokenizer_step_7 was written"),
        ({"no_picture": True}, "M3", "no new whole picture (PNG) appeared"),
        ({"picture_bytes": 30}, "M3", "no new whole picture (PNG) appeared"),
        ({"skip_rows": [3, 4]}, "M1", "the history lacks 2 of the updates 0 to 7, the first is 3"),
        ({"rate_factor": 2.0}, None, "the learning rate of update 0 was 0.002, but 0.001 was resolved"),
    ],
)
def test_exit_0_without_its_evidence_does_not_count_and_the_chunk_is_tried_again(
    tmp_path: Path, fault: dict[str, Any], channel: str | None, said: str
) -> None:
    """Hazard 1: a stage that returns normally proves nothing."""
    project = fake_project(tmp_path, TOKENIZER, chunk=8)
    project.plan(TOKENIZER, fault, {})
    result = train(project, TOKENIZER)
    assert result.verdict == "PASS", result.reason
    first, second = project.events("chunk_finished")
    assert (first["exit_code"], first["cause"]) == (0, "ok")
    assert first["problems"] == [said]
    assert {key for key, value in first["channels"].items() if value["verdict"] == "INVALID"} == (
        {channel} if channel else set()
    )
    assert second["problems"] == []
    assert [event["chunk"] for event in project.events("stage_gate")] == [2]
    aside = ".superseded-video_tokenizer_step_7-1" in names_in(project.context.layout.checkpoints(TOKENIZER))
    assert aside != ("no_checkpoint" in fault)  # what the first try left is kept under another name
    (retune,) = project.events("retune")
    if "no_checkpoint" in fault:
        assert (first["failure"]["cause"], retune["id"]) == ("runtime_error", "T1")
    else:
        assert (first["failure"]["cause"], retune["id"], retune["changes"]) == ("missing_evidence", "T6", {})
    assert absolute_steps(project.context.journal.events()).verdict == "NOT-RUN", "nothing was resumed"


@pytest.mark.requirement("T1")
def test_the_same_error_twice_stops_the_stage_with_its_last_lines_whatever_the_budget_is(tmp_path: Path) -> None:
    project = fake_project(tmp_path, TOKENIZER, chunk=8, retries=5)
    words = "loading palette\nRuntimeError: the palette has 3 colours"
    project.plan(TOKENIZER, *[{"die_at": 1, "last_words": words, "exit_code": 7}] * 9)
    result = train(project, TOKENIZER)
    assert result.verdict == "FAIL"
    assert params(project, "batch_size_per_gpu") == [8, 4]
    assert "no other parameters mend it: RuntimeError: the palette has 3" in result.reason
    assert "_video_tokenizer.log: `loading palette`; `RuntimeError: the palette has 3 colours`" in result.reason
    assert [event["proceed"] for event in project.events("retune")] == [True, False]


@pytest.mark.requirement("H7")
def test_a_stage_continues_from_a_checkpoint_option_at_its_absolute_update(tmp_path: Path) -> None:
    project = fake_project(tmp_path, TOKENIZER, chunk=8, steps=[7])
    given = write_ours(tmp_path / "given", TOKENIZER, 4)
    result = train(project, TOKENIZER, resume=given)
    assert (result.verdict, result.updates) == ("PASS", 8)
    (life,) = project.lives(TOKENIZER)
    assert life["checkpoint"] == str(given.path)
    assert project.events("chunk_started")[0]["start_update"] == 5
    assert given.path.is_dir()


def test_a_start_that_has_reached_the_target_is_not_run_rather_than_passed(tmp_path: Path) -> None:
    project = fake_project(tmp_path, TOKENIZER, chunk=8)
    given = write_ours(tmp_path / "given", TOKENIZER, 9)
    result = train(project, TOKENIZER, resume=given)
    assert (result.verdict, result.usable) == ("NOT-RUN", True)
    assert result.reason == "not trained: the start has had 10 updates, the target is 8"
    assert project.lives(TOKENIZER) == []


@pytest.mark.requirement("S2", "T3")
def test_the_latent_action_gate_reads_the_codes_from_the_history(tmp_path: Path) -> None:
    project = fake_project(tmp_path, "latent_actions", chunk=8)
    result = train(project, "latent_actions")
    assert result.verdict == "PASS"
    measures = project.events("stage_gate")[0]["measures"]
    assert (measures["unique_actions"], measures["action_entropy_nats"]) == (4, pytest.approx(1.3))


@pytest.mark.requirement("T6", "H6")
@pytest.mark.parametrize(
    ("dual_gpu_ok", "enforced", "workers", "gpus", "cause"),
    [
        (False, True, 2, 2, "guard"),
        (False, False, 2, 2, None),
        (False, True, 1, 2, None),
        (False, True, 2, 0, None),
        (True, True, 2, 2, None),
        (None, True, 2, 2, "guard"),
        (None, False, 2, 2, None),
    ],
)
def test_an_idle_gpu_is_a_guards_failure_only_where_the_check_applies(
    tmp_path: Path, dual_gpu_ok: bool | None, enforced: bool, workers: int, gpus: int, cause: str | None
) -> None:
    """A decision over plain data: a machine with two GPUs of which one idles is not at hand."""
    project = fake_project(tmp_path, TOKENIZER, chunk=8)
    context = project.context
    settings = context.settings
    context.settings = replace(
        settings,
        training=settings.training.model_copy(update={"nproc_per_node": workers, "device": "auto"}),
        options=settings.options.model_copy(update={"enforce_dual_gpu_check": enforced}),
    )
    context.gpus = gpus
    result = ended(tmp_path, dual_gpu_ok=dual_gpu_ok, dual_gpu_reason="GPU 1 was idle")
    evidence = ChunkEvidence(None, ChunkHistory([0], [0.1], [1e-3], [], [], 1.0), None, {}, ())
    failure = failure_of(result, evidence, 1, guard_applies=StageController(context, TOKENIZER, {}).guard_applies)
    assert (failure.cause if failure else None) == cause


@pytest.mark.requirement("T1", "T6")
@pytest.mark.parametrize(
    ("last", "refused", "cause"),
    [(7, True, "missing_evidence"), (3, True, "runtime_error"), (7, False, "runtime_error")],
    ids=["refused", "refused, too few updates", "none was written"],
)
def test_an_unusable_checkpoint_after_all_updates_is_no_runtime_error(
    tmp_path: Path, last: int, refused: bool, cause: str
) -> None:
    """Seen on two H200: exit code 0 after 400 updates, and the last checkpoint is another rank's empty state."""
    steps = list(range(last + 1))
    history = ChunkHistory(steps, [0.1] * len(steps), [1e-3] * len(steps), [], [], 1.0)
    evidence = ChunkEvidence(None, history, None, {}, ("the checkpoint holds no tensors",), checkpoint_refused=refused)
    failure = failure_of(ended(tmp_path), evidence, 8, guard_applies=False)
    assert failure is not None
    assert (failure.cause, failure.reason) == (cause, "the checkpoint holds no tensors")


def ended(folder: Path, **fields: Any) -> ChunkResult:
    """How a launcher ended: well, unless ``fields`` say otherwise."""
    well: dict[str, Any] = {
        "stage": TOKENIZER,
        "chunk": 1,
        "command": ("python",),
        "exit_code": 0,
        "signal": None,
        "cause": "ok",
        "wall_s": 1.0,
        "launcher_pid": 1,
        "workers": (),
        "dual_gpu_ok": None,
        "dual_gpu_reason": "",
        "device_samples": folder / "samples.jsonl",
        "peak_gpu_mem_gib": None,
        "extra_launchers": (),
        "leftovers": (),
        "ended": (),
        "disk_problem": None,
        "last_step": 7,
        "stopped": None,
        "log": folder / "log",
        "log_tail": (),
    }
    return ChunkResult(**(well | fields))
