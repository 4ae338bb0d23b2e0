"""`tinyworlds-gate limits`: an error limit from the predictions that need no model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.helpers.config_files import REPOSITORY
from tinyworlds_gate.cli.limits import limit_of, with_limit
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import ConfigError

SIDE, EPISODES, LENGTH = 16, 20, 24


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a profile of small frames, in which a square of 4 px walks at random."""
    folder = tmp_path / "configs/profiles/walk"
    shutil.copytree(REPOSITORY / "configs/profiles/longrun-pong", folder)
    training = (folder / "training.yaml").read_text().replace("frame_size: 80 ", "frame_size: 16 ")
    (folder / "training.yaml").write_text(training)
    rng = np.random.default_rng(0)
    frames = np.zeros((EPISODES * LENGTH, SIDE, SIDE, 3), np.uint8)
    places = rng.integers(0, SIDE - 4, (len(frames), 2))
    for frame, (row, column) in zip(frames, places, strict=True):
        frame[row : row + 4, column : column + 4] = 200
    (tmp_path / "data").mkdir()
    with h5py.File(tmp_path / "data/pong_frames.h5", "w") as file:
        file["frames"] = frames
        file["episode"] = np.repeat(np.arange(EPISODES, dtype=np.int32), LENGTH)
        file.attrs["game"] = "pong"
    return tmp_path


def limits(project: Path, *words: str) -> int:
    return main(["limits", "--profile", "walk", "--project-root", str(project), "--clips", "8", *words])


def test_the_limit_is_below_the_strongest_prediction_without_a_model(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert limits(project, "--skill", "0.5", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    errors = found["mse"]
    assert min(errors, key=errors.get) == found["strongest"]
    assert errors["last frame"] > 1.5 * errors["mean frame"]  # places are independent: repeating one is twice as wrong
    assert 0.45 < found["max_mse"] / errors[found["strongest"]] <= 0.5
    assert found["episodes"] == 2
    assert len(found["strongest_mse_by_step"]) == 12


def test_write_changes_max_mse_and_nothing_else(project: Path) -> None:
    path = project / "configs/profiles/walk/profile.yaml"
    before = path.read_text().splitlines()
    assert limits(project, "--write") == 0
    after = path.read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 1
    assert changed[0].startswith("  max_mse: 0.")
    assert "`tinyworlds-gate limits`" in changed[0]
    assert limits(project, "--write") == 0  # the new line is found again
    assert path.read_text().splitlines() == after


def test_a_shipped_profile_is_not_written(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = ["limits", "--profile", "longrun-pong", "--project-root", str(elsewhere), "--write"]
    assert main(words) == 2
    assert "not in this project" in capsys.readouterr().err


def test_missing_frames_are_one_sentence(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "data/pong_frames.h5").unlink()
    assert limits(project) == 2
    assert "pong_frames.h5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("strongest", "skill", "limit"), [(0.000356, 0.0, 0.00035), (0.0123, 0.5, 0.0061), (0.02, 0.35, 0.013)]
)
def test_a_limit_has_two_digits_and_is_rounded_down(strongest: float, skill: float, limit: float) -> None:
    assert limit_of(strongest, skill) == pytest.approx(limit)


def test_an_exact_prediction_gives_no_limit() -> None:
    with pytest.raises(ConfigError, match="makes no error"):
        limit_of(0.0, 0.0)


@pytest.mark.parametrize("text", ["thresholds:\n", "  max_mse: 0.1\n  max_mse: 0.2\n"])
def test_a_profile_without_one_line_for_it_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="on a line of its own"):
        with_limit(text, 0.01, 0.0)


@pytest.mark.parametrize("text", ["1", "-0.1", "nan", "much"])
def test_what_is_no_skill_is_refused(text: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        limits(project, "--skill", text)
    assert "is no skill" in capsys.readouterr().err
