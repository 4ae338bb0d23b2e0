"""Deterministic Crafter equals stock Crafter where that is deterministic, and is repeatable elsewhere."""

from __future__ import annotations

import crafter
import numpy as np
import pytest
from opensimplex import OpenSimplex

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data import crafter_noise, crafter_world
from tinyworlds_gate.reference.data.crafter_noise import FastNoise
from tinyworlds_gate.reference.data.crafter_world import DeterministicCrafter, play_episode, world_seed


class StockInDaylight(crafter.Env):
    """Stock Crafter in permanent daylight."""

    def _update_time(self) -> None:
        self._world.daylight = 1.0


def test_the_fast_noise_equals_the_stock_noise_bit_for_bit() -> None:
    stock, fast = OpenSimplex(seed=12345), FastNoise(seed=12345)
    points = np.random.default_rng(0).uniform(-40, 40, (3000, 3)).tolist()
    points += [[x / size, y / size, z] for x in range(8) for y in range(8) for z in range(9) for size in (3, 5, 8, 15)]
    assert [fast.noise3(*point) for point in points] == [float(stock.noise3(*point)) for point in points]


def test_the_points_that_every_world_reads_have_the_stock_noise_bit_for_bit() -> None:
    known = list(crafter_noise._terms().number_of)[::29]
    assert len(known) > 1500
    for seed in (1, 2**31 - 2):
        stock, fast = OpenSimplex(seed=seed), FastNoise(seed=seed)
        assert [fast.noise3(*point) for point in known] == [float(stock.noise3(*point)) for point in known]


def test_a_world_reads_no_point_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crafter_noise, "_noise3", lambda *_: pytest.fail("a point was computed by itself"))
    DeterministicCrafter(7, 18).reset()


