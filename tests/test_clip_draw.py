"""The draw of held-out clips: seeded, spread over the episodes, without repetition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.clip_draw import clip_digest, draw_clips

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def starts_of(sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Admissible starts of episodes with these numbers of clips, and the episode of each."""
    episode = np.repeat(np.arange(len(sizes)) * 3 + 5, sizes)
    return np.arange(len(episode)) * 7 + 2, episode


def fair_shares(sizes: list[int], count: int) -> list[int]:
    """How many clips each episode gives when they take turns, fullest last: shares differ by one at most."""
    level = 0
    while sum(min(size, level + 1) for size in sizes) <= count and level < max(sizes):
        level += 1
    return [min(size, level) for size in sizes]


@given(sizes=SIZES, part=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
@pytest.mark.requirement("G5")
def test_clips_are_admissible_different_and_sorted_and_every_episode_gives_its_share(
    sizes: list[int], part: float, seed: int
) -> None:
    starts, episode = starts_of(sizes)
    count = round(part * len(starts))
    drawn = draw_clips(starts, episode, count, seed)
    assert drawn.dtype == np.int64
    assert len(drawn) == count
    assert (np.diff(drawn) > 0).all()
    assert set(drawn) <= set(starts)
    given_by = [int(np.isin(drawn, starts[episode == id]).sum()) for id in np.unique(episode)]
    for share, fair, size in zip(given_by, fair_shares(sizes, count), sizes, strict=True):
        assert fair <= share <= min(size, fair + 1)


@given(sizes=SIZES, seed=st.integers(0, 2**32 - 1))
def test_the_same_seed_draws_the_same_clips(sizes: list[int], seed: int) -> None:
    starts, episode = starts_of(sizes)
    count = (len(starts) + 1) // 2
    assert (draw_clips(starts, episode, count, seed) == draw_clips(starts, episode, count, seed)).all()


def test_seeds_differ_and_in_the_long_run_every_clip_is_drawn() -> None:
    starts, episode = starts_of([4, 4, 4])
    draws = {tuple(draw_clips(starts, episode, 3, seed).tolist()) for seed in range(100)}
    assert len(draws) > 30
    assert {start for draw in draws for start in draw} == set(starts.tolist())


def test_all_clips_can_be_asked_for_and_one_more_is_told() -> None:
    starts, episode = starts_of([2, 3])
    assert (draw_clips(starts, episode, 5, 0) == starts).all()
    with pytest.raises(DataError, match="clips=6: only 5 held-out clips of this length exist; ask for at most 5"):
        draw_clips(starts, episode, 6, 0)


def test_the_digest_changes_with_a_pixel_a_start_and_the_order() -> None:
    clips = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    starts = np.array([5, 9])
    changed = clips.copy()
    changed[1, 2, 3] ^= 1
    digests = {
        clip_digest(clips, starts),
        clip_digest(changed, starts),
        clip_digest(clips, np.array([5, 10])),
        clip_digest(clips[::-1], starts[::-1]),
    }
    assert len(digests) == 4
    assert clip_digest(clips.copy(), starts.astype(np.int32)) == clip_digest(clips, starts)
