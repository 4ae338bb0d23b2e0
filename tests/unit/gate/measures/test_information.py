"""Use of codes and their information: closed forms, and the definition summed cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyworlds_gate.gate.measures.information import (
    DOWN,
    LEFT,
    NO_DISPLACEMENT,
    NONE,
    RIGHT,
    UP,
    action_record,
    codes_used,
    displacements,
    entropy_nats,
    normalised_information,
    shares,
)


@pytest.mark.requirement("G5")
def test_codes_that_name_what_happened_tell_all_of_it_under_any_names() -> None:
    truth = np.array([[0, 1, 2], [2, 1, 0]])
    assert normalised_information(truth, truth) == pytest.approx(1.0)
    assert normalised_information(7 - 2 * truth, truth) == pytest.approx(1.0)


@pytest.mark.requirement("G5")
def test_codes_that_are_independent_of_what_happened_tell_nothing() -> None:
    codes, truth = np.meshgrid(np.arange(4), np.arange(5))
    assert normalised_information(codes, truth) == pytest.approx(0.0, abs=1e-12)
    assert normalised_information(np.zeros(20, int), np.arange(20) % 5) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.requirement("G5")
def test_a_code_that_splits_four_equal_classes_in_two_has_half_of_their_information() -> None:
    truth = np.arange(40) % 4
    assert normalised_information(truth // 2, truth) == pytest.approx(0.5)


def test_more_codes_than_classes_tell_no_more_than_all() -> None:
    truth = np.arange(40) % 2
    assert normalised_information(np.arange(40) % 8, truth) == pytest.approx(1.0)


def test_unknown_transitions_are_left_out() -> None:
    truth, codes = np.array([0, 1, -1, -1]), np.array([3, 5, 3, 3])
    assert normalised_information(codes, truth) == pytest.approx(1.0)
    assert normalised_information(codes, np.full(4, -1)) is None


def test_where_nothing_ever_varies_there_is_nothing_to_tell() -> None:
    assert normalised_information(np.array([0, 1, 0, 1]), np.zeros(4, int)) is None


@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60))
@pytest.mark.requirement("G5")
def test_the_information_is_the_sum_over_cells_of_its_definition(pairs: list[tuple[int, int]]) -> None:
    n = len(pairs)
    p = {pair: pairs.count(pair) / n for pair in set(pairs)}
    code = {c: sum(one == c for one, _ in pairs) / n for c in {one for one, _ in pairs}}
    true = {t: sum(one == t for _, one in pairs) / n for t in {one for _, one in pairs}}
    entropy = -sum(share * math.log(share) for share in true.values())
    found = normalised_information(np.array([c for c, _ in pairs]), np.array([t for _, t in pairs]))
    if len(true) == 1:
        assert found is None
    else:
        information = sum(share * math.log(share / (code[c] * true[t])) for (c, t), share in p.items())
        assert found == pytest.approx(information / entropy, abs=1e-9)


@pytest.mark.requirement("G5")
def test_a_players_steps_are_none_left_right_up_and_down_with_y_downwards() -> None:
    path = np.array([[[5, 5], [5, 5], [4, 5], [5, 5], [5, 4], [5, 5]]], np.int16)
    assert displacements(path).tolist() == [[NONE, LEFT, RIGHT, UP, DOWN]]


def test_a_straight_step_of_several_tiles_has_a_direction_and_a_diagonal_one_has_none() -> None:
    path = np.array([[[5, 5], [9, 5], [9, 2], [8, 1]]])
    assert displacements(path).tolist() == [[RIGHT, UP, NO_DISPLACEMENT]]


def test_the_direction_of_unsigned_positions_is_not_lost() -> None:
    assert displacements(np.array([[[5, 5], [4, 5]]], np.uint8)).tolist() == [[LEFT]]


@pytest.mark.requirement("G5")
def test_two_percent_is_in_use_and_less_is_not() -> None:
    codes = np.array([0] * 97 + [1, 1, 2])
    assert shares(codes, 4).tolist() == [0.97, 0.02, 0.01, 0.0]
    assert codes_used(shares(codes, 4)) == 2
    assert entropy_nats(shares(np.array([], int), 4)) == 0.0


@pytest.mark.requirement("G5")
def test_of_many_codes_half_the_even_share_counts_as_used() -> None:
    assert codes_used(np.full(64, 1 / 64)) == 64
    assert codes_used(np.array([0.5, *[0.5 / 63] * 63])) == 64
    assert codes_used(np.array([0.9, *[0.1 / 63] * 63])) == 1
    assert codes_used(np.array([0.98, 0.02])) == 2
    assert codes_used(np.array([0.981, 0.019])) == 1


EPISODES = np.arange(64) % 32


def moves(seed: int, kinds: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(kinds, size=(64, 6))


@pytest.mark.requirement("G5")
def test_codes_that_name_the_actions_are_far_above_chance() -> None:
    found = action_record((7 - moves(0)) % 8, 8, moves(0), EPISODES)
    assert found["no_occasion"] is None
    assert found["information"] == pytest.approx(1.0)
    assert found["chance"] < 0.05
    assert 0.9 < found["excess_low"] <= found["excess"] <= found["excess_high"]
    assert found["true_actions"] == 5
    assert found["bits"] == pytest.approx(found["true_bits"], abs=1e-9)
    assert found["most_bits"] == 3.0


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("constant", [False, True], ids=["independent", "one action and one code a clip"])
def test_actions_of_other_clips_are_no_information(constant: bool) -> None:
    passes = 0
    for seed in range(12):
        codes, actions = moves(seed, 8), moves(seed + 100)
        if constant:
            codes, actions = codes[:, :1].repeat(6, axis=1), actions[:, :1].repeat(6, axis=1)
        found = action_record(codes, 8, actions, EPISODES)
        assert abs(found["excess"]) < 0.12
        passes += found["excess_low"] >= 0.05
    assert passes == 0


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("actions", "episodes", "why"),
    [
        (None, EPISODES, "has no true `actions`"),
        (np.zeros((64, 6), int), EPISODES, "0 transitions in 32 episodes have another"),
        ((np.arange(64 * 6) < 29).reshape(64, 6).astype(int), EPISODES, "29 transitions in 32 episodes"),
        (moves(0), np.arange(64) % 4, "in 4 episodes"),
    ],
)
def test_where_actions_say_nothing_only_the_bits_are_reported(
    actions: np.ndarray | None, episodes: np.ndarray, why: str
) -> None:
    found = action_record(moves(1), 8, actions, episodes)
    assert why in found["no_occasion"]
    assert 2.0 < found["bits"] < 3.0
