"""How error rates are measured, on made-up seeds whose spread is known.

pytest tests/unit/compare/test_rates.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.compare.cards import made_card
from tinyworlds_gate.compare import rates
from tinyworlds_gate.compare.error_rates import published_errors
from tinyworlds_gate.compare.rates_picture import draw_rates
from tinyworlds_gate.gate.scorecard import Scorecard


def seeds(count: int, spread: float, clips: int = 120) -> list[Scorecard]:
    factors = np.exp(np.random.default_rng(5).normal(0, spread, count))
    return [made_card(one, factor=float(f), clips=clips, episodes=24) for one, f in enumerate(factors)]


def sides(cards: list[Scorecard]) -> list[rates.Side]:
    return rates._sides(cards, cards)


def test_the_spread_that_stays_is_told_from_that_of_the_clips() -> None:
    found = rates.measured_spread(*[sides(seeds(40, 0.15))] * 2)["error"]
    assert found["deviation"] == pytest.approx(0.15, abs=0.04)
    assert found["with_clips"] > found["deviation"]
    assert rates.measured_spread(*[sides(seeds(40, 0.0))] * 2)["error"]["deviation"] < 0.01


def test_a_drawn_side_has_the_clips_of_the_drawn_episodes() -> None:
    one = sides(seeds(2, 0.1))[0]
    drawn = rates.joined([one, one], np.array([0, 0, 3]))
    assert drawn.sums["error"].shape == (2, 3)
    assert drawn.sums["clips"][0].tolist() == [5, 5, 5]
    assert drawn.sums["error"][0, 0] == drawn.sums["error"][1, 1]
    assert rates.scaled(drawn, 2.0).sums["error"].sum() == pytest.approx(2 * drawn.sums["error"].sum())


def test_pairs_of_equal_seeds_are_rarely_told_apart_by_their_errors_alone() -> None:
    errors = np.exp(np.random.default_rng(0).normal(-4.8, 0.1, 30))
    found = rates.published_pairs(errors.tolist())
    assert found["pairs"] == 435
    assert found["worse"] + found["better"] <= 0.05 * 435
    assert rates.published_pairs([0.01, 0.0101, 0.0099, 0.01, 0.03, 0.0101])["worse"] > 0


def test_the_published_table_is_read_by_seed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# X\n\n| seed | MSE |\n| --- | --- |\n| 0 | 0.0083 (0.1 to 0.2) |\n| 1 | 0.01 (0 to 1) |\n\n| 9 | 9 (\n"
    )
    assert published_errors(page) == [0.0083, 0.01]


def test_the_whole_measurement_finds_what_was_planted_and_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SIZES": (60,), "FACTORS": (1.0, 3.0), "DRAWS": 1, "TRIALS": 20, "SEEDS_A_SIDE": (1,)}.items():
        monkeypatch.setattr(rates, name, value)
    cards = seeds(4, 0.03)
    collapsed = [made_card(seed, control=1.0, clips=120, episodes=24) for seed in range(4)]
    found = rates.measure_rates(cards, collapsed)
    rows = {(one["question"], one["factor"]): one for one in found["planted_error"]}
    assert rows["models", 3.0]["worse"] == rows["models", 3.0]["trials"] == 6
    assert rows["recipes", 3.0]["worse"] == 6
    assert rows["models", 1.0]["worse"] + rows["recipes", 1.0]["worse"] <= 1
    assert found["equal_recipes_once"]["recipes"] == {"worse": 0, "better": 0}
    assert all(one["worse"] == one["trials"] for one in found["collapsed_code"] if one["question"] == "models")
    assert all(one["worse"] > 0.9 * one["trials"] for one in found["lost_kind"] if one["lost"])
    draw_rates(found, tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
