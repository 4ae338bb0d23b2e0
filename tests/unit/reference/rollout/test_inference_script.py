"""The inference run on tiny checkpoints: log, measures, picture and refused settings.

The checkpoints are those that the tests of the stages trained; the process is the real script.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from tests.helpers.tiny_stages import EPISODE_FRAMES, TinyStages, moving_squares, trained_stages
from tests.helpers.warm_python import Finished
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.checkpoints.read import read_model_state, read_optim_state, read_state
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.gate.evidence import check_new_picture, existing_pictures
from tinyworlds_gate.gate.measures.raw import read_raw
from tinyworlds_gate.gate.measures.summary import summarise
from tinyworlds_gate.reference.data.split import split_episodes
from tinyworlds_gate.targets.log_lines import InferenceLines, inference_lines

STAGES = ("video_tokenizer", "latent_actions", "dynamics")


class Run(NamedTuple):
    """One finished inference run and its raw measures."""

    output: str
    raw: dict[str, Any]
    log: InferenceLines


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> TinyStages:
    return trained_stages(tmp_path_factory)


def try_infer(project: TinyStages, name: str, **overrides: object) -> Finished:
    paths = project.checkpoints("whole", 11, *STAGES)
    return project.infer("whole", {"measures_path": project.root / f"{name}.json", **paths, **overrides})


def infer(project: TinyStages, name: str, **overrides: object) -> Run:
    done = try_infer(project, name, **overrides)
    assert done.exit_code == 0, done.output
    return Run(done.output, read_raw(project.root / f"{name}.json"), inference_lines(done.output))


def refused(done: Finished) -> str:
    """Return the error line of a run that ended with exit code 3."""
    assert done.exit_code == 3, done.output
    assert "Traceback" not in done.output
    assert "Inference stats" not in done.output
    (line,) = [line for line in done.output.splitlines() if line.startswith("[inference] error: ")]
    return line


@pytest.fixture(scope="session")
def standard(project: TinyStages) -> Run:
    return infer(project, "standard")


@pytest.mark.requirement("L6", "G2", "G3")
def test_the_log_shows_the_checkpoints_the_steps_and_the_statistics(project: TinyStages, standard: Run) -> None:
    assert standard.log.checkpoints == {stage: str(project.checkpoint("whole", stage, 11)) for stage in STAGES}
    assert standard.log.frames_inferred == 9  # three steps in each of three batches
    assert "Inferring frame 3/3 (batch 3/3)" in standard.output
    assert standard.log.has_stats
    assert "Total frames generated: 27" in standard.output
    assert "Mode: strict autoregressive (2 steps fed back), actions inferred from the true frames" in standard.output


@pytest.mark.requirement("G5", "L6")
def test_every_statistic_in_the_log_is_the_mean_over_the_clips_of_the_measures(standard: Run) -> None:
    means = {key: float(np.mean(table(standard, key))) for key in standard.raw["clips"][0] if key.endswith("_mse")}
    by_step = table(standard, "rollout_mse").mean(axis=0)
    shown = standard.output.split("Inference stats:\n")[1].splitlines()
    assert shown == [
        "Total frames generated: 27",
        "Mode: strict autoregressive (2 steps fed back), actions inferred from the true frames",
        f"Mean Squared Error (GT vs Pred): {means['rollout_mse']:.8f}",
        "Mean Squared Error by step: " + " ".join(f"{value:.6f}" for value in by_step),
        f"Copy-last MSE: {means['copy_last_mse']:.8f}",
        f"Mean-frame MSE: {means['mean_frame_mse']:.8f}",
        f"Random-action MSE: {means['random_action_mse']:.8f}",
        f"Tokenizer reconstruction MSE: {means['tokenizer_recon_mse']:.8f}",
        f"Skill against copy-last: {1 - means['rollout_mse'] / means['copy_last_mse']:.4f}",
        "Context window (non-generated frames): 2",
    ]


@pytest.mark.requirement("G5")
def test_the_error_in_the_log_is_the_mean_over_the_clips_of_the_measures(standard: Run) -> None:
    mean = np.mean([clip["rollout_mse"] for clip in standard.raw["clips"]])
    assert standard.log.mse == pytest.approx(float(mean), abs=1e-8)
    assert summarise(standard.raw).mse == pytest.approx(float(mean), abs=1e-12)


@pytest.mark.requirement("G5")
def test_the_clips_are_held_out_and_the_baselines_are_those_of_the_pixels(standard: Run) -> None:
    """The test computes copy-last and mean-frame errors from the file's bytes."""
    frames, episode = moving_squares()
    pixels = frames.astype(np.float64) / 255
    split = split_episodes(episode, 0.25, 0)
    training = pixels[np.isin(episode, split.train)].mean(axis=0)
    assert {clip["episode"] for clip in standard.raw["clips"]} == set(split.held_out)
    assert len({clip["start"] for clip in standard.raw["clips"]}) == 9
    for clip in standard.raw["clips"]:
        true = pixels[clip["start"] + 2 : clip["start"] + 5]
        assert clip["start"] // EPISODE_FRAMES == (clip["start"] + 4) // EPISODE_FRAMES == clip["episode"]
        copied = ((true - pixels[clip["start"] + 1]) ** 2).mean(axis=(1, 2, 3))
        averaged = ((true - training) ** 2).mean(axis=(1, 2, 3))
        assert clip["copy_last_mse"] == pytest.approx(copied.tolist(), abs=1e-6)
        assert clip["mean_frame_mse"] == pytest.approx(averaged.tolist(), abs=1e-6)


