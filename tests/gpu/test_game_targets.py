"""The measures of Pong and MiniGrid against what the games themselves say, and the recipes; all on a CPU.

python -m pytest tests/gpu/test_game_targets.py
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from tests.gpu.game_recipes import Candidate
from tests.gpu.game_targets import ball_places, ball_share, cells_share
from tests.helpers.config_files import REPOSITORY
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.config.load import resolve_settings

RECIPES = sorted((REPOSITORY / "tests/gpu/recipes").glob("*.yaml"))


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A few frames of each game at the sizes of the profiles."""
    folder, found = tmp_path_factory.mktemp("games"), {}
    for game, size in (("pong", 80), ("minigrid", 64)):
        pytest.importorskip({"pong": "ale_py", "minigrid": "minigrid"}[game], reason="needs the extra `games`")
        found[game] = folder / f"{game}.h5"
        words = ["--frame-size", str(size), "--num-frames", "256", "--episode-length", "64", "--workers", "1"]
        assert main(["data", "make", game, *words, "--output", str(found[game])]) == 0
    return found


def clips_of(path: Path, steps: int = 8) -> np.ndarray:
    """All frames of a file as clips ``[N, T, H, W, 3]``."""
    with h5py.File(path) as file:
        frames = file["frames"][:]
    return frames.reshape(len(frames) // steps, steps, *frames.shape[1:])


def test_the_ball_is_found_where_the_emulator_says_it_is(games: dict[str, Path]) -> None:
    with h5py.File(games["pong"]) as file:
        frames, objects = file["frames"][:], file["objects"][:]
    balls = objects[objects["kind"] == b"ball"]
    stated = np.full((len(frames), 2), np.nan)
    stated[balls["frame"]] = np.stack([balls["x"], balls["y"]], axis=1)
    found = ball_places(frames)
    assert np.array_equal(np.isfinite(found), np.isfinite(stated))
    assert 100 < np.isfinite(stated[:, 0]).sum() < len(frames)
    # The emulator counts from a pixel's edge, the measure from its middle.
    assert np.nanmax(np.linalg.norm(found + 0.5 - stated, axis=1)) < 0.5


def test_the_ball_s_share_is_one_for_the_true_frames_and_zero_without_or_beside_it(games: dict[str, Path]) -> None:
    true = clips_of(games["pong"])
    assert ball_share(true, true) == [1.0] * 8
    without = np.where(true.min(axis=-1, keepdims=True) >= 105, true[:, :, :1, :1], true)
    assert ball_share(without, true) == [0.0] * 8
    # 4 of 160 px are within the limit; a ball at the edge goes to the other one.
    assert min(ball_share(np.roll(true, 2, axis=-2), true)) > 0.9
    assert max(ball_share(np.roll(true, 3, axis=-2), true)) < 0.1


def test_two_balls_are_not_one_in_its_place(games: dict[str, Path]) -> None:
    true = clips_of(games["pong"])
    assert max(ball_share(np.maximum(true, np.roll(true, 20, axis=-2)), true)) < 0.2


def test_every_cell_counts_and_noise_does_not(games: dict[str, Path]) -> None:
    true = clips_of(games["minigrid"])
    noisy = np.clip(true + np.random.default_rng(0).integers(-4, 5, true.shape), 0, 255).astype(np.uint8)
    assert cells_share(noisy, true) == [1.0] * 8
    one_wrong = true.copy()
    one_wrong[: len(true) // 2, 3, 8:16, 8:16] = 255 - one_wrong[: len(true) // 2, 3, 8:16, 8:16]
    assert cells_share(one_wrong, true) == [1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0]


def test_a_turned_agent_is_a_wrong_cell(games: dict[str, Path]) -> None:
    with h5py.File(games["minigrid"]) as file:
        frames, actions, episode = file["frames"][:], file["actions"][:], file["episode"][:]
    turned = np.flatnonzero((actions[:-1] <= 1) & (episode[:-1] == episode[1:]))
    assert len(turned) > 20
    assert cells_share(frames[turned][:, None], frames[turned + 1][:, None]) == [0.0]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_a_valid_profile(path: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames.h5"
    frames.write_bytes(b"")
    for name, recipe in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        candidate = Candidate(name, recipe, tmp_path / path.stem)
        candidate.prepare(frames)
        settings = resolve_settings(
            candidate.project / "configs/profiles" / recipe["base"], {}, project_root=candidate.project
        )
        assert settings.training.dataset == recipe["game"].upper()
        assert settings.training.frame_size == recipe["frames"]["frame-size"]
