"""`tinyworlds-gate score --sweep RUN`: the checkpoints of a stage on the same held-out clips, and the best of them.

Run: pytest tests/unit/cli/test_score_sweep.py
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from tests.helpers.commands import TEST_DATA
from tests.helpers.data_files import write_h5
from tests.helpers.tiny_stages import INFERENCE, TinyStages, moving_squares, trained_stages
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.cli.sweep import SweptCheckpoint, compare
from tinyworlds_gate.cli.sweep_run import selected
from tinyworlds_gate.names import ATTEMPTS, STAGES
from tinyworlds_gate.reference.data.split import episodes_of_draw, split_episodes
from tinyworlds_gate.run.journal import Journal

FORK = TEST_DATA / "foreign_run"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TinyStages:
    return trained_stages(tmp_path_factory)


@pytest.fixture
def project(trained: TinyStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the run ``whole``: two checkpoints of each stage, and the journal of an embedded run."""
    shutil.copytree(trained.run_root("whole"), tmp_path / "results" / "whole")
    shutil.copytree(trained.root / "data", tmp_path / "data")
    journal = Journal(tmp_path / "results" / "whole" / "journal.jsonl")
    settings = {f"inference.{key}": value for key, value in {**INFERENCE, "clips": 8, "clip_seed": 3}.items()}
    journal.append("settings_resolved", settings={key: {"value": value} for key, value in settings.items()})
    data = "data/tiny_frames.h5"
    journal.append("dataset_ready", path=data, sha256=sha256_of(tmp_path / data))
    for number, stage in enumerate(STAGES, 1):
        params = {"log_interval": 2}
        journal.append("chunk_started", chunk=number, stage=stage, start_update=0, end_update=12, params=params)
        place = f"results/whole/{stage}/checkpoints/{stage}_step_11"
        journal.append("chunk_finished", chunk=number, stage=stage, cause="ok", checkpoint={"path": place, "step": 11})
        journal.append("stage_finished", stage=stage, checkpoint={"path": place, "step": 11})
    journal.close()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def folder(project: Path, stage: str, step: int) -> Path:
    return project / "results" / "whole" / stage / "checkpoints" / f"{stage}_step_{step}"


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """The exit status and what the command prints with --json: one strict JSON object."""
    code = main(["score", "--sweep", *words, "--device", "cpu", "--json"])
    printed = capsys.readouterr().out
    return code, json.loads(printed, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))


