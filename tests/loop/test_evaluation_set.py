"""A run that names a fixed evaluation set: its attempts go on held-out clips, its verdict on the set's own clips.

Run the long row too: pytest tests/loop/test_evaluation_set.py -m "slow or not slow"
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.helpers.tiny_project import (
    Session,
    checkpoint_options,
    make_project,
    read_journal,
    run_pytest,
    write_evaluation_set,
)
from tests.helpers.untrained_checkpoints import write_untrained
from tests.loop.test_verdict_again import cut_after, inference_that_fails, project_of, resumed, verdicts
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.config.stage_config import load_inference_config
from tinyworlds_gate.errors import ConfigError, TrainingError
from tinyworlds_gate.loop.closed_loop import ClosedLoop
from tinyworlds_gate.loop.recheck import verdict_now
from tinyworlds_gate.loop.start import resolve_run, start_run
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.rollout.clip_set import draw_held_out
from tinyworlds_gate.reference.rollout.world_models import load_trained

SET = "data/evaluation.h5"
NAMED = sorted([*range(0, 240, 20), *range(9, 240, 20)])


def project_with_set(root: Path) -> Path:
    project = make_project(root)
    write_evaluation_set(project / SET)
    return project


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory, passing: Session) -> Session:
    """On the passing run's models attempt 1 passes on held-out clips, then the evaluation set is measured."""
    project = project_with_set(tmp_path_factory.mktemp("evaluated") / "project")
    shutil.copytree(passing.run, project / "given" / passing.run.name)
    given = Session(project, 0, "", 0.0, project / "given" / passing.run.name)
    words = ["--train-stage", "none", *checkpoint_options(given), "--evaluation-file", SET]
    return run_pytest(project, "validation", "-m", "smoke", *words)


@pytest.fixture
def run(evaluated: Session, tmp_path: Path) -> Path:
    project = tmp_path / "project"
    shutil.copytree(evaluated.project, project, symlinks=True)
    return project / "results" / evaluated.run.name


WHOLE = [(1, 1, "PASS"), (1, 3, "PASS")]


@pytest.mark.slow
@pytest.mark.requirement("L7", "G5", "H3")
def test_an_attempt_that_passes_is_followed_by_the_verdict_on_the_evaluation_set(evaluated: Session) -> None:
    assert evaluated.exit_status == 0, evaluated.output
    assert verdicts(evaluated.run) == WHOLE
    attempt, final = evaluated.events("gate_verdict")
    raw = json.loads((evaluated.run / "measures_01_final.json").read_text())
    assert [clip["start"] for clip in raw["clips"]] == NAMED
    assert raw["data_sha256"] == sha256_of(evaluated.project / SET)
    assert (attempt["measures"]["clips"], final["measures"]["clips"]) == (64, 24)
    assert "on 24 clips of the evaluation set, which no training and no retry has seen, is at most" in final["sentence"]
    assert evaluated.events("run_finished")[0]["status"] == "passed"
    sentence = evaluated.events("run_finished")[0]["sentence"]
    assert sentence.startswith("PASS (no training): ")
    assert final["sentence"].removeprefix("PASS: ") in sentence


@pytest.mark.slow
@pytest.mark.requirement("H3")
def test_the_verdict_is_bound_to_the_evaluation_set_and_to_its_clips(evaluated: Session) -> None:
    attempt, final = (event["binding"] for event in evaluated.events("gate_verdict"))
    assert final["evaluation_sha256"] == sha256_of(evaluated.project / SET)
    assert final["config"]["inference.clip_draw"] == 3
    assert final["config"]["inference.evaluation_file"] == SET
    assert attempt["evaluation_sha256"] is None
    assert (
        attempt["clip_digest"] != final["clip_digest"] == evaluated.events("gate_verdict")[1]["measures"]["clip_digest"]
    )


