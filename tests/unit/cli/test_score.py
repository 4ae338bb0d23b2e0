"""`tinyworlds-gate score`: any three checkpoints on any frames; the fork's own numbers come out again.

Run the long rows too: pytest tests/unit/cli/test_score.py -m "slow or not slow"
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.helpers.commands import TEST_DATA
from tests.helpers.data_files import write_h5
from tests.helpers.tiny_stages import TinyStages, moving_squares, trained_stages
from tests.unit.gate.measures.test_memory_references import walk
from tinyworlds_gate.cli import score
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.cli.score import plain
from tinyworlds_gate.config.thresholds import STRICT_THRESHOLDS
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.data.split import split_episodes

FOREIGN_RUN = TEST_DATA / "foreign_run"
EXPECTED: list[dict[str, Any]] = json.loads((FOREIGN_RUN / "expected.json").read_text(encoding="utf-8"))["clips"]
OPTIONS = ("--video-checkpoint", "--latent-checkpoint", "--dynamics-checkpoint")


def fork_words(*words: str) -> list[str]:
    """The command on the fork's checkpoints (each named by its parent folder) and clips."""
    named = [FOREIGN_RUN / "tinyworlds_fork" / stage / "checkpoints" for stage in STAGES]
    pairs = [word for option, path in zip(OPTIONS, named, strict=True) for word in (option, str(path))]
    return ["score", *pairs, "--data", str(FOREIGN_RUN / "clips.h5"), "--device", "cpu", *words]


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the command prints with --json: one strict JSON object and nothing else."""
    code = main([*words, "--json"])
    printed = capsys.readouterr().out
    found: dict[str, Any] = json.loads(printed, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    assert code == (0 if found["verdict"]["verdict"] == "PASS" else 1)
    return found


def require_forks_numbers(found: dict[str, Any], starts: list[int], steps: int) -> None:
    expected = {clip["start"]: clip for clip in EXPECTED}
    assert [clip["start"] for clip in found["clips"]] == starts
    for clip in found["clips"]:
        theirs = expected[clip["start"]]
        assert clip["tokenizer_recon_mse"] == pytest.approx(theirs["tokenizer_recon_mse"], rel=1e-3)
        assert clip["rollout_mse"] == pytest.approx(theirs["rollout_mse"][:steps], rel=1e-3)
        assert clip["copy_last_mse"] == pytest.approx(theirs["copy_last_mse"][:steps], rel=1e-3)
        assert clip["latent_actions"] == theirs["latent_actions"][:steps]


def require_both_reasons(found: dict[str, Any]) -> None:
    verdict = found["verdict"]
    failed = {one["id"]: one["reason"] for one in verdict["conditions"] if one["verdict"] == "FAIL"}
    assert verdict["verdict"] == "FAIL"
    assert "is above the limit 0.03" in failed["G5"]
    assert "the model predicts worse than no motion at all. Skill is -" in failed["G5.skill"]
    assert failed["G5"] in verdict["sentence"]
    assert ", G5.skill (skill -1." in verdict["sentence"]


@pytest.mark.slow
@pytest.mark.requirement("G5")
def test_the_fork_is_scored_as_its_own_code_scored_it_and_fails_for_error_and_for_skill(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One clip, two frames: 1024 tokens a frame cost seconds on a CPU."""
    words = fork_words("--starts", "150", "--context", "3", "--steps", "2", "--rollout", "pixels")
    found = answer(words, capsys)
    require_forks_numbers(found, [150], 2)
    require_both_reasons(found)


@pytest.mark.slow
@pytest.mark.requirement("G5")
def test_every_value_of_the_fork_comes_out_again_on_both_of_its_clips(capsys: pytest.CaptureFixture[str]) -> None:
    words = fork_words("--starts", "10,150", "--context", "3", "--steps", "4", "--decode-steps", "16")
    found = answer([*words, "--rollout", "pixels"], capsys)
    require_forks_numbers(found, [10, 150], 4)
    require_both_reasons(found)
    assert found["summary"]["episodes"] == 2


@pytest.mark.slow
def test_in_token_space_the_fork_has_the_same_first_frame_and_fails_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    words = fork_words("--starts", "10,150", "--context", "3", "--steps", "4", "--decode-steps", "16")
    found = answer([*words, "--rollout", "tokens"], capsys)
    for clip, theirs in zip(found["clips"], EXPECTED, strict=True):
        assert clip["rollout_mse"][0] == pytest.approx(theirs["rollout_mse"][0], rel=1e-3)
        assert clip["latent_actions"] == theirs["latent_actions"]
    require_both_reasons(found)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> TinyStages:
    return trained_stages(tmp_path_factory)


