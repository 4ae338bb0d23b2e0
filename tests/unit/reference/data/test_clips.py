"""Splits and clips: training never draws held-out frames, and the sampler resumes exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.data_files import frame_numbers, frames_data, numbered_frames, write_h5
from tests.helpers.shared_files import SHARED, shared_is_required
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.clips import ClipSampler, clip_starts, copy_last_mse_by_step, gather_clips
from tinyworlds_gate.reference.data.frames_file import FramesData, load_frames
from tinyworlds_gate.reference.data.game_dataset import GAMES, make_game
from tinyworlds_gate.reference.data.split import split_episodes

EVAL_SET = SHARED / "eval" / "crafter_128.h5"


def _frames_of_every_clip(data: FramesData, length: int, episodes: tuple[int, ...]) -> set[int]:
    return set((clip_starts(data, length, episodes)[:, None] + np.arange(length)).ravel().tolist())


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("length", [1, 4, 16])
@pytest.mark.parametrize("seed", range(5))
def test_no_frame_of_any_held_out_clip_lies_in_any_training_clip(length: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(length, 40, 30)
    data = frames_data(np.repeat(np.arange(30), lengths))
    split = split_episodes(data.episode, 0.2, seed)
    train = _frames_of_every_clip(data, length, split.train)
    held_out = _frames_of_every_clip(data, length, split.held_out)
    assert train.isdisjoint(held_out)
    assert train | held_out == set(range(len(data.frames)))


@pytest.mark.requirement("G5")
def test_generated_training_data_shares_no_frame_index_with_its_held_out_clips(tmp_path: Path) -> None:
    path = tmp_path / "crafter_18px_frames.h5"
    make_game(path, GAMES["crafter"], num_frames=100, frame_size=18, episode_length=20, seed=1, workers=1)
    data = load_frames(path)
    split = split_episodes(data.episode, 0.4, 0)
    train = _frames_of_every_clip(data, 7, split.train)
    held_out = _frames_of_every_clip(data, 7, split.held_out)
    assert len(train) == 60
    assert len(held_out) == 40
    assert train.isdisjoint(held_out)


@pytest.mark.requirement("G5")
def test_a_strided_file_without_episodes_is_split_without_sharing_a_frame_too(tmp_path: Path) -> None:
    data = load_frames(write_h5(tmp_path / "zelda_frames.h5", frames=numbered_frames(2000)), stride=4)
    split = split_episodes(data.episode, 0.25, 3)
    train, held_out = (
        {number for start in clip_starts(data, 5, ids) for number in frame_numbers(data.frames[start : start + 5])}
        for ids in (split.train, split.held_out)
    )
    assert len(train) > len(held_out) > 0
    assert train.isdisjoint(held_out)


def test_a_split_is_the_same_each_time_and_another_with_another_seed() -> None:
    episode = np.repeat(np.arange(40), 3)
    assert split_episodes(episode, 0.25, 1) == split_episodes(episode, 0.25, 1)
    assert split_episodes(episode, 0.25, 1) != split_episodes(episode, 0.25, 2)
    assert len(split_episodes(episode, 0.25, 1).held_out) == 10


@pytest.mark.parametrize(("fraction", "held_out"), [(0.001, 1), (0.999, 3), (0.5, 2)])
def test_either_side_of_a_split_has_an_episode(fraction: float, held_out: int) -> None:
    split = split_episodes(np.array([5, 5, 7, 8, 9]), fraction, 0)
    assert len(split.held_out) == held_out
    assert sorted(split.train + split.held_out) == [5, 7, 8, 9]


def test_one_episode_cannot_be_split() -> None:
    with pytest.raises(DataError, match="the frames form 1 episode; at least 2 are needed to hold one out"):
        split_episodes(np.zeros(50), 0.1, 0)


@pytest.mark.parametrize("fraction", [0.0, 1.01, -0.1, float("nan")])
def test_a_held_out_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match=r"held_out_fraction: .* it must lie between 0 and 1"):
        split_episodes(np.arange(10), fraction, 0)


def test_clips_lie_in_one_contiguous_run_of_one_chosen_episode() -> None:
    data = frames_data([0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 2, 2])
    assert clip_starts(data, 3, (0,)).tolist() == [0, 7, 8]
    assert clip_starts(data, 3, (1, 2)).tolist() == [3, 4]
    assert clip_starts(data, 2, (0, 1, 2)).tolist() == [0, 1, 3, 4, 5, 7, 8, 9, 11]


def test_clips_longer_than_every_chosen_episode_are_refused() -> None:
    with pytest.raises(DataError, match="no clip of 4 frames fits: the longest chosen episode has 3 frames"):
        clip_starts(frames_data([0, 0, 0, 1, 1, 1, 1]), 4, (0,))
    with pytest.raises(DataError, match="a clip of 0 frames is not allowed"):
        clip_starts(frames_data([0, 0]), 0, (0,))


def test_gathered_clips_hold_the_frames_from_their_start_on() -> None:
    clips = gather_clips(numbered_frames(50), np.array([40, 3]), 4)
    assert clips.shape == (2, 4, 8, 8, 3)
    assert clips.dtype == np.uint8
    assert frame_numbers(clips).tolist() == [[40, 41, 42, 43], [3, 4, 5, 6]]


@pytest.mark.requirement("H7")
def test_a_sampler_restored_at_a_position_draws_what_an_unbroken_one_draws() -> None:
    starts = np.arange(0, 3000, 3)
    unbroken, first_half = ClipSampler(starts, 8, seed=5), ClipSampler(starts, 8, seed=5)
    expected = [unbroken.next() for _ in range(20)]
    drawn = [first_half.next() for _ in range(7)]
    second_half = ClipSampler(starts, 8, seed=5)
    second_half.load_state_dict(first_half.state_dict())
    drawn += [second_half.next() for _ in range(13)]
    np.testing.assert_array_equal(drawn, expected)
    assert second_half.position == 20


def test_ranks_never_see_the_same_clip_in_one_draw_and_together_draw_what_one_rank_would() -> None:
    starts = np.arange(100) * 2
    ranks = [ClipSampler(starts, 16, world_size=3, rank=rank, seed=1) for rank in range(3)]
    alone = ClipSampler(starts, 48, seed=1)
    for _ in range(10):
        drawn = np.concatenate([sampler.next() for sampler in ranks])
        assert len(set(drawn.tolist())) == 48
        assert set(drawn.tolist()) == set(alone.next().tolist())


def test_every_clip_is_drawn_about_equally_often_and_draws_differ() -> None:
    sampler = ClipSampler(np.arange(50), 10, seed=0)
    draws = [sampler.next() for _ in range(500)]
    counts = np.bincount(np.concatenate(draws), minlength=50)
    assert 60 < counts.min() <= counts.max() < 140
    assert not np.array_equal(draws[0], draws[1])


def test_a_draw_larger_than_the_clips_goes_through_all_of_them_in_rounds() -> None:
    drawn = ClipSampler(np.array([10, 20, 30]), 7, seed=0).next()
    assert drawn.shape == (7,)
    assert np.unique(drawn, return_counts=True)[1].tolist() in ([2, 2, 3], [2, 3, 2], [3, 2, 2])


def test_a_position_of_another_seed_or_of_other_clips_is_refused() -> None:
    state = ClipSampler(np.arange(10), 2, seed=1).state_dict()
    with pytest.raises(DataError, match="drew its clips with seed 1, this run uses 2"):
        ClipSampler(np.arange(10), 2, seed=2).load_state_dict(state)
    with pytest.raises(DataError, match=r"training clips are not those of the checkpoint \(11 clips now\)"):
        ClipSampler(np.arange(11), 2, seed=1).load_state_dict(state)


@pytest.mark.parametrize(
    ("batch_size", "world_size", "rank", "clips", "message"),
    [
        (0, 1, 0, 5, "batch_size_per_gpu: 0 is not allowed"),
        (1, 2, 2, 5, "rank 2 of 2 is not allowed; ranks run from 0 to 1"),
        (1, 1, 0, 0, "there is no clip to draw from"),
    ],
)
def test_a_sampler_that_cannot_draw_is_refused(
    batch_size: int, world_size: int, rank: int, clips: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ClipSampler(np.arange(clips), batch_size, world_size, rank)


def test_copying_the_last_frame_is_measured_by_step_on_zero_to_one() -> None:
    frames = np.zeros((10, 4, 4, 3), np.uint8)
    frames[:] = (np.arange(10) * 10)[:, None, None, None]
    data = FramesData(Path("made_up.h5"), frames, np.zeros(10, int), None, None, 1, True)
    errors = copy_last_mse_by_step(data, np.array([0, 3]), context=2, steps=3)
    np.testing.assert_allclose(errors, [(10 * step / 255) ** 2 for step in (1, 2, 3)])
    with pytest.raises(DataError, match="there is no clip to measure"):
        copy_last_mse_by_step(data, np.array([], int), context=2, steps=3)


@pytest.mark.skipif(
    not EVAL_SET.exists() and not shared_is_required(),
    reason="the fixed evaluation set (../shared/eval) is not here",
)
def test_copying_the_last_frame_scores_the_published_number_on_the_fixed_evaluation_set() -> None:
    import h5py

    data = load_frames(EVAL_SET)
    with h5py.File(EVAL_SET) as file:
        starts = file["clip_starts"][:]
    assert set(starts.tolist()) <= set(clip_starts(data, 15, np.unique(data.episode)).tolist())
    errors = copy_last_mse_by_step(data, starts, context=3, steps=12)
    assert np.mean(errors) == pytest.approx(0.0303, abs=0.00005)