@pytest.mark.slow
@pytest.mark.requirement("G5")
def test_only_the_last_inference_process_gets_the_path_of_the_evaluation_set(evaluated: Session) -> None:
    first, second = (" ".join(event["command"]) for event in evaluated.events("inference_started"))
    assert "evaluation_file" not in first
    assert f"evaluation_file={evaluated.project / SET}" in second


@pytest.mark.slow
@pytest.mark.requirement("A1", "A5", "A7", "A8")
def test_reports_page_pictures_and_terminal_show_both_verdicts(evaluated: Session) -> None:
    report, story = evaluated.report("A1"), evaluated.report("A5")
    assert re.search(
        r"^\| 1, evaluation set \| attempt 1 passed; the same checkpoints, on the evaluation set", report, re.M
    )
    assert f"SHA-256 of the evaluation set | {sha256_of(evaluated.project / SET)}" in report
    assert "The run's verdict is the one on the fixed evaluation set, which no training and no retry has seen" in story
    assert "1, evaluation set" in evaluated.page.read_text(encoding="utf-8")
    pictures = [event for event in evaluated.events("verdict_picture")]
    assert [(event["draw"], event["left_out"], event["problem"]) for event in pictures] == [
        (1, [], None),
        (3, [], None),
    ]
    assert pictures[1]["picture"] == f"inference_results/gate_verdict_01_final_{evaluated.run.name}.png"
    assert re.search(r"^attempt 1, evaluation set: PASS, MSE 0\.0", evaluated.output, re.M)
    message = f"the final verdict is taken on the evaluation set {SET}: 24 clips of 12 episodes"
    assert message in evaluated.output
    assert "and on the evaluation set: PASS (error 0.0" in evaluated.found("L8")[1]


@pytest.mark.slow
@pytest.mark.requirement("H3")
def test_the_verdict_holds_while_nothing_changes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verdict", str(run), "--json"]) == 0, verdict_now(run).changes
    answer = json.loads(capsys.readouterr().out)
    assert (answer["holds"], answer["recorded"]["attempt"]) == (True, "attempt 1, evaluation set")


def a_frame(run: Path) -> None:
    with h5py.File(project_of(run) / SET, "r+") as file:
        file["frames"][0, 0, 0, 0] ^= 1


def a_clip_less(run: Path) -> None:
    with h5py.File(project_of(run) / SET, "r+") as file:
        named = file["clip_starts"][:]
        del file["clip_starts"]
        file["clip_starts"] = named[1:]


CHANGES: list[tuple[Callable[[Path], object], str]] = [
    (a_frame, "the evaluation set had SHA-256 "),
    (a_clip_less, "now give another verdict: INVALID: on clips of the evaluation set"),
    (lambda run: (project_of(run) / SET).unlink(), "the evaluation set evaluation.h5 is gone"),
    (lambda run: (run / "measures_01_final.json").unlink(), "the inference run left no measures"),
]


@pytest.mark.slow
@pytest.mark.requirement("H3")
@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[said[:40] for _, said in CHANGES])
def test_a_verdict_does_not_hold_once_the_evaluation_set_is_another(
    run: Path, change: Callable[[Path], object], said: str
) -> None:
    change(run)
    assert main(["verdict", str(run)]) == 1
    assert any(said in one for one in verdict_now(run).changes), verdict_now(run).changes


# --resume-run


@pytest.mark.requirement("H7", "L8")
@pytest.mark.slow
def test_a_run_killed_before_its_evaluation_set_takes_it_on_resume(evaluated: Session, run: Path) -> None:
    cut_after(run, 1, 1)
    loop, _ = resumed(run)
    assert verdicts(run) == WHOLE
    now, before = (read_journal(one, "gate_verdict")[-1]["measures"] for one in (run, evaluated.run))
    other = {"seconds": 0, "past": None}  # the probe draws its clips at random
    assert {**now, **other} == {**before, **other}
    assert loop.final_problem is None


