"""ViZDoom's scenario `my_way_home` (Freedoom): a first-person walk through rooms, with the objects in view.

The engine is a process of its own below the process that imports this module.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir
from functools import lru_cache
from pathlib import Path

import numpy as np
import vizdoom
from PIL import Image

from tinyworlds_gate.reference.games.played import Played, Seen, emulator_seed, objects_table, policy_rng

SCENARIO = "my_way_home"
TICS = 2
"""Tics of the engine for a step: 17.5 steps a second."""
SIDE, FIRST_COLUMN = 120, 20
"""The middle square of the screen of 120 x 160 px."""
REPEAT = 0.7
BUTTONS = (
    vizdoom.Button.MOVE_FORWARD,
    vizdoom.Button.TURN_LEFT,
    vizdoom.Button.TURN_RIGHT,
    vizdoom.Button.MOVE_LEFT,
    vizdoom.Button.MOVE_RIGHT,
    vizdoom.Button.ATTACK,
)
"""Action 0 presses nothing, action n the n-th of these."""
SHARES = (0.04, 0.4, 0.18, 0.18, 0.05, 0.05, 0.1)
"""Of a new action: nothing, then the buttons."""


@lru_cache(maxsize=2)
def engine(
    scenario: str = SCENARIO, buttons: tuple[vizdoom.Button, ...] = BUTTONS, *, flashes: bool = False
) -> vizdoom.DoomGame:
    """Return the engine with one of ViZDoom's scenarios; with ``flashes`` a hit turns the screen red."""
    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path) / f"{scenario}.cfg"))
    game.set_doom_config_path(os.devnull)
    game.set_window_visible(False)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_available_buttons(list(buttons))
    game.set_labels_buffer_enabled(True)
    game.set_render_screen_flashes(flashes)
    game.set_episode_timeout(0)
    # The engine makes files in the folder in which it starts.
    with tempfile.TemporaryDirectory(prefix="doom-") as folder, chdir(folder):
        game.init()
    return game


def play_episode(seed: int, episode: int, length: int, frame_size: int) -> Played:
    """Play ``length`` frames of ``frame_size`` px from a random room; shorter when the armour is reached."""
    game = start_episode(seed, episode)
    return record_episode(game, _policy(policy_rng(seed, episode)), take_step, length, frame_size)


def record_episode(
    game: vizdoom.DoomGame,
    actions: Iterator[int],
    take: Callable[[vizdoom.DoomGame, int], object],
    length: int,
    frame_size: int,
) -> Played:
    """Record up to ``length`` frames of ``frame_size`` px, with the action taken in each by ``take``."""
    frames, taken, seen = [], [], []
    for action in actions:
        state = game.get_state()
        frames.append(resized(state.screen_buffer, frame_size))
        seen.append(seen_objects(state.labels, frame_size / SIDE))
        taken.append(action)
        if len(frames) == length:
            break
        take(game, action)
        if game.is_episode_finished():
            break
    return Played(np.stack(frames), np.array(taken, np.uint8), objects_table(seen))


def start_episode(seed: int, episode: int) -> vizdoom.DoomGame:
    """Return the engine at the first frame of an episode."""
    game = engine()
    game.set_seed(emulator_seed(seed, episode))
    game.new_episode()
    return game


def take_step(game: vizdoom.DoomGame, action: int) -> None:
    """Hold the button of an action for a step."""
    game.make_action([int(number == action) for number in range(1, len(BUTTONS) + 1)], TICS)


def _policy(rng: np.random.Generator) -> Iterator[int]:
    last = int(rng.choice(len(SHARES), p=SHARES))
    while True:
        yield last
        if rng.random() >= REPEAT:
            last = int(rng.choice(len(SHARES), p=SHARES))


def seen_objects(labels: list[vizdoom.Label] | None, scale: float) -> list[Seen]:
    """Return the labelled objects whose middle is in the square."""
    found = []
    for label in labels or ():
        x, y = label.x + label.width / 2 - FIRST_COLUMN, label.y + label.height / 2
        if label.object_name != "DoomPlayer" and 0 <= x < SIDE:
            found.append((label.object_name[:16].lower(), x * scale, y * scale))
    return found


def resized(screen_HWC: np.ndarray, frame_size: int) -> np.ndarray:
    """Return the middle square of the screen at another size, each pixel the mean of its area."""
    square = Image.fromarray(screen_HWC[:, FIRST_COLUMN : FIRST_COLUMN + SIDE])
    return np.asarray(square.resize((frame_size, frame_size), Image.Resampling.BOX))
