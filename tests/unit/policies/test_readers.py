"""What the readers see in frames that are drawn here, and, slowly, whether they agree with the score of the games."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.helpers.play_worlds import play_world
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.policies.games import policy_games
from tinyworlds_gate.policies.in_game import Start, true_returns
from tinyworlds_gate.policies.measure import require_game
from tinyworlds_gate.policies.pong import BACKGROUND, COLOURS, PONG, find_ball, find_player, read_points
from tinyworlds_gate.policies.ranking import spearman
from tinyworlds_gate.policies.take_cover import TAKE_COVER, find_fireball, read_hits
from tinyworlds_gate.reference.data.episode_pool import Recipe, play_in_order
from tinyworlds_gate.reference.data.game_table import GAMES
from tinyworlds_gate.reference.games.live import ACTION_NAMES


def pong_frame(ball: tuple[int, int] | None, player: int = 80, size: int = 64, opponent: int = 60) -> np.ndarray:
    """Return a frame with the middles of ball and paddles at these places of the field."""
    field = np.broadcast_to(BACKGROUND.astype(np.uint8), (160, 160, 3)).copy()
    for middle, x, colour in ((opponent, 16, COLOURS[2]), (player, 140, COLOURS[1])):
        field[max(0, middle - 8) : middle + 8, x : x + 4] = colour
    if ball is not None:
        field[max(0, ball[1] - 2) : ball[1] + 2, max(0, ball[0] - 1) : ball[0] + 1] = COLOURS[0]
    return np.asarray(Image.fromarray(field).resize((size, size), Image.Resampling.BOX))


@pytest.mark.parametrize("size", [64, 72, 128])
@pytest.mark.parametrize("ball", [(80, 40), (33, 121), (127, 9), (142, 80), (155, 100), (3, 60)])
def test_the_ball_is_found_in_its_place(size: int, ball: tuple[int, int]) -> None:
    found = find_ball(pong_frame(ball, size=size))
    assert found is not None
    assert np.hypot(found[0] - ball[0], found[1] - ball[1]) < 1.5


@pytest.mark.parametrize("player", [20, 80, 141])
def test_the_paddle_is_found_and_no_ball_where_there_is_none(player: int) -> None:
    frame = pong_frame(None, player=player)
    assert find_ball(frame) is None
    assert find_player(frame) == pytest.approx(player, abs=1.5)
    assert find_player(np.broadcast_to(BACKGROUND.astype(np.uint8), (64, 64, 3))) is None


@pytest.mark.parametrize(
    ("path", "points"),
    [
        ([100, 120, 140, 154, None, 80, 60], -1),
        ([60, 40, 20, 6, None, None, 80], 1),
        ([100, 154, 156, 158, None], -1),  # one ball
        ([100, 154, None, 80, 100, 154], -2),
        ([100, 120, None, None, None], 0),  # it fades away inside the field
        ([80, 100, 120, 138, 120, 100], 0),
    ],
)
def test_a_ball_that_leaves_is_a_point(path: list[int | None], points: int) -> None:
    frames = np.stack([pong_frame(None if x is None else (x, 70)) for x in path])
    assert read_points(frames) == points


def test_pong_policies_act_on_what_they_see() -> None:
    above, level = (np.stack([pong_frame((100, y))] * 2) for y in (40, 80))
    follow, flee, stay = (PONG.policies[name] for name in ("follow the ball", "flee from the ball", "stay"))
    assert [one(above, 0) for one in (follow, flee, stay)] == [1, 2, 0]
    assert follow(level, 0) == 0
    assert follow(np.stack([pong_frame(None)] * 2), 0) == 0


def red(*levels: int) -> np.ndarray:
    frames = np.full((len(levels), 16, 16, 3), 70, np.uint8)
    frames[..., 0] += np.array(levels, np.uint8)[:, None, None]
    return frames


@pytest.mark.parametrize(
    ("levels", "hits"),
    [
        ((5, 5, 8, 6), 0),
        ((5, 150, 140, 130), -1),
        ((5, 80, 150, 140), -1),  # it takes two steps to rise
        ((5, 150, 140, 152, 140), -2),
        ((5, 9, 13, 17, 21), 0),  # a wall comes near
        ((5, 10, 10, 17), -1),
    ],
)
def test_a_red_screen_is_a_hit(levels: tuple[int, ...], hits: int) -> None:
    assert read_hits(red(*levels)) == hits


def test_take_cover_policies_see_the_nearest_fireball() -> None:
    frame = np.full((64, 64, 3), 70, np.uint8)
    assert find_fireball(frame) is None
    frame[30:32, 10:12] = (255, 230, 80)
    frame[26:36, 40:50] = (255, 230, 80)
    found = find_fireball(frame)
    assert found is not None
    assert found[0] == pytest.approx(0.2, abs=0.03)
    both = np.stack([frame, frame])
    assert TAKE_COVER.policies["dodge"](both, 0) == 1
    assert TAKE_COVER.policies["meet the fireball"](both, 0) == 2


def test_each_game_has_eight_policies_and_actions_that_its_file_records() -> None:
    for name, game in policy_games().items():
        assert name == game.name
        assert name in GAMES
        assert len(game.policies) == 8
        frames = np.zeros((2, 64, 64, 3), np.uint8)
        actions = {policy(frames, step) for policy in game.policies.values() for step in range(30)}
        assert actions <= set(range(len(ACTION_NAMES[name])))


def test_frames_of_another_game_are_refused() -> None:
    world = play_world()
    with pytest.raises(DataError, match="frames of no game that runs here; policies are scripted for pong and"):
        require_game(world)
    attrs = {"game": "pong", "seed": 0, "frame_size": 16}
    strided = replace(world, data=replace(world.data, attrs=attrs, stride=4))
    with pytest.raises(DataError, match="read at stride 4, but a policy acts on every frame"):
        require_game(strided)


@pytest.mark.parametrize("command", ["horizon", "policies"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere: there is no such run"),
        ([], "needs a model: name a run"),
    ],
)
def test_bad_input_is_one_sentence(
    command: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *words]) == 2
    shown = capsys.readouterr().err.strip()
    assert said in shown
    assert shown.count("\n") == 0


@pytest.mark.slow
@pytest.mark.parametrize(("game", "equal"), [(PONG, 0.85), (TAKE_COVER, 0.5)])
def test_the_reader_agrees_with_the_score_of_the_true_game(game: object, equal: float) -> None:
    name = game.name  # type: ignore[attr-defined]
    pytest.importorskip(GAMES[name].package)
    played = list(play_in_order(Recipe(GAMES[name].module, 5, 31, 64), 12, 2, apart=True))[:12]
    starts = [
        Start(number, tuple(int(one) for one in episode.actions[:30]), episode.frames[30])
        for number, episode in enumerate(played)
    ]
    recorded = {"name": name, "seed": 5, "native_size": 64}
    found = [
        true_returns(policy_games()[name], recorded, starts, shown_size=64, steps=48, workers=count) for count in (1, 2)
    ]
    assert np.array_equal(found[0].score, found[1].score)
    assert np.array_equal(found[0].read, found[1].read)
    score, read = found[0].score, found[0].read
    assert (score == read).mean() >= equal
    assert spearman(score.mean(axis=1), read.mean(axis=1)) >= 0.85
    assert np.ptp(score.mean(axis=1)) >= 0.5, "the policies differ"