@pytest.mark.slow
@pytest.mark.requirement("H7")
def test_a_resumed_run_whose_verdict_holds_measures_the_evaluation_set_no_second_time(run: Path) -> None:
    cut_after(run, 1, 3)
    loop, _ = resumed(run)
    assert verdicts(run) == WHOLE
    assert loop.final_problem is None


@pytest.mark.slow
@pytest.mark.requirement("H3", "L8", "T5")
def test_a_model_that_fails_on_the_evaluation_set_fails(run: Path) -> None:
    cut_after(run, 1, 1)
    loop, _ = resumed(run, inference_that_fails)
    assert verdicts(run) == [WHOLE[0], (1, 3, "FAIL")]
    sentence = loop.attempts[-1].verdict.sentence
    assert sentence.startswith("FAIL: on clips of the evaluation set, which no training and no retry has seen, the inf")


@pytest.mark.slow
@pytest.mark.requirement("H7")
def test_a_run_does_not_go_on_with_another_evaluation_set(run: Path) -> None:
    cut_after(run, 1, 1)
    a_frame(run)
    with pytest.raises(AssertionError, match=r"the evaluation set was changed since\. Put the old file back, or start"):
        resumed(run)


@pytest.mark.slow
@pytest.mark.requirement("H3", "L8")
def test_a_journal_that_claims_a_pass_without_the_evaluation_set_is_invalid(run: Path) -> None:
    cut_after(run, 1, 1)
    loop, _ = resumed(run, lambda _: (project_of(run) / SET).unlink())
    assert loop.stopped is not None
    assert "evaluation.h5 is gone" in loop.stopped
    assert str(loop.final_problem).startswith(
        "attempt 1 passed, but the final verdict on the evaluation set was not taken"
    )


# Checkpoints that were trained on it


SIZES = ModelSizes(
    frame_size=16,
    patch_size=4,
    context_length=4,
    latent_dim=3,
    num_bins=4,
    n_actions=2,
    embed_dim=32,
    num_heads=2,
    hidden_dim=64,
    num_blocks=1,
)


@pytest.fixture
def trained_on_it(tmp_path: Path) -> tuple[Path, dict[str, Path]]:
    """A project with an evaluation set, and checkpoints that record that they were trained on it."""
    project = project_with_set(tmp_path / "project")
    return project, write_untrained(project / "given", SIZES, {"data_sha256": sha256_of(project / SET)})


@pytest.mark.requirement("G5", "C4")
def test_a_checkpoint_option_that_was_trained_on_the_evaluation_set_is_refused_before_anything_runs(
    trained_on_it: tuple[Path, dict[str, Path]],
) -> None:
    project, folders = trained_on_it
    explicit: dict[str, Any] = {"train_stage": "none", "evaluation_file": SET} | {
        f"{stage.split('_')[0]}_checkpoint": str(folders[stage]) for stage in STAGES
    }
    settings, gpus = resolve_run("smoke", explicit, project)
    context = start_run(
        settings, gpus, explicit=explicit, command=["pytest"], stamp="2026_01_02_03_04_05", say=lambda _: None,
        show_progress=lambda *_: None,
    )  # fmt: skip
    loop = ClosedLoop(context, "2026_01_02_03_04_05")
    try:
        problem = loop.prepare()
    finally:
        loop.close()
    assert re.match(
        r"--video-checkpoint .*_step_0: it was trained on the evaluation set data/evaluation\.h5; nothing",
        problem or "",
    )


@pytest.mark.requirement("G5")
def test_the_inference_run_refuses_models_that_were_trained_on_the_evaluation_set(
    trained_on_it: tuple[Path, dict[str, Path]],
) -> None:
    project, folders = trained_on_it
    words = [f"evaluation_file={SET}", "clip_draw=3", "held_out_fraction=0.25"]
    config = load_inference_config(project / "configs/profiles/smoke/inference.yaml", words)
    with pytest.raises(
        TrainingError, match=r"evaluation_file=data/evaluation\.h5: video_tokenizer_step_0 was trained on"
    ):
        draw_held_out(config, project, load_trained(folders))
    others = write_untrained(project / "others", SIZES)
    found = draw_held_out(config, project, load_trained(others))
    assert found.starts.tolist() == NAMED
    assert 0.1 < float((found.mean_frame_CHW.mean() + 1) / 2) < 0.4  # of the training frames, a quarter of them white