def test_the_measures_say_what_was_run_on_which_data(project: TinyStages, standard: Run) -> None:
    raw = standard.raw
    data = project.root / "data" / "tiny_frames.h5"
    assert (raw["context"], raw["generation_steps"], raw["decode_steps"], raw["n_actions"]) == (2, 3, 4, 4)
    assert (raw["teacher_forced"], raw["seed"], raw["clip_seed"], raw["temperature"]) == (False, 0, 0, 0.0)
    assert (raw["data_path"], raw["data_sha256"]) == (str(data), sha256_of(data))
    assert re.fullmatch(r"[0-9a-f]{64}", raw["clip_digest"])
    assert (raw["rollout"], raw["stride"], raw["frame_size"], raw["prediction_horizon"]) == ("tokens", 1, 16, 1)
    assert raw["seconds"] > 0
    for clip in raw["clips"]:
        assert [len(row) for row in clip["latent_actions"]] == [2, 2, 2]
        assert all(0 <= code < 4 for row in clip["latent_actions"] for code in row)
        assert math.isfinite(clip["tokenizer_recon_mse"])
    assert not list(project.root.glob("*.part"))


@pytest.mark.requirement("G4", "A7")
def test_each_run_leaves_a_new_picture_that_decodes(project: TinyStages, standard: Run) -> None:
    folder = project.root / "inference_results"
    before = existing_pictures(folder)
    run = infer(project, "pictured")
    found = check_new_picture(folder, before)
    assert found.path is not None, found.problem
    assert run.raw["picture"] == f"inference_results/{found.path.name}"
    assert f"Visualization saved to: inference_results/{found.path.name}" in run.output
    assert not list(folder.glob("*.part"))


@pytest.mark.requirement("G5")
def test_the_same_seed_gives_the_same_numbers_whatever_lies_around(project: TinyStages, standard: Run) -> None:
    again = infer(project, "again")
    assert again.raw["clips"] == standard.raw["clips"]
    assert again.raw["clip_digest"] == standard.raw["clip_digest"]


@pytest.mark.requirement("L8", "G5")
def test_the_two_draws_of_a_run_share_no_episode_and_differ_in_their_digest(project: TinyStages) -> None:
    first, second = (infer(project, f"draw_{draw}", clip_draw=draw, clips=4).raw for draw in (1, 2))
    assert (first["clip_draw"], second["clip_draw"]) == (1, 2)
    assert first["clip_digest"] != second["clip_digest"]
    episodes = [{clip["episode"] for clip in raw["clips"]} for raw in (first, second)]
    assert not episodes[0] & episodes[1]


def test_another_clip_seed_draws_other_clips(project: TinyStages, standard: Run) -> None:
    other = infer(project, "other_clips", clip_seed=1)
    assert other.raw["clip_digest"] != standard.raw["clip_digest"]
    assert {clip["start"] for clip in other.raw["clips"]} != {clip["start"] for clip in standard.raw["clips"]}


