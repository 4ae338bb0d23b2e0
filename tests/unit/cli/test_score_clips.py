"""Which clips `tinyworlds-gate score` measures: the halves of a run's draws, a file's own clips, the evaluation set.

Run the long row too: pytest tests/unit/cli/test_score_clips.py -m "slow or not slow"
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.helpers.data_files import write_h5
from tests.helpers.shared_files import SHARED, shared_is_required
from tests.helpers.small_models import sizes
from tests.helpers.tiny_stages import TinyStages, moving_squares, trained_stages
from tests.helpers.untrained_checkpoints import write_untrained
from tests.unit.cli.test_score import OPTIONS, answer, own_data, tiny_words
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.data.split import episodes_of_draw, held_out_clips, split_episodes

EVAL_SET = SHARED / "eval" / "crafter_128.h5"


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> TinyStages:
    return trained_stages(tmp_path_factory)


@pytest.fixture
def unseen(tmp_path: Path) -> Path:
    frames, episode = moving_squares(seed=5)
    return write_h5(tmp_path / "unseen.h5", frames=frames, episode=episode)


@pytest.fixture
def named(unseen: Path) -> Path:
    """A file that names two clips of its own."""
    with h5py.File(unseen, "r+") as file:
        file["clip_starts"] = np.array([3, 40])
    return unseen


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("draw", [0, 1, 2])
def test_a_clip_draw_measures_the_very_clips_of_a_runs_draw(
    project: TinyStages, draw: int, capsys: pytest.CaptureFixture[str]
) -> None:
    episode = moving_squares()[1]
    held_out = split_episodes(episode, 0.25, 0).held_out
    of_run = held_out_clips(own_data(project), episode, held_out, length=5, count=6, seed=3, draw=draw)
    words = tiny_words(project, own_data(project), "--clips", "6", "--clip-seed", "3", "--clip-draw", str(draw))
    found = answer(words, capsys)
    assert [clip["start"] for clip in found["clips"]] == of_run.tolist()
    told = {key: found["settings"][key] for key in ("starts", "clip_draw", "clip_seed")}
    assert told == {"starts": "draw", "clip_draw": draw, "clip_seed": 3}


def test_of_a_file_that_nobody_trained_on_the_draws_halve_all_episodes(
    project: TinyStages, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = [
        {clip["episode"] for clip in answer(tiny_words(project, unseen, "--clip-draw", draw), capsys)["clips"]}
        for draw in ("1", "2")
    ]
    assert measured == [set(episodes_of_draw(range(12), draw, 0).tolist()) for draw in (1, 2)]
    assert measured[0].isdisjoint(measured[1])


def test_the_clips_of_a_file_are_measured_on_request_and_by_default(
    project: TinyStages, named: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, default = (answer(tiny_words(project, named, *words), capsys) for words in (["--starts", "file"], []))
    assert [clip["start"] for clip in asked["clips"]] == [3, 40]
    assert asked["clips"] == default["clips"]
    assert asked["settings"]["starts"] == default["settings"]["starts"] == "file"


def test_a_file_that_names_clips_can_be_drawn_from(
    project: TinyStages, named: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(tiny_words(project, named, "--starts", "draw", "--clips", "9"), capsys)
    assert len(found["clips"]) == 9
    assert found["settings"]["starts"] == "draw"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--clip-draw", "1"], "--clip-draw 1: it chooses drawn clips, but the file names the clips (clip_starts)"),
        (["--starts", "file", "--clips", "9"], "--clips 9: it chooses drawn clips, but the file names the clips"),
        (["--starts", "3", "--clip-seed", "1"], "--clip-seed 1: it chooses drawn clips, but --starts names the clips"),
        (["--starts", "file", "--stride", "2"], "names no clips (a stride skips frames, so its clip_starts do not"),
    ],
)
def test_an_option_that_would_be_ignored_is_reported(
    project: TinyStages, named: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words(project, named, *words)) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_names_no_clips_cannot_give_its_own(
    project: TinyStages, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words(project, unseen, "--starts", "file")) == 2
    told = capsys.readouterr().err
    assert "--starts file: unseen.h5 names no clips (it has no clip_starts); name them (--starts N,N)" in told


def test_a_file_that_names_a_clip_twice_is_refused(
    project: TinyStages, unseen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(unseen, "r+") as file:
        file["clip_starts"] = np.array([3, 3])
    assert main(tiny_words(project, unseen)) == 2
    assert "unseen.h5: clip_starts: a clip is named twice; name each once" in capsys.readouterr().err


def test_one_episode_leaves_none_for_the_final_verdicts_half(
    project: TinyStages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = write_h5(tmp_path / "alone.h5", frames=moving_squares()[0][:16], episode=np.zeros(16, int))
    assert main(tiny_words(project, alone, "--clip-draw", "2")) == 2
    told = capsys.readouterr().err
    assert "--clip-draw 2: the 1 episodes that can be measured leave none for this half; use --clip-draw 0 or 1" in told


@pytest.mark.parametrize("words", [["--clip-draw", "3"], ["--starts", "files"]])
def test_a_draw_or_a_source_that_does_not_exist_is_a_usage_error(
    project: TinyStages, unseen: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(tiny_words(project, unseen, *words))
    assert words[0] in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.requirement("G5")
@pytest.mark.skipif(
    not EVAL_SET.exists() and not shared_is_required(),
    reason="the fixed evaluation set (../shared/eval) is not here",
)
def test_all_256_clips_of_the_evaluation_set_give_the_published_baselines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They do not depend on the models: untrained ones of 16 patches a frame are fast enough."""
    folders = write_untrained(tmp_path, sizes(frame_size=128, patch_size=32, num_blocks=1))
    pairs = [word for option, stage in zip(OPTIONS, STAGES, strict=True) for word in (option, str(folders[stage]))]
    words = ["--starts", "file", "--context", "3", "--steps", "12", "--decode-steps", "1", "--device", "cpu"]
    assert main(["score", *pairs, "--data", str(EVAL_SET), *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    summary = found["summary"]
    assert (summary["clips"], summary["episodes"], len(found["clips"])) == (256, 64, 256)
    assert summary["copy_last_mse"] == pytest.approx(0.0303, abs=0.00005)
    assert summary["mean_frame_mse"] == pytest.approx(0.0325, abs=0.00005)
    assert summary["memory_sharp_mse"] == pytest.approx(0.0123, rel=0.01)
    assert summary["memory_hedged_mse"] == pytest.approx(0.0081, rel=0.01)
    assert found["verdict"]["verdict"] != "PASS"
