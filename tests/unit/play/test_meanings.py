"""What a code means, from the true actions or the motion of the view, and which keys select it.

python -m pytest tests/unit/play/test_meanings.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers.play_worlds import noise_frames
from tests.helpers.small_models import world_models
from tinyworlds_gate.play.meanings import (
    KEYS,
    MOTIONS,
    PLAIN_KEYS,
    Meaning,
    idle_code,
    is_clear,
    keys_of_codes,
    meanings,
)
from tinyworlds_gate.play.observed import motions, observe
from tinyworlds_gate.reference.data.clips import to_model_range
from tinyworlds_gate.reference.games.live import ACTION_NAMES

NAMES = ("noop", "left", "right")


def found(rows: list[list[int]], names: tuple[str, ...] = NAMES) -> list[Meaning]:
    """The meanings of codes with these counts of each action."""
    pairs = [(code, action) for code, row in enumerate(rows) for action, count in enumerate(row) for _ in range(count)]
    codes, actions = np.array(pairs).T
    return meanings(codes, actions, names, len(rows))


def test_a_meaning_is_the_most_frequent_action_with_its_share() -> None:
    texts = [one.text for one in found([[4, 82, 14], [40, 35, 25], [0, 0, 0], [90, 5, 5]])]
    assert texts == ["left 82 %", "unclear (noop 40 %)", "not in the training frames", "noop 90 %"]


@pytest.mark.parametrize(
    ("share", "of_all", "seen", "clear"),
    [
        (0.61, 0.2, 100, True),
        (0.59, 0.2, 100, False),
        (0.49, 0.001, 1000, False),
        (0.9, 0.9, 1000, False),  # as frequent as in all frames: the code says nothing of it
        (0.94, 0.9, 1000, False),
        (0.96, 0.9, 1000, True),
        (1.0, 1.0, 1000, True),
        (1.0, 0.3, 19, False),
        (1.0, 0.3, 20, True),
    ],
)
def test_a_meaning_is_clear_only_if_other_actions_are_half_as_frequent_as_in_all_frames(
    share: float, of_all: float, seen: int, clear: bool
) -> None:
    assert is_clear(share, of_all, seen) is clear


def test_codes_at_random_mean_nothing_clearly() -> None:
    rng = np.random.default_rng(0)
    for shares in ((0.34, 0.33, 0.33), (0.8, 0.1, 0.1)):
        actions = rng.choice(3, 4000, p=shares)
        assert not any(one.clear for one in meanings(rng.integers(0, 8, 4000), actions, NAMES, 8))


def test_arrows_select_clear_directions_and_the_larger_share_wins() -> None:
    keys = keys_of_codes(found([[0, 60, 40], [5, 95, 0], [5, 0, 95], [90, 5, 5], [34, 33, 33]]))
    assert keys == [["0"], ["1", "ArrowLeft", "a"], ["2", "ArrowRight", "d"], ["3"], ["4"]]


def test_every_key_selects_one_code_at_most_and_none_is_a_control_of_the_page() -> None:
    names = tuple(KEYS)
    rows = (np.eye(len(names), dtype=int) * 50).tolist()
    keys = [key for own in keys_of_codes(found(rows, names)) for key in own]
    assert len(keys) == len(set(keys))
    assert set(keys).isdisjoint({"p", ".", "r", "n", "m", "c"})
    assert len(set(PLAIN_KEYS) | {"p", ".", "r", "n", "m", "c", "w", "a", "s", "d"}) == len(PLAIN_KEYS) + 10


def test_more_codes_than_keys_can_still_be_chosen_with_the_mouse() -> None:
    keys = keys_of_codes(found((np.eye(40, dtype=int) * 20).tolist(), tuple(map(str, range(40)))))
    assert keys[30:] == [[]] * 10


def test_the_idle_code_means_nothing_clearly_or_is_the_most_frequent() -> None:
    assert idle_code(found([[0, 60, 40], [90, 5, 5], [99, 1, 0]])) == 2
    assert idle_code(found([[5, 10, 10], [30, 34, 33], [0, 20, 0]])) == 1


@pytest.mark.parametrize("name", ["crafter", "pong", "doom", "minigrid", "takecover"])
def test_each_game_has_a_clear_key_for_each_direction_that_it_knows(name: str) -> None:
    names = ACTION_NAMES[name]
    keys = keys_of_codes(found((np.eye(len(names), dtype=int) * 50).tolist(), names))
    arrows = {one.removeprefix("Arrow") for own in keys for one in own if one.startswith("Arrow")}
    assert (
        arrows
        == {
            "crafter": {"Left", "Right", "Up", "Down"},
            "pong": {"Up", "Down"},
            "doom": {"Left", "Right", "Up"},
            "minigrid": {"Left", "Right", "Up"},
            "takecover": {"Left", "Right"},
        }[name]
    )


@pytest.mark.parametrize(
    ("shift", "axis", "name"),
    [
        (2, 2, "view moves left"),  # the picture goes right
        (-2, 2, "view moves right"),
        (2, 1, "view moves up"),
        (-2, 1, "view moves down"),
        (0, 1, "no motion"),
    ],
)
def test_the_motion_of_the_view_is_opposite_to_that_of_the_picture(shift: int, axis: int, name: str) -> None:
    before = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), np.uint8)
    pairs = to_model_range(torch.from_numpy(np.stack([before, np.roll(before, shift, axis)], axis=1)))
    assert [MOTIONS[index] for index in motions(pairs)] == [name] * 4


def test_transitions_are_observed_in_the_chosen_episodes_only_with_their_own_actions() -> None:
    data, model = noise_frames(), world_models().latent_actions
    marked = replace(data, actions=(data.episode * 10 + np.arange(len(data.episode)) % 20 % 10).astype(np.uint8))
    codes, actions = observe(model, marked, (1,), torch.device("cpu"))
    assert len(codes) == len(actions) == 17 * 3
    assert set(actions // 10) == {1}
    assert codes.min() >= 0
    assert codes.max() < 4


def test_without_recorded_actions_the_motion_is_observed() -> None:
    data = replace(noise_frames(), actions=None)
    codes, actions = observe(world_models().latent_actions, data, (0, 2), torch.device("cpu"))
    assert len(codes) == len(actions)
    assert set(actions) <= set(range(len(MOTIONS)))