def tiny_words(project: TinyStages, data: Path, *words: str, **named: Path) -> list[str]:
    """The command on the tiny checkpoints; ``named`` puts another folder in the place of a stage's."""
    paths = [named.get(stage, project.checkpoint("whole", stage, 11)) for stage in STAGES]
    pairs = [word for option, path in zip(OPTIONS, paths, strict=True) for word in (option, str(path))]
    return ["score", *pairs, "--data", str(data), "--device", "cpu", "--steps", "3", "--decode-steps", "2", *words]


def own_data(project: TinyStages) -> Path:
    return project.root / "data" / "tiny_frames.h5"


@pytest.fixture
def unseen(tmp_path: Path) -> Path:
    """The same game, other episodes, which no stage was trained on."""
    frames, episode = moving_squares(seed=5)
    return write_h5(tmp_path / "unseen.h5", frames=frames, episode=episode)


@pytest.mark.requirement("G5")
def test_the_answer_holds_every_clip_the_summary_the_verdict_and_what_was_scored(
    project: TinyStages, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(tiny_words(project, unseen, "--clips", "9"), capsys)
    assert len(found["clips"]) == 9
    for clip in found["clips"]:
        assert len(clip["rollout_mse"]) == len(clip["copy_last_mse"]) == len(clip["latent_actions"]) == 3
    summary = found["summary"]
    assert summary["mse"] == pytest.approx(float(np.mean([clip["rollout_mse"] for clip in found["clips"]])))
    assert (summary["clips"], summary["episodes"], summary["rollout"]) == (9, 9, "tokens")
    assert found["verdict"]["verdict"] == "FAIL"
    assert found["verdict"]["thresholds"] == STRICT_THRESHOLDS.as_record()
    assert list(found["checkpoints"]) == list(STAGES)
    assert len(found["checkpoints"]["dynamics"]["sha256"]) == 64
    assert (found["settings"]["context"], found["settings"]["generation_steps"]) == (2, 3)
    assert found["notes"] == [
        "no checkpoint records that it was trained on this file; whether one has seen these clips is not known"
    ]


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(("episodes", "verdict"), [(5, "FAIL"), (19, "FAIL"), (20, "PASS")])
def test_clips_of_fewer_episodes_than_a_long_run_requires_fail(
    project: TinyStages, tmp_path: Path, capsys: pytest.CaptureFixture[str], episodes: int, verdict: str
) -> None:
    (first, numbers), (second, _) = moving_squares(seed=5), moving_squares(seed=6)
    data = write_h5(
        tmp_path / "many.h5",
        frames=np.concatenate([first, second]),
        episode=np.concatenate([numbers, numbers + numbers.max() + 1]),
    )
    starts = ",".join(str(16 * number) for number in range(episodes))
    found = answer(tiny_words(project, data, "--starts", starts), capsys)
    conditions = {one["id"]: one for one in found["verdict"]["conditions"]}
    assert conditions["G5.sample"]["verdict"] == verdict
    assert f"in {episodes} episodes, at least 20 episodes are required" in conditions["G5.sample"]["reason"]
    assert (conditions["G5.sample"]["reason"] in found["verdict"]["sentence"]) == (verdict == "FAIL")


@pytest.mark.requirement("G5")
def test_a_model_that_is_no_better_than_the_mean_frame_fails_however_large_an_error_may_be(
    project: TinyStages, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(tiny_words(project, unseen, "--clips", "9", "--max-mse", "1"), capsys)
    conditions = {one["id"]: one["verdict"] for one in found["verdict"]["conditions"]}
    assert found["summary"]["mse_high"] >= found["summary"]["mean_frame_mse"]
    assert (conditions["G5"], conditions["G5.interval"], conditions["G5.mean_frame"]) == ("PASS", "PASS", "FAIL")


@pytest.mark.parametrize(("verdict", "code"), [("PASS", 0), ("FAIL", 1), ("INVALID", 1)])
def test_the_exit_status_is_0_for_a_pass_alone(
    project: TinyStages, unseen: Path, monkeypatch: pytest.MonkeyPatch, verdict: str, code: int
) -> None:
    monkeypatch.setattr(score, "score", lambda args: {"verdict": {"verdict": verdict}})
    assert main([*tiny_words(project, unseen), "--json"]) == code


def test_the_same_command_gives_the_same_numbers_and_the_clip_seed_other_clips(
    project: TinyStages, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again, other = (
        answer(tiny_words(project, unseen, "--clips", "9", *more), capsys) for more in ([], [], ["--clip-seed", "1"])
    )
    assert first["clips"] == again["clips"]
    assert first["summary"]["clip_digest"] == again["summary"]["clip_digest"] != other["summary"]["clip_digest"]


@pytest.mark.requirement("G5")
def test_on_the_file_that_it_was_trained_on_only_held_out_episodes_are_drawn(
    project: TinyStages, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(tiny_words(project, own_data(project), "--clips", "9"), capsys)
    held_out = split_episodes(moving_squares()[1], 0.25, 0).held_out
    assert {clip["episode"] for clip in found["clips"]} == set(held_out)
    assert found["notes"] == []
    assert "G5.held_out" not in {one["id"] for one in found["verdict"]["conditions"]}


@pytest.mark.requirement("G5")
def test_clips_that_it_was_trained_on_make_the_verdict_invalid(
    project: TinyStages, capsys: pytest.CaptureFixture[str]
) -> None:
    split = split_episodes(moving_squares()[1], 0.25, 0)
    starts = f"{16 * split.train[0]},{16 * split.held_out[0]}"
    found = answer(tiny_words(project, own_data(project), "--starts", starts), capsys)
    assert found["verdict"]["verdict"] == "INVALID"
    assert "1 of 2 clips lie in episodes that these checkpoints were trained on" in found["verdict"]["sentence"]


def test_an_evaluation_set_is_measured_on_the_clips_that_it_names(
    project: TinyStages, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(unseen, "r+") as file:
        file["clip_starts"] = np.array([3, 40])
    found = answer(tiny_words(project, unseen), capsys)
    assert [clip["start"] for clip in found["clips"]] == [3, 40]


CONFTEST = """
from tinyworlds_gate.gate.extension import ClipMetric


def pytest_tinyworlds_gate_conditions():
    return [ClipMetric("brightness", lambda clips: clips.generated.mean(axis=(1, 2, 3, 4)), at_least=256,
                       sentence="[dark] frames")]


def pytest_tinyworlds_gate_metrics():
    return [ClipMetric("clips_seen", lambda clips: len(clips.true))]
"""


@pytest.mark.requirement("G5")
def test_conditions_and_metrics_of_a_named_file_are_measured_and_no_other_file_is_loaded(
    project: TinyStages,
    unseen: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    monkeypatch.chdir(tmp_path)
    words = tiny_words(project, unseen, "--clips", "9")
    plain_verdict = answer(words, capsys)["verdict"]
    assert "custom_metrics" not in plain_verdict
    words += ["--conftest", "conftest.py"]
    verdict = answer(words, capsys)["verdict"]
    assert verdict["conditions"][:-1] == plain_verdict["conditions"]
    assert (verdict["conditions"][-1]["id"], verdict["conditions"][-1]["verdict"]) == ("G5.brightness", "FAIL")
    brightness, seen = verdict["custom_metrics"]
    assert 0 <= brightness["low"] <= brightness["value"] <= brightness["high"] < 256
    assert (seen["value"], seen["low"], seen["verdict"]) == (9.0, None, None)
    assert main(words) == 1
    told = capsys.readouterr().out
    assert ", at least 256: FAIL" in told
    assert "clips_seen 9, only shown" in told
    assert "is below the limit 256: [dark] frames." in told.splitlines()[-1]


def test_a_file_without_hooks_is_refused_before_anything_is_scored(
    project: TinyStages, unseen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.py").write_text("")
    assert main(tiny_words(project, unseen, "--conftest", str(tmp_path / "empty.py"))) == 2
    assert "it defines neither pytest_tinyworlds_gate_conditions" in capsys.readouterr().err


@pytest.mark.requirement("C4")
def test_a_dynamics_model_of_another_tokenizer_is_scored_and_its_verdict_is_invalid(
    project: TinyStages, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = project.checkpoint("whole", "video_tokenizer", 5)
    found = answer(tiny_words(project, unseen, "--clips", "9", video_tokenizer=earlier), capsys)
    (condition,) = [one for one in found["verdict"]["conditions"] if one["verdict"] == "INVALID"]
    assert condition["id"] == "C4"
    assert "dynamics_step_11 was trained on a video_tokenizer with SHA-256" in condition["reason"]
    assert found["verdict"]["verdict"] == "INVALID"


def walking(tmp_path: Path, keep_positions: bool = True) -> Path:
    """Two Crafter-like walks of 8 frames at the size of the tiny models: a tile is a pixel."""
    walks = [walk([(30 + step, 30 + seed) for step in range(8)], seed, side=16) for seed in (0, 1)]
    known = {"player_position": np.concatenate([path[0] for _, path in walks])} if keep_positions else {}
    frames, actions = np.concatenate([clip[0] for clip, _ in walks]), np.arange(16, dtype=np.uint8) % 2
    return write_h5(tmp_path / "walk.h5", frames=frames, episode=np.repeat([0, 1], 8), actions=actions, **known)


@pytest.mark.requirement("G5")
def test_memory_references_stand_in_every_clip_and_in_the_summary_where_positions_are_known(
    project: TinyStages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(tiny_words(project, walking(tmp_path), "--starts", "0,8"), capsys)
    sharp = [clip["memory_sharp_mse"] for clip in found["clips"]]
    assert found["summary"]["memory_sharp_mse"] == pytest.approx(float(np.mean(sharp)))
    assert found["summary"]["memory_references"].startswith("no bounds")
    assert 0 <= found["summary"]["action_information"] <= 1
    assert main(tiny_words(project, walking(tmp_path / "text"), "--starts", "0,8")) == 1
    told = capsys.readouterr().out
    assert "memory references: sharp" in told
    assert "no bounds: beating one is no evidence of a leak" in told


def test_without_json_a_table_the_facts_and_the_verdict_are_printed(
    project: TinyStages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words(project, walking(tmp_path, keep_positions=False), "--starts", "0,8")) == 1
    told = capsys.readouterr().out
    for part in (
        "2 clips of 2 episodes",
        "error by generated frame, frames in [0, 1]",
        "teacher-forced",
        "skill against the mean frame",
        "memory references NOT-RUN: the frames file has no player_position",
        "note: no checkpoint records",
    ):
        assert part in told
    assert told.splitlines()[-1].startswith("FAIL: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--starts", "0,0"], "--starts 0,0: a clip is named twice; name each once"),
        (["--starts", "13"], "the clip of 5 frames from 13 leaves its episode after 3 frames"),
        (["--starts", "900"], "a clip of 5 frames from 900 does not lie in the file's 192 frames"),
        (["--context", "3"], "--context 3: the models were trained on 3 frames; 1 to 2 of them can be given"),
        (["--clips", "900"], "clips=900: only 144 held-out clips of this length exist"),
    ],
)
def test_what_cannot_be_scored_is_reported_in_one_sentence_with_exit_status_2(
    project: TinyStages, unseen: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words(project, unseen, *words)) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


@pytest.mark.parametrize("words", [["--starts", "a"], ["--steps", "0"], ["--rollout", "dreams"], ["--max-mse", "nan"]])
def test_arguments_that_make_no_sense_are_usage_errors(
    project: TinyStages, unseen: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(tiny_words(project, unseen, *words))
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_missing_file_and_a_checkpoint_of_another_stage_are_reported(
    project: TinyStages, unseen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words(project, tmp_path / "gone.h5")) == 2
    assert "gone.h5: there is no such file" in capsys.readouterr().err
    other = project.checkpoint("whole", "latent_actions", 11)
    assert main(tiny_words(project, unseen, video_tokenizer=other)) == 2
    assert "video_tokenizer" in capsys.readouterr().err


@pytest.mark.requirement("S4")
def test_a_checkpoint_that_executes_code_is_refused_and_the_code_does_not_run(
    project: TinyStages, unseen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    bad = tmp_path / "dynamics_step_899"
    shutil.copytree(FOREIGN_RUN / "tinyworlds_fork" / "dynamics" / "checkpoints" / bad.name, bad)
    torch.save({"weights": Trap()}, bad / "model_state_dict.pt")
    assert main(tiny_words(project, unseen, dynamics=bad)) == 2
    assert "model_state_dict.pt" in capsys.readouterr().err
    assert not (tmp_path / "sprung").exists()


def test_numbers_that_are_not_finite_are_null_in_json() -> None:
    assert plain({"a": [float("nan"), 1.5, (float("inf"),)], "b": "nan"}) == {"a": [None, 1.5, [None]], "b": "nan"}
