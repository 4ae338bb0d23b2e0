"""The choice of clips, contexts and actions of a probe, part by part.

pytest tests/unit/gate/measures/test_probe_plan.py
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.probe_plan import (
    FOREIGN,
    PLAYED,
    PREDICTED,
    RANDOM,
    REPEATED,
    _differ,
    _followed,
    _freely_chosen,
    _spread,
    _whole_batches,
    checked_codes,
    foreign_pairs,
    plan_probe,
)
from tinyworlds_gate.gate.measures.raw import MeasuresError
from tinyworlds_gate.reference.rollout.generated_frames import NO_CODE, GeneratedFrames

CONTEXT, STEPS, ACTIONS = 2, 3, 4


def settings(**changes: Any) -> dict[str, Any]:
    fixed = {"generation_steps": STEPS, "prediction_horizon": 1, "memory": None, "batch_size": 4}
    return {**fixed, "seed": 11, "temperature": 0.0, **changes}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def contexts(clips: int) -> np.ndarray:
    """Return contexts that all differ."""
    frames = np.zeros((clips, CONTEXT, 2, 2, 3), np.uint8)
    for number in range(clips):
        frames[number, ..., 0], frames[number, ..., 1] = 3 * (number % 64), 3 * (number // 64)
    return frames


def written(clips: int = 3, **changes: Any) -> tuple[dict[str, Any], GeneratedFrames]:
    """Return measures and frames of rollouts whose steps follow 2, 2 and 2 codes (the context is the memory)."""
    codes = rng(1).integers(0, ACTIONS, (clips, STEPS, CONTEXT)).astype(np.int16)
    rows = [{"start": 10 * number, "latent_actions": codes[number].tolist()} for number in range(clips)]
    frames = np.zeros((clips, STEPS, 2, 2, 3), np.uint8)
    raw = {"clips": rows, "n_actions": ACTIONS, **changes}
    return raw, GeneratedFrames(frames, codes=codes)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("changes", "lengths"),
    [
        ({}, [2, 2, 2]),
        ({"memory": 4}, [2, 3, 4]),
        ({"memory": 3}, [2, 3, 3]),
        ({"prediction_horizon": 2}, [3, 3, 3]),
        ({"prediction_horizon": 2, "memory": 5}, [3, 5, 6]),
        ({"generation_steps": 1}, [2]),
    ],
)
def test_a_step_follows_the_transitions_in_its_memory_and_those_it_makes(
    changes: dict[str, Any], lengths: list[int]
) -> None:
    assert _followed(CONTEXT, settings(**changes)) == lengths


@pytest.mark.requirement("G5")
def test_clips_are_taken_by_episode_in_turn() -> None:
    episodes = np.array([5, 5, 5, 7, 7, 9])
    for seed in range(5):
        order = _spread(episodes, rng(seed))
        assert sorted(order.tolist()) == list(range(6))
        assert [sorted(episodes[part].tolist()) for part in (order[:3], order[3:5], order[5:])] == [
            [5, 7, 9],
            [5, 7],
            [5],
        ]
    assert _spread(episodes, rng(0)).tolist() != _spread(episodes, rng(1)).tolist()


@pytest.mark.requirement("G7")
def test_a_clip_gets_the_context_of_another_episode_that_differs() -> None:
    episodes = np.array([0, 0, 0, 1, 1, 2])
    pairs = foreign_pairs(contexts(6), episodes, rng())
    assert sorted(clip for clip, _ in pairs) == list(range(6))
    assert sorted(other for _, other in pairs) == list(range(6))
    assert all(episodes[clip] != episodes[other] for clip, other in pairs)
    assert foreign_pairs(contexts(3), np.zeros(3, int), rng()) == ()
    assert foreign_pairs(np.zeros((4, CONTEXT, 2, 2, 3), np.uint8), np.arange(4), rng()) == (), "the same contexts"
    many = foreign_pairs(np.tile(contexts(80), 1), np.arange(80), rng())
    assert len(many) == 64
    large = foreign_pairs(contexts(5), np.array([0, 0, 0, 0, 1]), rng())
    assert {frozenset(pair) & {4} for pair in large} == {frozenset({4})}, "one of each pair is of the other episode"


@pytest.mark.requirement("G7")
@pytest.mark.parametrize(("levels", "differs"), [(0, False), (2, False), (3, True), (255, True)])
def test_contexts_differ_from_three_levels_on(levels: int, differs: bool) -> None:
    one, other = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.uint8)
    other[1, 2, 3, 0] = levels
    assert _differ(one, other) is _differ(other, one) is differs


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("count", "batch", "sizes"), [(40, 8, {16}), (40, 7, {19, 21}), (6, 4, {6}), (16, 16, {16}), (33, 16, {16, 17})]
)
def test_of_sampled_rollouts_whole_batches_are_repeated(count: int, batch: int, sizes: set[int]) -> None:
    seen = set()
    for seed in range(30):
        rows = _whole_batches(count, batch, rng(seed))
        assert rows.tolist() == sorted(set(rows.tolist()))
        for number in set(rows // batch):
            assert set(range(number * batch, min(count, (number + 1) * batch))) <= set(rows.tolist())
        seen.add(len(rows))
    assert seen <= sizes
    assert max(seen) == max(sizes)


@pytest.mark.requirement("G5")
def test_codes_are_those_that_the_measures_state() -> None:
    raw, generated = written()
    assert generated.codes is not None
    assert checked_codes(raw, generated, CONTEXT, settings()) is generated.codes
    last_only = {
        **raw,
        "clips": [{**one, "latent_actions": [row[-1:] for row in one["latent_actions"]]} for one in raw["clips"]],
    }
    checked_codes(last_only, generated, CONTEXT, settings())
    raw["clips"][1]["latent_actions"][2] = [9, 9]
    followed = generated.codes[1, 2].tolist()
    said = f"clip at 10, step 3: the measures state the action codes [9, 9], but the step followed {followed}"
    with pytest.raises(MeasuresError, match=re.escape(said)):
        checked_codes(raw, generated, CONTEXT, settings())
    for stated in (0, 2):
        raw, generated = written()
        del raw["clips"][0]["latent_actions"][stated:]
        said = rf"clip at 0, step {stated + 1}: the measures state the action codes \[\]"
        with pytest.raises(MeasuresError, match=said):
            checked_codes(raw, generated, CONTEXT, settings())


@pytest.mark.requirement("G5")
def test_codes_are_there_in_range_and_nothing_follows_them() -> None:
    raw, generated = written()
    assert generated.codes is not None
    with pytest.raises(MeasuresError, match="left no action codes"):
        checked_codes(raw, GeneratedFrames(generated.predicted), CONTEXT, settings())
    with pytest.raises(MeasuresError, match=r"of shape \(3, 3, 2\) instead of \(3, 3, 3\)"):
        checked_codes(raw, generated, CONTEXT, settings(memory=3))
    for value in (-1, ACTIONS):
        broken = generated.codes.copy()
        broken[0, 1, 0] = value
        with pytest.raises(MeasuresError, match="the action codes of step 2 are not from 0 to 3"):
            checked_codes(raw, GeneratedFrames(generated.predicted, codes=broken), CONTEXT, settings())
    longer = np.concatenate([generated.codes, np.full((3, STEPS, 1), NO_CODE, np.int16)], axis=2)
    longer[:, 1:, 2] = 0
    rows = [
        {"start": 0, "latent_actions": [one[step, :length].tolist() for step, length in enumerate((2, 3, 3))]}
        for one in longer
    ]
    checked_codes(
        {**raw, "clips": rows}, GeneratedFrames(generated.predicted, codes=longer), CONTEXT, settings(memory=3)
    )
    longer[2, 0, 2] = 0
    with pytest.raises(MeasuresError, match="the action codes of step 1 are not from 0 to 3"):
        checked_codes(
            {**raw, "clips": rows}, GeneratedFrames(generated.predicted, codes=longer), CONTEXT, settings(memory=3)
        )


@pytest.mark.requirement("G5")
def test_freely_chosen_codes_replace_the_transitions_into_generated_frames_in_every_step_alike() -> None:
    """Of two context frames and three steps, transition 0 is the context's; 1, 2 and 3 lead into generated frames."""
    memory = settings(memory=4)
    codes = np.full((6, STEPS, 4), NO_CODE, np.int16)
    codes[:, 0, :2], codes[:, 1, :3], codes[:, 2, :4] = 1, 1, 1
    codes[::2, :, 1:][codes[::2, :, 1:] == 1] = 3
    chosen = _freely_chosen(codes, codes, ACTIONS, CONTEXT, memory, rng(3))
    assert (chosen[:, :, 0] == codes[:, :, 0]).all(), "the context's transition stays"
    assert ((chosen == NO_CODE) == (codes == NO_CODE)).all()
    np.testing.assert_array_equal(chosen[:, 1, 1], chosen[:, 0, 1])
    np.testing.assert_array_equal(chosen[:, 2, 1:3], chosen[:, 1, 1:3])
    assert set(chosen[:, 2, 1:].ravel().tolist()) == {1, 3}, "codes that are in use"
    assert (chosen[:, 2, 1:] != codes[:, 2, 1:]).any()
    window = _freely_chosen(codes[:, :, :2], codes[:, :, :2], ACTIONS, CONTEXT, settings(), rng(3))
    np.testing.assert_array_equal(window[:, 1, 0], window[:, 0, 1], "the window moves on by a frame")
    np.testing.assert_array_equal(window[:, 2, 0], window[:, 1, 1])