@pytest.fixture(scope="session")
def lively(project: TinyStages) -> dict[str, object]:
    """Checkpoints with randomised weights, since models after twelve updates predict the same for any input."""
    for stage in STAGES:
        source = project.checkpoint("whole", stage, 11)
        generator = torch.Generator().manual_seed(1)
        weights = {
            name: torch.randn(tensor.shape, generator=generator) * 0.5 if tensor.is_floating_point() else tensor
            for name, tensor in read_model_state(source).items()
        }
        state = {key: value for key, value in read_state(source).items() if key != "written_by"}
        parent = project.checkpoint("lively", stage, 11).parent
        write_checkpoint(parent, stage, 11, model_state=weights, optim_state=read_optim_state(source), state=state)
    return {**project.checkpoints("lively", 11, *STAGES)}


def table(run: Run, key: str) -> np.ndarray:
    return np.array([clip[key] for clip in run.raw["clips"]])


@pytest.mark.requirement("G5")
def test_teacher_forcing_changes_every_step_but_the_first_and_is_named(
    project: TinyStages, lively: dict[str, object]
) -> None:
    strict, forced = (infer(project, f"forced_{on}", teacher_forced=on, **lively) for on in (False, True))
    assert (strict.raw["teacher_forced"], forced.raw["teacher_forced"]) == (False, True)
    assert "Mode: teacher-forced" in forced.output
    difference = np.abs(table(strict, "rollout_mse") - table(forced, "rollout_mse"))
    assert difference[:, 0].max() < 1e-7
    assert (difference[:, 1:].max(axis=0) > 1e-4).all()


@pytest.mark.requirement("G5")
def test_strict_and_teacher_forced_errors_stand_beside_each_other_in_either_run(
    project: TinyStages, lively: dict[str, object]
) -> None:
    strict, forced = (infer(project, f"beside_{on}", teacher_forced=on, **lively) for on in (False, True))
    for run, judged in ((strict, "strict_mse"), (forced, "teacher_forced_mse")):
        assert (table(run, "rollout_mse") == table(run, judged)).all()
    for key in ("strict_mse", "teacher_forced_mse"):
        np.testing.assert_allclose(table(strict, key), table(forced, key), atol=1e-7)
    assert (table(strict, "strict_mse") != table(strict, "teacher_forced_mse")).any()


@pytest.mark.requirement("G5")
def test_generated_frames_that_are_tokenised_again_make_other_numbers_from_the_second_step_on(
    project: TinyStages, lively: dict[str, object]
) -> None:
    tokens, pixels = (infer(project, space, rollout=space, **lively) for space in ("tokens", "pixels"))
    assert (tokens.raw["rollout"], pixels.raw["rollout"]) == ("tokens", "pixels")
    difference = np.abs(table(tokens, "rollout_mse") - table(pixels, "rollout_mse"))
    assert difference[:, 0].max() < 1e-7
    assert (difference[:, 1:].max(axis=0) > 1e-5).all()


@pytest.mark.requirement("G5")
def test_the_batch_size_changes_no_number_not_even_those_of_random_actions(
    project: TinyStages, lively: dict[str, object]
) -> None:
    one, four = (infer(project, f"batch_{size}", batch_size=size, **lively) for size in (1, 4))
    for key in ("rollout_mse", "teacher_forced_mse", "random_action_mse", "copy_last_mse", "rollout_ssim"):
        np.testing.assert_allclose(table(one, key), table(four, key), rtol=1e-4, atol=1e-6)
    assert (table(one, "latent_actions") == table(four, "latent_actions")).all()
    assert one.raw["generated_token_counts"] == four.raw["generated_token_counts"]


def test_every_token_of_the_true_and_of_the_generated_frames_is_counted(standard: Run) -> None:
    """Nine clips with four tokens per frame: three tokenised and three generated frames each."""
    for key in ("token_counts", "generated_token_counts"):
        assert len(standard.raw[key]) == 16
        assert sum(standard.raw[key]) == 9 * 3 * 4


def test_structural_similarity_is_written_for_every_step(standard: Run) -> None:
    found = table(standard, "rollout_ssim")
    assert found.shape == (9, 3)
    assert ((found > -1) & (found < 1)).all()


@pytest.mark.requirement("G5")
def test_the_seed_moves_the_random_actions_and_neither_the_clips_nor_the_rollout(
    project: TinyStages, lively: dict[str, object]
) -> None:
    first, second = (infer(project, f"seed_{seed}", seed=seed, **lively) for seed in (0, 1))
    assert first.raw["clip_digest"] == second.raw["clip_digest"]
    assert (table(first, "rollout_mse") == table(second, "rollout_mse")).all()
    assert (table(first, "random_action_mse") != table(second, "random_action_mse")).any()
    assert (table(first, "random_action_mse") != table(first, "rollout_mse")).any()


