"""The ranking of policies by stand-in models whose answer is known.

python -m pytest tests/unit/policies
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.long_games import GAME, LEFT, NAMES, RIGHT, Deaf, Live, Restless, Simulator, contexts, drawn
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.horizon.action_codes import ActionCodes, action_codes
from tinyworlds_gate.horizon.driven import Driven
from tinyworlds_gate.policies.in_game import Start, TrueReturns, play_from
from tinyworlds_gate.policies.measure import measure_driven
from tinyworlds_gate.policies.picture import draw_picture
from tinyworlds_gate.policies.ranking import rank_policies, reliability, spearman

STEPS, STARTS = 16, 8
EPISODES = np.arange(STARTS)


def codes() -> ActionCodes:
    actions = np.repeat([0, 1, 2], 40)
    return action_codes(actions, actions, NAMES, 4)


def starts() -> list[Start]:
    return [Start(one, (), drawn(8 + one % 8, 0)) for one in range(STARTS)]


def true_returns() -> TrueReturns:
    found = [
        [play_from(Live(), GAME, policy, one, lambda frame: frame, seed=0, steps=STEPS) for one in starts()]
        for policy in GAME.policies
    ]
    table = np.array(found)
    return TrueReturns(table[..., 0], table[..., 1])


def measured(driven: Driven) -> dict[str, Any]:
    own = contexts(STARTS)
    return measure_driven(driven, GAME, own, true_returns(), EPISODES, codes(), steps=STEPS, seed=0)


def test_a_perfect_simulator_ranks_the_policies_as_the_game_does() -> None:
    found = measured(Simulator())
    assert found["spearman"] == pytest.approx(1.0)
    assert found["spearman_interval"] == pytest.approx([1.0, 1.0])
    assert found["reliability"] == pytest.approx(1.0)
    assert found["reader"]["equal"] == 1.0
    returns = {row["policy"]: (row["game"], row["model"]) for row in found["policies"]}
    assert returns["right in 0 of 8 steps"] == (0.0, 0.0)
    assert returns["right in 3 of 8 steps"][0] == 6.0
    assert returns["away from the right wall"][0] < 0, "a policy that looks at the frames"
    assert all(game == model for game, model in returns.values())


def test_a_model_that_ignores_its_actions_gives_no_order() -> None:
    found = measured(Deaf())
    assert found["spearman"] == 0
    assert found["no_difference"] == "the model"
    assert "no order to compare" in found["sentences"][0]


def test_a_model_that_moves_at_random_ranks_them_by_chance() -> None:
    found = [measured(Restless(seed)) for seed in range(3)]
    values = [one["spearman"] for one in found]
    assert abs(np.mean(values)) < 0.5
    for one in found:
        low, high = one["spearman_interval"]
        assert low <= 0 <= high, one["spearman"]


def test_actions_become_the_codes_that_they_have_in_the_model() -> None:
    class Mirrored(Simulator):
        def after(self, place: int, time: int, code: int) -> tuple[int, int]:
            return super().after(place, time, {0: 0, 1: RIGHT, 2: LEFT}[code])

    assert measured(Mirrored())["spearman"] < 0
    actions = np.repeat([0, 1, 2], 40)
    other = action_codes(np.array([0, 2, 1])[actions], actions, NAMES, 4)
    own = contexts(STARTS)
    found = measure_driven(Mirrored(), GAME, own, true_returns(), EPISODES, other, steps=STEPS, seed=0)
    assert found["spearman"] == pytest.approx(1.0)


def test_another_picture_at_the_start_is_refused() -> None:
    wrong = Start(0, (2,), drawn(8, 0))
    with pytest.raises(DataError, match="shows another picture than the frames file"):
        play_from(Live(), GAME, "right in 0 of 8 steps", wrong, lambda frame: frame, seed=0, steps=2)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8),
        ([1, 1, 2, 3], [1, 2, 3, 3], 8 / 9),
        ([7, 7, 7], [1, 2, 3], 0.0),
    ],
)
def test_spearman(one: list[float], other: list[float], expected: float) -> None:
    assert spearman(np.array(one, float), np.array(other, float)) == pytest.approx(expected)


def test_the_interval_is_wide_for_few_noisy_policies_and_the_same_for_a_seed() -> None:
    rng = np.random.default_rng(0)
    game = np.arange(8)[:, None] + rng.normal(0, 4, (8, 12))
    model = np.arange(8)[:, None] + rng.normal(0, 12, (8, 12))
    found = rank_policies(model, game, np.arange(12), 0)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.spearman <= found.high
    assert found.high - found.low > 0.3
    assert found == rank_policies(model, game, np.arange(12), 0)
    assert rank_policies(model, game, np.zeros(12, int), 0).low is None


def test_noise_makes_the_true_ranking_unreliable() -> None:
    rng = np.random.default_rng(0)
    clear = np.arange(8)[:, None] + rng.normal(0, 0.1, (8, 12))
    noise = rng.normal(0, 1, (8, 12))
    assert (reliability(clear, np.arange(12), 0) or 0) > 0.99
    assert (reliability(noise, np.arange(12), 0) or 0) < 0.6
    assert reliability(clear, np.zeros(12, int), 0) is None


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw_picture(measured(Simulator()), tmp_path / "policies.png")
    with Image.open(tmp_path / "policies.png") as picture:
        assert picture.size[0] == 1200
