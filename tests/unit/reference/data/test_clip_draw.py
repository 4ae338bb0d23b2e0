"""The draw of held-out clips is seeded, spread over the episodes and without repetition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyworlds_gate.errors import DataError, TooFewClipsError
from tinyworlds_gate.names import ATTEMPTS, EVERYTHING, FINAL
from tinyworlds_gate.reference.data.split import clip_digest, draw_clips, episodes_of_draw, held_out_clips

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def starts_of(sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return admissible starts of episodes with these numbers of clips, and the episode of each start."""
    episode = np.repeat(np.arange(len(sizes)) * 3 + 5, sizes)
    return np.arange(len(episode)) * 7 + 2, episode


def fair_shares(sizes: list[int], count: int) -> list[int]:
    """Return how many clips each episode provides when episodes take turns (shares differ by at most one)."""
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


def test_all_clips_can_be_drawn_and_one_more_is_refused() -> None:
    starts, episode = starts_of([2, 3])
    assert (draw_clips(starts, episode, 5, 0) == starts).all()
    with pytest.raises(DataError, match="clips=6: only 5 held-out clips of this length exist; set clips to at most 5"):
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


@given(ids=st.sets(st.integers(0, 200), min_size=1), seed=st.integers(0, 2**32 - 1))
@pytest.mark.requirement("L8", "G5")
def test_the_two_draws_share_no_episode_and_leave_none_out(ids: set[int], seed: int) -> None:
    first, second = (set(episodes_of_draw(ids, draw, seed).tolist()) for draw in (ATTEMPTS, FINAL))
    assert not first & second
    assert first | second == ids == set(episodes_of_draw(ids, EVERYTHING, seed).tolist())
    assert len(first) - len(second) in (0, 1)
    assert set(episodes_of_draw(sorted(ids, reverse=True), ATTEMPTS, seed).tolist()) == first


def test_another_seed_halves_the_episodes_otherwise() -> None:
    halves = {tuple(episodes_of_draw(range(10), ATTEMPTS, seed).tolist()) for seed in range(20)}
    assert len(halves) > 15


EPISODE = np.arange(8).repeat(6)


def drawn(draw: int, count: int = 6, seed: int = 0, held_out: tuple[int, ...] = (0, 2, 5, 7)) -> set[int]:
    found = held_out_clips(Path("f.h5"), EPISODE, held_out, length=4, count=count, seed=seed, draw=draw)
    return set(found.tolist())


@pytest.mark.requirement("L8", "G5")
def test_clips_of_the_two_draws_share_no_frame_of_an_episode() -> None:
    first, second = drawn(ATTEMPTS), drawn(FINAL)
    assert len(first) == len(second) == 6
    assert not set(EPISODE[list(first)]) & set(EPISODE[list(second)])
    assert set(EPISODE[list(first | second)]) == {0, 2, 5, 7}
    assert all(EPISODE[start] == EPISODE[start + 3] for start in first | second)


def test_too_few_clips_of_a_draw_are_reported_with_how_many_there_are() -> None:
    with pytest.raises(
        TooFewClipsError,
        match=r"f\.h5: clips=7, but the 2 episodes that attempts measure, of 4 held out, can provide only 6 clips of 4 "
        r"frames; hold out more or longer episodes \(held_out_fraction in profile\.yaml\), or set clips in "
        r"inference.yaml to at most 6",
    ):
        drawn(ATTEMPTS, 7)
    with pytest.raises(TooFewClipsError, match="It needs 1 clips of 4 frames, but the 0 episodes reserved for it"):
        drawn(FINAL, 1, held_out=(3,))
    with pytest.raises(TooFewClipsError, match="the 1 episode held out can provide only 3 clips"):
        drawn(EVERYTHING, 4, held_out=(3,))