def test_a_horizon_of_two_generates_two_frames_a_step(project: TinyStages) -> None:
    run = infer(project, "horizon", prediction_horizon=2, generation_steps=2)
    assert (run.raw["context"], run.raw["generation_steps"]) == (1, 4)
    assert {len(clip["rollout_mse"]) for clip in run.raw["clips"]} == {4}
    assert {(len(clip["latent_actions"]), len(clip["latent_actions"][0])) for clip in run.raw["clips"]} == {(2, 2)}
    assert summarise(run.raw).generation_steps == 4


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            {"split_seed": 3},
            "split_seed=3 for inference, but .*_step_11 was trained on the same file with split_seed=0",
        ),
        ({"held_out_fraction": 0.5}, "so training clips would be measured; set held_out_fraction=0.25"),
        (
            {"clips": 1000},
            "clips=1000, but the 3 episodes held out can provide only 36 clips of 5 frames; ",
        ),
        (
            {"generation_steps": 20},
            "3 episodes held out can provide only 0 clips of 22 .* or lower generation_steps",
        ),
        (
            {"context_window": 3},
            "context_window=3 and prediction_horizon=1 need 4 frames, but the models were trained on 3",
        ),
        ({"data_path": "data/gone.h5"}, "data/gone.h5: there is no such file"),
        ({"dynamics_path": None}, "dynamics_path is not set; set dynamics_path="),
        ({"dynamics_path": "results/none/dynamics_step_3"}, "dynamics_step_3 does not exist"),
        ({"teacher_force": True}, "unknown key `teacher_force`"),
        ({"use_gt_actions": False}, "`use_gt_actions` is not supported"),
    ],
)
def test_a_run_that_cannot_be_honest_is_refused_in_one_sentence(
    project: TinyStages, overrides: dict[str, object], said: str
) -> None:
    before = existing_pictures(project.root / "inference_results")
    assert re.search(said, refused(try_infer(project, "refused", **overrides)))
    assert existing_pictures(project.root / "inference_results") == before
    assert not (project.root / "refused.json").exists()


def test_clips_of_another_file_may_be_split_in_another_way(project: TinyStages, tmp_path: Path) -> None:
    """The split is compared for the same file only: in a file without training, every episode is held out."""
    import h5py

    frames, episode = moving_squares(seed=9)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("frames", data=frames)
        file.create_dataset("episode", data=episode)
    run = infer(project, "other_file", data_path=tmp_path / "other.h5", split_seed=3, held_out_fraction=0.5)
    assert len({clip["episode"] for clip in run.raw["clips"]}) == 6


@pytest.mark.requirement("G2")
def test_the_newest_valid_checkpoints_of_this_run_are_used_on_request(project: TinyStages, tmp_path: Path) -> None:
    none_given: dict[str, object] = {f"{stage}_path": None for stage in STAGES}
    run = infer(project, "latest", use_latest_checkpoints=True, **none_given)
    assert run.log.checkpoints["dynamics"] == str(project.checkpoint("whole", "dynamics", 11))


@pytest.mark.requirement("C4")
def test_checkpoints_of_different_sizes_are_refused_together(project: TinyStages) -> None:
    run = "other_sizes"
    done = project.train("video_tokenizer", run, {"n_updates": 1, "latent_dim": 3})
    assert done.exit_code == 0, done.output
    path = project.checkpoint(run, "video_tokenizer", 0)
    sentence = refused(try_infer(project, "sizes", video_tokenizer_path=path))
    assert "latent_dim is 2 in the dynamics checkpoint and 3 in the video_tokenizer checkpoint" in sentence


@pytest.mark.requirement("S4")
def test_a_damaged_checkpoint_is_refused(project: TinyStages, tmp_path: Path) -> None:
    damaged = tmp_path / "dynamics_step_11"
    shutil.copytree(project.checkpoint("whole", "dynamics", 11), damaged)
    weights = damaged / "model_state_dict.pt"
    weights.write_bytes(weights.read_bytes()[:-100])
    sentence = refused(try_infer(project, "damaged", dynamics_path=damaged))
    assert "it is truncated or replaced" in sentence


def test_the_measures_are_plain_json(project: TinyStages, standard: Run) -> None:
    content = json.loads((project.root / "standard.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["schema"] == 5
