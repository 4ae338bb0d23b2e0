"""The true game beside the model: it shows the frames of its file, and nothing that happens to it ends play.

python -m pytest tests/unit/play/test_true_game.py
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.helpers.play_worlds import play_world
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.play.driver import Driver
from tinyworlds_gate.play.true_game import TrueGame, action_names, recorded_game
from tinyworlds_gate.play.world import PlayWorld
from tinyworlds_gate.reference.data.episode_pool import Recipe, play_in_order
from tinyworlds_gate.reference.data.frames_file import FramesData, load_frames
from tinyworlds_gate.reference.data.game_dataset import make_game
from tinyworlds_gate.reference.data.game_table import GAMES
from tinyworlds_gate.reference.games.live import ACTION_NAMES, LIVE_GAMES

SIDE = 40
LENGTH = 24


def test_every_game_that_is_made_here_can_be_played() -> None:
    assert set(LIVE_GAMES) == set(ACTION_NAMES) == set(GAMES)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in GAMES if name != "crafter"]


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_the_recorded_actions_lead_to_the_frames_of_the_file(name: str) -> None:
    pytest.importorskip(GAMES[name].package)
    *_, played = play_in_order(Recipe(GAMES[name].module, 7, LENGTH, SIDE), 4, 1, apart=True)
    actions = played.actions.tolist()
    with closing(TrueGame(name, 7, SIDE, SIDE)) as game:
        for first in (5, 1):  # a second start is as good as the first
            game.start_at(3, actions[:first], played.frames[first])
            for frame, action in zip(played.frames[first + 1 :], actions[first:], strict=False):
                game.step(action)
                assert game.frame is not None
                assert np.array_equal(game.frame, frame)


@pytest.fixture(scope="module")
def crafter() -> Iterator[TrueGame]:
    with closing(TrueGame("crafter", 0, 18, 18)) as game:
        yield game


def test_a_game_that_shows_another_frame_is_refused(crafter: TrueGame) -> None:
    with pytest.raises(DataError, match="emulator of crafter shows another picture than the frames file"):
        crafter.start_at(0, [], np.zeros((18, 18, 3), np.uint8))


def test_a_game_that_fails_is_one_sentence() -> None:
    with (
        closing(TrueGame("crafter", 0, 18, 18)) as game,
        pytest.raises(DataError, match=r"crafter has failed \(IndexError"),
    ):
        game.start_at(0, [99], np.zeros((18, 18, 3), np.uint8))


def game_world() -> PlayWorld:
    """A world whose frames are said to be Crafter's: the pictures differ, of course."""
    world = play_world()
    attrs = {"game": "crafter", "seed": 0, "frame_size": 18, "episode_length": 20}
    return replace(world, data=replace(world.data, attrs=attrs))


@pytest.mark.parametrize("name", ["crafter", *SLOW])
def test_the_game_starts_where_the_context_ends_and_follows_the_codes(name: str, tmp_path: Path) -> None:
    pytest.importorskip(GAMES[name].package)
    made = {"num_frames": 60, "frame_size": 24, "episode_length": 20, "seed": 3, "workers": 1}
    make_game(tmp_path / "game.h5", GAMES[name], **made)  # type: ignore[arg-type]
    data = load_frames(tmp_path / "game.h5", frame_size=16)
    starts = np.flatnonzero(data.episode == 1)[[4]]
    world = replace(play_world(), data=data, starts=starts)
    assert data.actions is not None
    with closing(Driver(world)) as driver:
        view = driver.choose(0)
        assert view.facts["game_problem"] == ""
        assert view.game_frames is not None
        assert np.array_equal(view.game_frames, view.model_frames)
        for at in range(int(starts[0]) + 2, int(starts[0]) + 8):
            # Code 0 means what was done then.
            done = replace(world.meanings[0], action=int(data.actions[at]))
            driver.world = replace(world, meanings=(done, *world.meanings[1:]))
            view = driver.step(0)
            assert view.game_frames is not None
            assert np.array_equal(view.game_frames[0], data.frames[at + 1])
            assert not np.array_equal(view.model_frames, view.game_frames)


def test_the_model_can_be_played_without_its_game_and_the_page_says_why() -> None:
    with closing(Driver(game_world())) as driver:
        view = driver.choose(1)
        assert view.game_frames is None
        assert "shows another picture" in view.facts["game_problem"]
        assert driver.step(2).facts["new_frames"] == 1


def test_a_game_that_dies_leaves_the_model_and_no_process_is_left() -> None:
    before = multiprocessing.active_children()
    driver = Driver(game_world())
    [process] = [one for one in multiprocessing.active_children() if one not in before]
    assert process.pid is not None
    psutil.Process(process.pid).kill()
    view = driver.choose(0)
    assert "the emulator of crafter has died (exit code -9)" in view.facts["game_problem"]
    assert driver.step(1).facts["new_frames"] == 1
    driver.close()
    driver.close()
    assert not psutil.pid_exists(process.pid)


def frames(**changes: Any) -> FramesData:
    usual = game_world().data
    return replace(usual, **changes)


def test_only_a_file_of_an_embedded_game_with_its_actions_and_episodes_has_a_true_game() -> None:
    assert recorded_game(frames()) == {"name": "crafter", "seed": 0, "native_size": 18}
    others: list[dict[str, Any]] = [{"actions": None}, {"has_true_episodes": False}, {"attrs": {}}]
    for changes in [*others, {"attrs": {"game": "tetris"}}]:
        assert recorded_game(frames(**changes)) is None
    assert recorded_game(frames(attrs={"game": "pong", "frame_size": 64})) is None


def test_actions_have_the_names_of_their_game_or_a_number() -> None:
    assert action_names(frames()) == ACTION_NAMES["crafter"]
    assert action_names(frames(attrs={})) == [f"action {number}" for number in range(4)]
    beyond = np.array([7], np.uint8)
    assert action_names(frames(actions=beyond))[7] == "action 7"