@pytest.mark.requirement("G5")
def test_each_checkpoint_has_the_numbers_that_score_gives_it_on_the_clips_of_the_attempts(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = answer(capsys, "whole")
    assert [row["step"] for row in found["checkpoints"]] == [5, 11]
    held_out = split_episodes(moving_squares()[1], 0.25, 0).held_out
    assert found["clips"]["episodes"] == len(episodes_of_draw(held_out, ATTEMPTS, 3)) == 2
    assert (found["settings"]["clip_draw"], found["settings"]["clip_seed"], found["clips"]["count"]) == (1, 3, 8)
    for row in found["checkpoints"]:
        paths = [folder(project, stage, row["step"] if stage == "dynamics" else 11) for stage in STAGES]
        words = [
            word
            for option, path in zip(
                ("--video-checkpoint", "--latent-checkpoint", "--dynamics-checkpoint"), paths, strict=True
            )
            for word in (option, str(path))
        ]
        clips = ["--clips", "8", "--clip-seed", "3", "--clip-draw", "1", "--steps", "3", "--decode-steps", "4"]
        main(["score", *words, "--data", "data/tiny_frames.h5", *clips, "--device", "cpu", "--json"])
        alone = json.loads(capsys.readouterr().out)
        assert alone["summary"]["clip_digest"] == found["clips"]["digest"]
        for key in ("mse", "mse_low", "mse_high", "skill", "skill_low", "skill_high", "delta_psnr_db"):
            assert row[key] == alone["summary"][key], key
    comparison = found["comparison"]
    assert code == int(comparison["earlier_is_better"])
    assert comparison["best"] == min(reversed(found["checkpoints"]), key=lambda row: row["mse"])["step"]
    assert comparison["last"] == 11


def test_the_table_is_in_order_of_steps_and_the_picture_is_an_image(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "--sweep", "results/whole", "--device", "cpu"]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    steps = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    assert steps == ["5", "11"]
    assert (
        lines[0]
        == "dynamics of run whole: 2 checkpoints on 8 clips of 2 episodes from "
        + str(project / "data/tiny_frames.h5")
        + ", on cpu"
    )
    assert lines[-1].startswith("Best: dynamics_step_")
    assert "best" in told.out
    assert "(2 of 2)" in told.err
    height, width, _ = imread(project / "results" / "whole" / "sweep_dynamics.png").shape
    assert (width > 900, height > 800) == (True, True)


def test_a_broken_checkpoint_is_listed_with_its_reason_and_skipped(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = folder(project, "dynamics", 5) / "model_state_dict.pt"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, found = answer(capsys, "whole", "--picture", "here.png")
    assert code == 0
    assert [row["step"] for row in found["checkpoints"]] == [11]
    assert [one["step"] for one in found["broken"]] == [5]
    assert "model_state_dict.pt" in found["broken"][0]["reason"]
    assert (found["picture"], (project / "here.png").is_file()) == ("here.png", True)
    assert main(["score", "--sweep", "whole", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "broken" in next(line for line in told.splitlines() if line.startswith("│") and " 5 " in line)
    assert "It is the last one." in told.splitlines()[-1]
    weights = folder(project, "dynamics", 11) / "model_state_dict.pt"
    weights.write_bytes(b"")
    assert main(["score", "--sweep", "whole", "--device", "cpu"]) == 2
    refused = capsys.readouterr()
    assert (refused.out, "none of its 2 checkpoints of dynamics is valid" in refused.err) == ("", True)


def test_checkpoints_that_retention_removed_are_counted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = answer(capsys, "whole")
    note = next(note for note in found["notes"] if "retention" in note)
    assert "4 of 6 checkpoints of dynamics are no longer in the run" in note
    assert "--keep-checkpoints 6" in note


def test_a_tokenizer_is_swept_by_its_reconstruction_without_any_other_stage(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, whole = answer(capsys, "whole")
    main(["score", "--sweep", "whole", "--device", "cpu", "--at-most", "1", "--json"])
    capsys.readouterr()
    for stage in ("latent_actions", "dynamics"):
        shutil.rmtree(project / "results" / "whole" / stage)
    code, found = answer(capsys, "whole", "--stage", "video_tokenizer")
    assert [row["step"] for row in found["checkpoints"]] == [5, 11]
    assert found["clips"] == whole["clips"]
    assert found["checkpoints"][0]["mse"] > found["checkpoints"][1]["mse"] > 0
    assert found["checkpoints"][1]["skill"] is None
    assert (code, found["comparison"]["best"], found["comparison"]["distinguishable"]) == (0, 11, None)
    assert imread(found["picture"]).shape[0] > 400
    assert main(["score", "--sweep", "whole", "--stage", "video_tokenizer", "--device", "cpu"]) == 0
    assert "reconstruction MSE" in capsys.readouterr().out


def test_the_run_of_a_checkout_without_a_journal_is_swept_on_named_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--data",
        str(FORK / "clips.h5"),
        "--starts",
        "150",
        "--context",
        "3",
        "--steps",
        "1",
        "--decode-steps",
        "2",
    ]
    code, found = answer(
        capsys, str(FORK / "tinyworlds_fork"), *words, "--rollout", "pixels", "--picture", str(tmp_path / "a.png")
    )
    assert (code, [row["step"] for row in found["checkpoints"]]) == (0, [899])
    assert found["settings"]["starts"] == "given"
    assert any("has no journal.jsonl" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--sweep", "gone"],
            "--sweep gone: there is no such run: neither gone nor results/gone is a folder. Runs here: whole",
        ),
        (["--sweep", "whole", "--dynamics-checkpoint", "x"], "--dynamics-checkpoint x: the sweep scores the dynamics"),
        (["--sweep", "whole", "--picture", "a.jpg"], "--picture a.jpg: the picture is a PNG"),
        (["--sweep", "whole", "--picture", "no/a.png"], "the folder no does not exist"),
        (["--sweep", "whole", "--video-checkpoint", "x"], "no checkpoint of video_tokenizer at x"),
        (["--sweep", "whole", "--clips", "900"], "clips=900"),
        (["--sweep", "data"], "run data has no checkpoint of dynamics in "),
        (["--every", "2"], "--every 2: it belongs to --sweep RUN"),
        ([], "--video-checkpoint, --latent-checkpoint, --dynamics-checkpoint, --data missing"),
    ],
)
def test_what_cannot_be_swept_is_reported_in_one_sentence_with_exit_status_2(
    project: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", *words, "--device", "cpu"]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


def test_frames_that_changed_since_the_run_are_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import h5py

    with h5py.File(project / "data" / "tiny_frames.h5", "r+") as file:
        file.attrs["note"] = "changed"
    assert main(["score", "--sweep", "whole", "--device", "cpu"]) == 2
    assert "is not the file that the run used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("every", "at_most", "steps"),
    [
        (None, None, [1, 2, 3, 4, 5, 6, 7]),
        (3, None, [1, 4, 7]),
        (2, None, [1, 3, 5, 7]),
        (4, None, [3, 7]),
        (None, 3, [1, 4, 7]),
        (None, 1, [7]),
        (2, 2, [1, 7]),
        (None, 9, [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_selection_always_holds_the_last_checkpoint(every: int | None, at_most: int | None, steps: list[int]) -> None:
    assert selected([1, 2, 3, 4, 5, 6, 7], every, at_most) == steps


EPISODES = np.repeat(np.arange(8), 3)
BASE = 0.02 + 0.002 * np.arange(24)


def swept(step: int, errors: np.ndarray) -> SweptCheckpoint:
    mse, baseline = float(errors.mean()), 0.1
    return SweptCheckpoint(
        step=step,
        path="",
        sha256="",
        mse=mse,
        mse_low=mse,
        mse_high=mse,
        psnr_db=1.0,
        seconds=1.0,
        skill=1 - mse / baseline,
        skill_low=0.0,
        skill_high=0.0,
        errors=errors,
        baseline=np.full(24, baseline),
    )


def test_a_small_difference_in_every_episode_is_distinguished_because_it_is_paired() -> None:
    """The errors of one checkpoint differ between episodes ten times as much as the checkpoints do."""
    found = compare([swept(1, BASE - 0.002), swept(2, BASE)], "dynamics", EPISODES)
    assert (found["best"], found["last"], found["distinguishable"], found["earlier_is_better"]) == (1, 2, True, True)
    assert [found[f"mse_difference{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.002] * 3)
    assert [found[f"skill_difference{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.02] * 3)
    assert "It is better than the last, dynamics_step_2" in found["sentence"]


def test_a_difference_of_both_signs_is_not_distinguished() -> None:
    mixed = BASE + np.where(EPISODES % 2, 0.01, -0.0095)
    found = compare([swept(1, BASE), swept(2, mixed)], "dynamics", EPISODES)
    assert (found["best"], found["distinguishable"], found["earlier_is_better"]) == (1, False, False)
    assert "It cannot be distinguished from the last, dynamics_step_2" in found["sentence"]


def test_the_last_one_may_be_the_best_also_in_a_tie() -> None:
    for errors in (BASE - 0.01, BASE):
        found = compare([swept(1, BASE), swept(2, errors)], "dynamics", EPISODES)
        assert (found["best"], found["distinguishable"], found["earlier_is_better"]) == (2, None, False)


def test_one_episode_distinguishes_nothing() -> None:
    found = compare([swept(1, BASE - 0.002), swept(2, BASE)], "dynamics", np.zeros(24))
    assert (found["best"], found["distinguishable"], found["earlier_is_better"]) == (1, None, False)
    assert "cannot be said from 1 episode" in found["sentence"]


def test_an_error_that_is_no_number_is_never_the_best() -> None:
    lost = np.full(24, np.nan)
    found = compare([swept(1, BASE), swept(2, lost)], "dynamics", EPISODES)
    assert (found["best"], found["distinguishable"], found["earlier_is_better"]) == (1, True, True)
    found = compare([swept(1, lost), swept(2, BASE)], "dynamics", EPISODES)
    assert found["best"] == 2
    assert compare([swept(1, lost)], "dynamics", EPISODES)["best"] is None


def test_the_exit_status_is_1_when_an_earlier_checkpoint_is_better(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A later checkpoint is noise: its error is larger in every clip of 12 unseen episodes."""
    import torch

    from tinyworlds_gate.checkpoints.read import read_model_state, read_optim_state, read_state
    from tinyworlds_gate.checkpoints.write import write_checkpoint

    path, stage = folder(project, "video_tokenizer", 11), "video_tokenizer"
    weights = read_model_state(path)
    noise = {name: 20 * torch.randn_like(one) if one.is_floating_point() else one for name, one in weights.items()}
    others = {"optim_state": read_optim_state(path), "state": {**read_state(path), "step": 12}, "manifest": {}}
    write_checkpoint(path.parent, stage, 12, model_state=noise, **others)
    frames, episode = moving_squares(seed=5)
    unseen = write_h5(project / "unseen.h5", frames=frames, episode=episode)
    code, found = answer(capsys, "whole", "--stage", "video_tokenizer", "--data", str(unseen), "--clips", "48")
    assert found["broken"] == []
    assert (code, found["comparison"]["best"], found["comparison"]["earlier_is_better"]) == (1, 11, True)
    assert found["clips"]["episodes"] == 12
