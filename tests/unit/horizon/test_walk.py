"""A walk with its inverse: a perfect simulator comes back, one that stands still has not walked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.long_games import LEFT, NAMES, RIGHT, Deaf, Simulator, contexts
from tinyworlds_gate.horizon.action_codes import ActionCodes, action_codes
from tinyworlds_gate.horizon.driven import Driven, drive
from tinyworlds_gate.horizon.sentences import walk_text
from tinyworlds_gate.horizon.walk import Walks, compare_walks, require_codes, walk_with

STEPS = 4


def codes(order: tuple[int, int, int] = (0, 1, 2)) -> ActionCodes:
    """Return the codes of actions: code ``order[action]``, with some confusion."""
    actions = np.repeat([0, 1, 2], 50)
    own = np.array(order)[actions]
    own[::10] = 0
    return action_codes(own, actions, NAMES, 4)


def walks() -> Walks:
    context = contexts(12)
    script = np.broadcast_to([RIGHT] * STEPS + [LEFT] * STEPS, (12, 2 * STEPS))
    return Walks(context, drive(Simulator(), context, script), np.arange(12), RIGHT, LEFT, 12)


def walked(driven: Driven, tokenized: np.ndarray | None = None) -> dict[str, Any]:
    true = walks()
    return compare_walks(true, walk_with(driven, true, codes()), tokenized, NAMES)


def test_a_perfect_simulator_comes_back_as_far_as_the_true_game() -> None:
    found = walked(Simulator())
    assert found["true_end_mse"] > 0, "the dot goes on falling"
    assert found["ratio"] == pytest.approx(1.0)
    assert found["turn_skill"] == pytest.approx(1.0)
    assert found["comes_back"] is True
    assert "The picture comes back" in walk_text({"not_run": None} | found)


def test_a_model_that_stands_still_does_not_come_back_for_it_never_went() -> None:
    found = walked(Deaf())
    assert found["ratio"] == pytest.approx(1.0)
    assert found["turn_skill"] < 0.5
    true = walks()
    still = np.broadcast_to(true.context[:, -1:], true.frames.shape)
    frozen = compare_walks(true, still, None, NAMES)
    assert frozen["end_mse"] == 0
    assert frozen["turn_skill"] == 0
    assert frozen["comes_back"] is False


class OneWay(Simulator):
    """Does not go left."""

    def after(self, place: int, time: int, code: int) -> tuple[int, int]:
        return super().after(place, time, 0 if code == LEFT else code)


def test_a_model_that_cannot_go_back_does_not_come_back() -> None:
    found = walked(OneWay())
    assert found["ratio"] > 1.5
    assert found["turn_skill"] == pytest.approx(1.0)
    assert found["comes_back"] is False


def test_where_the_true_picture_comes_back_exactly_the_tokenizer_is_the_measure() -> None:
    true = walks()
    start = true.context[:, -1]
    exact = Walks(true.context, true.frames.copy(), true.episodes, RIGHT, LEFT, 12)
    exact.frames[:, -1] = start
    blurred = (start.astype(int) + 4).clip(0, 255).astype(np.uint8)
    generated = exact.frames.copy()
    generated[:, -1] = blurred
    found = compare_walks(exact, generated, blurred, NAMES)
    assert found["ratio"] is None
    assert found["comes_back"] is True
    generated[:, -1] = (start.astype(int) + 12).clip(0, 255).astype(np.uint8)
    assert compare_walks(exact, generated, blurred, NAMES)["comes_back"] is False


def test_few_episodes_are_shown_and_not_judged() -> None:
    true = walks()
    few = Walks(true.context[:3], true.frames[:3], np.arange(3), RIGHT, LEFT, 12)
    found = compare_walks(few, few.frames, None, NAMES)
    assert found["comes_back"] is None
    assert "Too few walks to judge (3 in 3 episodes)" in walk_text({"not_run": None} | found)


def test_the_code_of_an_action_is_the_one_that_occurs_with_it() -> None:
    found = codes((0, 3, 1))
    assert found.codes.tolist() == [0, 3, 1]
    assert [found.is_own(action) for action in range(3)] == [True, True, True]
    assert found.share(1) == pytest.approx(0.9)
    assert 0.6 < found.information <= 1


def test_a_code_that_says_nothing_belongs_to_no_action() -> None:
    rng = np.random.default_rng(0)
    found = action_codes(rng.integers(0, 4, 4000), rng.integers(0, 3, 4000), NAMES, 4)
    assert not any(found.is_own(action) for action in range(3))
    assert found.information < 0.01


def test_two_actions_with_one_code_cannot_be_walked() -> None:
    problem = require_codes(codes((0, 1, 1)), walks())
    assert problem is not None
    assert "right and left have the same code 1" in problem
    assert require_codes(codes(), walks()) is None