def test_an_episode_is_the_same_whatever_was_played_before_it() -> None:
    first = play_episode(2, 0, 20, 18)
    play_episode(2, 1, 20, 18)
    crafter_world._environment.cache_clear()
    again = play_episode(2, 0, 20, 18)
    for name in ("frames", "actions", "player_position", "objects"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    play_episode(2, 1, 20, 18)
    assert np.array_equal(play_episode(2, 0, 20, 18).frames, first.frames)


@pytest.mark.parametrize("seed", [3, 49_999])
def test_a_world_equals_the_world_of_stock_crafter(seed: int) -> None:
    ours, stock = DeterministicCrafter(seed, 72), StockInDaylight(size=(72, 72), length=None, seed=seed)
    np.testing.assert_array_equal(ours.reset(), stock.reset())
    np.testing.assert_array_equal(ours._world._mat_map, stock._world._mat_map)
    np.testing.assert_array_equal(ours._world._obj_map, stock._world._obj_map)
    assert ours._world.random.randint(2**31) == stock._world.random.randint(2**31)


@pytest.mark.parametrize("frame_size", [18, 50, 72, 128])
def test_frames_are_drawn_as_stock_crafter_draws_them(frame_size: int) -> None:
    env = DeterministicCrafter(3, frame_size)
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(60):
        frame = env.step(int(rng.integers(0, 6)))[0]
        np.testing.assert_array_equal(frame, crafter.Env.render(env))
    assert frame.shape == (frame_size, frame_size, 3)


def test_frames_at_the_worlds_edge_are_drawn_as_stock_crafter_draws_them() -> None:
    env = DeterministicCrafter(3, 36)
    env.reset()
    for corner in [(0, 0), (63, 0), (0, 63), (63, 63), (2, 40)]:
        env._world.move(env._player, corner)
        np.testing.assert_array_equal(env.render(), crafter.Env.render(env))


def _creatures_after_balancing(env: crafter.Env, backwards: bool) -> list[tuple[str, int, int]]:
    env.reset()
    for _ in range(200):
        for chunk, objs in env._world.chunks.items():
            by_index = sorted(objs, key=lambda obj: int(env._world._obj_map[tuple(obj.pos)]), reverse=backwards)
            env._balance_chunk(chunk, by_index)
    return [(type(obj).__name__, int(obj.pos[0]), int(obj.pos[1])) for obj in env._world.objects]


def test_the_order_in_which_a_set_lists_creatures_has_no_effect_as_it_has_in_stock_crafter() -> None:
    def ours() -> crafter.Env:
        return DeterministicCrafter(3, 18)

    def stock() -> crafter.Env:
        return StockInDaylight(size=(18, 18), length=None, seed=3)

    assert _creatures_after_balancing(ours(), False) == _creatures_after_balancing(ours(), True)
    assert _creatures_after_balancing(stock(), False) != _creatures_after_balancing(stock(), True)


def test_actions_lead_from_their_frame_to_the_next_one() -> None:
    episode = play_episode(seed=0, episode=0, length=120, frame_size=18)
    moves = np.diff(episode.player_position.astype(int), axis=0)
    offsets = {1: (-1, 0), 2: (1, 0), 3: (0, -1), 4: (0, 1)}
    moved = np.flatnonzero(np.abs(moves).sum(axis=1))
    assert len(moved) > 30
    assert all(tuple(moves[t]) == offsets[int(episode.actions[t])] for t in moved)


def test_the_policy_repeats_and_draws_with_the_stated_probabilities() -> None:
    actions = crafter_world.policy_actions(np.random.default_rng(0))
    drawn = np.array([next(actions) for _ in range(40_000)])
    shares = np.bincount(drawn, minlength=6) / len(drawn)
    np.testing.assert_allclose(shares, [0.04, 0.21, 0.21, 0.21, 0.21, 0.12], atol=0.015)
    repeats = 0.6 + 0.4 * (4 * 0.21**2 + 0.12**2 + 0.04**2)
    assert np.mean(drawn[1:] == drawn[:-1]) == pytest.approx(repeats, abs=0.01)


def test_the_player_of_an_episode_does_not_starve(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 25 to 35 steps without food or drink stock Crafter takes one away, and after all nine of them health."""
    inventories: list[dict[str, int]] = []
    step = DeterministicCrafter.step

    def noted(env: DeterministicCrafter, action: int) -> object:
        seen = step(env, action)
        inventories.append(dict(env._player.inventory))
        return seen

    monkeypatch.setattr(DeterministicCrafter, "step", noted)
    play_episode(seed=0, episode=0, length=120, frame_size=18)
    assert len(inventories) == 119
    for need in ("food", "drink", "energy"):
        assert min(one[need] for one in inventories) >= 8


def test_daylight_stays() -> None:
    env = DeterministicCrafter(3, 18)
    env.reset()
    for _ in range(40):
        env.step(0)
        assert env._world.daylight == 1.0


def test_lava_ends_an_episode_early() -> None:
    episode = play_episode(seed=43, episode=0, length=80, frame_size=18)
    assert len(episode.frames) == 21
    assert len(episode.frames) == len(episode.actions) == len(episode.player_position)


def test_an_episode_is_the_same_each_time_it_is_played() -> None:
    first, second = (play_episode(seed=5, episode=2, length=40, frame_size=27) for _ in range(2))
    np.testing.assert_array_equal(first.frames, second.frames)
    np.testing.assert_array_equal(first.actions, second.actions)


def test_training_worlds_stay_below_the_evaluation_worlds_and_differ_within_a_seed() -> None:
    worlds = [world_seed(49_999, episode) for episode in range(50_000)]
    assert max(worlds) < 50_000
    assert len(set(worlds)) == 50_000


@pytest.mark.parametrize("seed", [-1, 50_000, 2**31])
def test_a_seed_of_the_evaluation_worlds_is_refused(seed: int) -> None:
    with pytest.raises(DataError, match=f"data seed {seed} is not allowed: training seeds run from 0 to 49999"):
        world_seed(seed, 0)


def test_a_frame_too_small_to_draw_is_refused() -> None:
    with pytest.raises(DataError, match="frame size 17 px is too small for Crafter: at least 18 px are needed"):
        DeterministicCrafter(0, 17)


def test_objects_are_where_the_frame_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cows in another texture change the tiles that the table names as cows, and no other."""
    env, unit, cows = DeterministicCrafter(5, 72), 8, 0
    env.reset()
    for _ in range(40):
        env.step(crafter_world.RIGHT)
        seen, frame = env.objects_in_view(), env.render()
        assert ("player", 4.5 * unit, 3.5 * unit) in seen
        with monkeypatch.context() as patch:
            patch.setattr(crafter.objects.Cow, "texture", "zombie")
            changed = np.argwhere((env.render() != frame).any(axis=-1))
        tiles = {("cow", (x // unit + 0.5) * unit, (y // unit + 0.5) * unit) for y, x in changed}
        assert tiles == {one for one in seen if one[0] == "cow"}
        cows += len(tiles)
    assert cows