@pytest.mark.requirement("G5", "G7")
def test_a_plan_has_each_group_with_its_clips_codes_and_seed() -> None:
    raw, generated = written(90)
    assert generated.codes is not None
    context, episodes = contexts(90), np.arange(90) // 2
    plan = plan_probe(raw, generated, context, episodes, settings(batch_size=20), rng())
    assert (len(plan.clips), len(plan.foreign), len(plan.played)) == (20, 64, 16)
    assert plan.clips == tuple(sorted(set(plan.clips)))
    seeds = {name: group.seed for name, group in plan.groups.items()}
    assert seeds == {PREDICTED: 11, RANDOM: 11, REPEATED: 11 + 1_000_003, FOREIGN: 11, PLAYED: 11}
    for name in (PREDICTED, RANDOM, REPEATED):
        np.testing.assert_array_equal(plan.groups[name].rows, plan.clips)
        np.testing.assert_array_equal(plan.groups[name].context, context[list(plan.clips)])
    assert plan.groups[RANDOM].codes is None
    np.testing.assert_array_equal(plan.groups[REPEATED].codes, generated.codes[list(plan.clips)])
    clips, others = np.array(plan.foreign).T
    np.testing.assert_array_equal(plan.groups[FOREIGN].context, context[others])
    np.testing.assert_array_equal(plan.groups[FOREIGN].codes, generated.codes[clips])
    np.testing.assert_array_equal(plan.groups[PLAYED].context, context[list(plan.played)])
    assert len(set(episodes[list(plan.played)])) == 16
    sizes = {
        batch: len(plan_probe(raw, generated, context, episodes, settings(batch_size=batch), rng()).clips)
        for batch in (1, 16, 17, 64, 65, 500)
    }
    assert sizes == {1: 16, 16: 16, 17: 17, 64: 64, 65: 64, 500: 64}
    few = plan_probe(*written(5), contexts(5), np.arange(5), settings(), rng())
    assert few.clips == few.played == tuple(range(5))
    sampled = plan_probe(*written(5), contexts(5), np.zeros(5, int), settings(temperature=0.5), rng())
    assert set(sampled.groups) == {PREDICTED, RANDOM, PLAYED}