# A run that retries


@pytest.fixture(scope="session")
def retried(tmp_path_factory: pytest.TempPathFactory, passing: Session) -> Session:
    """Four updates of dynamics fail on held-out clips, the retry's pass there, then on the evaluation set."""
    project = project_with_set(tmp_path_factory.mktemp("retried") / "project")
    given = checkpoint_options(passing, "video_tokenizer", "latent_actions")
    words = ["--only-stage", "dynamics", *given, "--dynamics-target-updates", "4", "--evaluation-file", SET]
    return run_pytest(project, "validation", "-m", "smoke", *words)


@pytest.mark.slow
@pytest.mark.requirement("L8", "H3")
def test_retries_go_on_the_held_out_draw_and_only_the_last_verdict_on_the_evaluation_set(retried: Session) -> None:
    assert retried.exit_status == 0, retried.output
    assert verdicts(retried.run) == [(1, 1, "FAIL"), (2, 1, "PASS"), (2, 3, "PASS")]
    message = (
        "1 retraining(s) after 2 attempt(s); verdict on the attempts' clips and on the evaluation set: PASS (error 0.0"
    )
    assert message in retried.found("L8")[1]
    chunks = retried.events("chunk_started")
    assert len(chunks) >= 2
    assert not [chunk for chunk in chunks if "evaluation" in json.dumps(chunk)]


@pytest.mark.slow
@pytest.mark.requirement("L8", "T5", "H3")
def test_after_a_fail_on_the_evaluation_set_nothing_is_retrained_although_retries_are_left(
    retried: Session, tmp_path: Path
) -> None:
    shutil.copytree(retried.project, tmp_path / "project", symlinks=True)
    run = tmp_path / "project" / "results" / retried.run.name
    cut_after(run, 2, 1)
    loop, _ = resumed(run, inference_that_fails)
    assert verdicts(run)[-1] == (2, 3, "FAIL")
    assert loop.context.settings.profile.retry.max > 1
    answer = loop.may_retrain()
    assert (answer.allowed, "its clips have been seen now" in answer.reason) == (False, True)


@pytest.mark.slow
@pytest.mark.requirement("G5", "L8")
def test_a_missing_evaluation_set_stops_the_run_before_anything_trains(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    session = run_pytest(project, "validation", "-m", "smoke", "--evaluation-file", "data/gone.h5")
    assert session.exit_status == 1
    assert session.events("chunk_started") == []
    assert (
        "data/gone.h5: there is no such file; a frames file (HDF5) is needed; set evaluation_file to a frames file"
        in session.output
    )


def test_clip_draw_3_needs_an_evaluation_set(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    with pytest.raises(
        ConfigError, match="clip_draw 3 measures the clips of evaluation_file, which is not set; set it, or set"
    ):
        load_inference_config(project / "configs/profiles/smoke/inference.yaml", ["clip_draw=3"])


def test_the_setting_of_a_profile_names_the_evaluation_set_of_its_runs(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    profile = project / "configs/profiles/smoke/profile.yaml"
    profile.write_text(profile.read_text() + f"gate: {{evaluation_file: {SET}}}\n")
    settings, _ = resolve_run("smoke", {}, project)
    assert settings.inference.evaluation_file == SET
    assert settings.provenance["inference.evaluation_file"] == "profile configs/profiles/smoke/profile.yaml"
    given, _ = resolve_run("smoke", {"evaluation_file": "other.h5"}, project)
    assert given.inference.evaluation_file == "other.h5"
