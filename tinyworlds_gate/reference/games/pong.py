"""Atari's Pong by ale-py: frames of the playing field, with the places of ball and paddles from the emulator's memory.

The addresses are those of https://github.com/mila-iqia/atari-representation-learning (AtariARI); the offsets to pixels
were measured on the frames (``tests/unit/reference/games/test_pong.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from ale_py import ALEInterface, LoggerMode, roms
from PIL import Image

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.games.played import Played, Seen, emulator_seed, objects_table, policy_rng

FIRST_ROW, SIDE = 34, 160
"""The playing field on the screen of 210 x 160 px: without score and frame."""
EMULATED_FRAMES = 3
"""Frames of the emulator for a step: 20 steps a second."""
NOOP, UP, DOWN = range(3)
BUTTONS = (0, 2, 3)
"""Of `getMinimalActionSet`, for each action."""
FOLLOWS = 0.8
"""Share of the steps in which the player follows the ball; in the others it does anything."""
MOST_WARM_UP = 60
"""Steps that are played before the first frame, at most; at least as many as the first serve takes."""
SERVE = 25

BALL_X, BALL_Y, PLAYER_Y, OPPONENT_Y = 49, 54, 51, 50
OPPONENT_POINTS, PLAYER_POINTS = 13, 14
PLAYER_X, OPPONENT_X = 142, 18
BALL_COLOUR, PLAYER_COLOUR, OPPONENT_COLOUR = (236, 236, 236), (92, 186, 92), (213, 130, 74)


@lru_cache(maxsize=1)
def _emulator() -> ALEInterface:
    ALEInterface.setLoggerMode(LoggerMode.Error)
    return ALEInterface()


def play_episode(seed: int, episode: int, length: int, frame_size: int) -> Played:
    """Play ``length`` frames of ``frame_size`` px from the middle of a game; shorter when a player wins it."""
    ale, actions = start_episode(seed, episode)
    frames, taken, seen = [], [], []
    while True:
        field_HWC = playing_field(ale)
        frames.append(resized(field_HWC, frame_size))
        seen.append(_objects(ale.getRAM(), field_HWC, frame_size / SIDE))
        taken.append(next(actions))
        if len(frames) == length or ale.game_over():
            return Played(np.stack(frames), np.array(taken, np.uint8), objects_table(seen))
        take_step(ale, taken[-1])


def start_episode(seed: int, episode: int) -> tuple[ALEInterface, Iterator[int]]:
    """Return the emulator at the first frame of an episode, and the policy's further actions."""
    ale, rng = _emulator(), policy_rng(seed, episode)
    ale.setInt("random_seed", emulator_seed(seed, episode))
    ale.setFloat("repeat_action_probability", 0.0)
    cartridge = roms.get_rom_path("pong")
    if cartridge is None:
        raise DataError("the installed ale-py holds no Pong; fix: pip install 'tinyworlds_gate[games]'")
    ale.loadROM(cartridge)
    actions = _policy(ale, rng)
    for _ in range(SERVE + int(rng.integers(MOST_WARM_UP))):
        take_step(ale, next(actions))
    return ale, actions


def playing_field(ale: ALEInterface) -> np.ndarray:
    """Return the field that the screen shows, uint8 [SIDE, SIDE, 3]."""
    field_HWC: np.ndarray = ale.getScreenRGB()[FIRST_ROW : FIRST_ROW + SIDE]
    return field_HWC


def points(ale: ALEInterface) -> int:
    """Return the points of the player less those of the opponent."""
    memory = ale.getRAM()
    return int(memory[PLAYER_POINTS]) - int(memory[OPPONENT_POINTS])


def take_step(ale: ALEInterface, action: int) -> None:
    """Hold the button of an action for a step."""
    button = ale.getMinimalActionSet()[BUTTONS[action]]
    for _ in range(EMULATED_FRAMES):
        ale.act(button)


def _policy(ale: ALEInterface, rng: np.random.Generator) -> Iterator[int]:
    while True:
        memory = ale.getRAM()
        above = int(memory[BALL_Y]) - int(memory[PLAYER_Y])
        follow = UP if above < 4 else DOWN if above > 10 else NOOP
        yield follow if rng.random() < FOLLOWS else int(rng.integers(3))


def _objects(memory: np.ndarray, field_HWC: np.ndarray, scale: float) -> list[Seen]:
    """Return what the field shows; an object whose colour is not at its place is not shown."""
    places = (
        ("ball", BALL_COLOUR, int(memory[BALL_X]) - 48, int(memory[BALL_Y]) - 46),
        ("player", PLAYER_COLOUR, PLAYER_X, int(memory[PLAYER_Y]) - 40),
        ("opponent", OPPONENT_COLOUR, OPPONENT_X, int(memory[OPPONENT_Y]) - 41),
    )
    shown = []
    for kind, colour, x, y in places:
        left, upper = max(x - 4, 0), max(y - 10, 0)
        near = field_HWC[upper : y + 11, left : x + 5]
        rows, columns = np.nonzero((near == np.array(colour, np.uint8)).all(axis=-1))
        if len(rows):
            middle = (left + (columns.min() + columns.max() + 1) / 2, upper + (rows.min() + rows.max() + 1) / 2)
            shown.append((kind, middle[0] * scale, middle[1] * scale))
    return shown


def resized(field_HWC: np.ndarray, frame_size: int) -> np.ndarray:
    """Return the field at another size, each pixel the mean of its area."""
    size = (frame_size, frame_size)
    return np.asarray(Image.fromarray(field_HWC).resize(size, Image.Resampling.BOX))
