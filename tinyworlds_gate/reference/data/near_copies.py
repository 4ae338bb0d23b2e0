"""Find clips that are near copies of known frames: a course of pictures that both show (docs/gate.md, training frames).

A clip is compared by its pictures: frames that differ from the picture before, so that a still scene, a menu or a black
screen says nothing. In a game of few states every single picture occurs again. Compared is therefore the course: how
many pictures of the clip occur in the known frames at one offset and one speed. How much independent episodes of a game
have in common by chance is measured between the known episodes.

Axes: K clips, T frames of a clip, D numbers of a code, M known frames, P pictures of a clip, N positions in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tinyworlds_gate.reference.data.frame_codes import PROJECTIONS, KnownFrames, code_distance

LEAST_MOVED, MOST_MOVED, MOVED_SHARE = 0.7, 2.0, 0.25
"""The next picture differs by a quarter of the clip's largest change from frame to frame, within these levels (root
mean square). The least is above the rounding of codes, the most above noise."""
NEAR, NEAR_SHARE = 6.0, 0.6
"""A frame is near a known one below this distance in levels, and below this share of the clip's usual change."""
ROUNDED, SAME_CODE = 0.3, 0.2
"""Levels by which rounding moves a distance of codes, and by which the codes of the same pixels differ at most."""
LEAST_PICTURES = 4
"""A clip with fewer pictures is still: nothing is said of it."""
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""A clip is a copy if this share of its pictures lies in one course: the least that is rare by chance, or all."""
RARE = 0.1
"""Share of the clips of independent episodes that may have so much in common."""
WHOLE = 0.75
"""Chance wears off along a course. Where so many of the clips that have half in common have all of it in common, the
known episodes are copies of each other."""
MOST_COPIES, CHANCE_WEIGHT = 0.05, 3.0
"""Chance does not explain more copies than this share of the clips, and so many times the share of the clips of
independent episodes that have one step of ``SHARES`` less in common, and two standard errors of that over episodes."""
MUCH = 0.25
"""Copies in a single episode are left out; only more than this share of the clips, or copies in two, refuse a draw."""
FEW_PICTURES = 8
"""A game with fewer different pictures repeats them all, so that nothing can be said of a clip."""
SPEEDS = tuple(map(Fraction, ("1/4", "1/3", "1/2", "2/3", "4/5", "1", "5/4", "3/2", "2", "5/2", "3", "4")))
"""Known frames for each frame of a clip; the same times the stride of the training is looked at too."""
_SAMPLED = 128
_DISTANCES = 2**24


@dataclass(frozen=True)
class Chance:
    """What clips of independent episodes have in common: their ``shared_courses``, float [n]."""

    shares: np.ndarray

    def rate(self, share: float) -> float:
        """Return how many of the clips have at least this share in common; 0 without clips."""
        return float((self.shares >= share).mean()) if len(self.shares) else 0.0

    @property
    def least(self) -> float:
        """The share from which on a clip is a copy."""
        if self.rate(SHARES[-1]) >= WHOLE * self.rate(SHARES[0]):
            return SHARES[0]
        return next((one for one in SHARES if self.rate(one) <= RARE), SHARES[-1])

    def most(self, share: float, episodes: int) -> float:
        """Return the share of clips, of so many episodes, up to which chance explains that they share so much."""
        rate = self.rate(SHARES[max(0, SHARES.index(share) - 1)])
        return min(1.0, MOST_COPIES + CHANCE_WEIGHT * rate + 2.0 * (rate * (1.0 - rate) / episodes) ** 0.5)

    def unexplained(self, courses: np.ndarray, episode: np.ndarray) -> float | None:
        """Return a share that more clips have in common than chance explains, or None; ``episode`` [K] of each clip."""
        for share in SHARES:
            copied, most = courses >= share, self.most(share, len(np.unique(episode)))
            if copied.mean() > max(most, MUCH if len(np.unique(episode[copied])) == 1 else 0.0):
                return share
        return None


def shared_courses(
    clips_KTD: np.ndarray, known: KnownFrames, own_episode: np.ndarray | None = None, *, earlier: bool = False
) -> np.ndarray:
    """Return for each clip the largest share of its pictures that occur in one course of known frames, float [K].

    Args:
        clips_KTD: int16, from ``frame_codes``.
        known: the frames to look in.
        own_episode: ``[K]``, the episode of each clip in ``known``, which is not looked at.
        earlier: look only at episodes with a smaller number, so that of several copies the first is none.
    """
    known_DM = np.ascontiguousarray(known.codes.T.astype(np.float32))
    norm_M = np.square(known_DM).sum(axis=0)
    length = clips_KTD.shape[1]
    speeds = sorted({*SPEEDS, *(one * known.stride for one in SPEEDS)})
    at_N = _time_line(known, int(speeds[-1] * length))
    shares = np.zeros(len(clips_KTD))
    at_once = max(1, _DISTANCES // (length * len(norm_M)))
    for low in range(0, len(clips_KTD), at_once):
        pictures = [_pictures(clip) for clip in clips_KTD[low : low + at_once]]
        query = np.concatenate([clips_KTD[low + one, kept] for one, (kept, _) in enumerate(pictures)]).astype(
            np.float32
        )
        distance = norm_M + np.square(query).sum(axis=1)[:, None] - 2.0 * (query @ known_DM)
        row = 0
        for number, (kept, near) in enumerate(pictures, low):
            near_PM = distance[row : row + len(kept)] <= PROJECTIONS * near**2
            row += len(kept)
            if len(kept) < LEAST_PICTURES:
                continue
            if own_episode is not None:
                own = own_episode[number]
                near_PM &= known.episode < own if earlier else known.episode != own
            shares[number] = _longest_course(near_PM, kept, at_N, speeds) / len(kept)
    return shares


def shared_by_chance(known: KnownFrames, length: int) -> Chance:
    """Compare up to 128 clips of ``length`` frames of known episodes with the other known episodes."""
    reach = known.stride * np.arange(length)
    first = np.append(0, np.flatnonzero(np.diff(known.episode)) + 1)
    last = np.append(first[1:], len(known.frame)) - 1
    starts = [
        np.arange(known.frame[low], known.frame[high] - reach[-1] + 1) for low, high in zip(first, last, strict=True)
    ]
    rng = np.random.Generator(np.random.Philox(key=0x636F7572))
    chosen = np.sort(rng.permutation(np.concatenate(starts))[:_SAMPLED])
    at = np.searchsorted(known.frame, chosen[:, None] + reach, side="right") - 1
    return Chance(shared_courses(known.codes[at], known, known.episode[at[:, 0]]))


def different_pictures(codes: np.ndarray, most: int = FEW_PICTURES) -> int:
    """Return how many different pictures these codes [M, D] have, counted up to ``most``."""
    rest, count = codes, 0
    while len(rest) and count < most:
        rest, count = rest[code_distance(rest, rest[0]) > LEAST_MOVED], count + 1
    return count


def _pictures(clip_TD: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the frames of a clip's pictures, int [P], and the distance below which a known frame is near to one."""
    most = float(code_distance(clip_TD[1:], clip_TD[:-1]).max(initial=0.0))
    moved, kept, changes = min(MOST_MOVED, max(LEAST_MOVED, MOVED_SHARE * most)), [0], []
    for frame in range(1, len(clip_TD)):
        change = float(code_distance(clip_TD[frame], clip_TD[kept[-1]]))
        if change > moved:
            kept.append(frame)
            changes.append(change)
    near = NEAR_SHARE * float(np.median(changes)) - ROUNDED if changes else 0.0
    return np.array(kept), min(NEAR, max(SAME_CODE, near))


def _time_line(known: KnownFrames, reach: int) -> np.ndarray:
    """Return which known frame is shown at each position, int [N]; stills and gaps are cut to ``reach`` positions."""
    at = np.cumsum(np.minimum(np.diff(known.frame, prepend=known.frame[:1]), reach))
    return np.searchsorted(at, np.arange(at[-1] + 1), side="right") - 1


def _longest_course(near_PM: np.ndarray, kept: np.ndarray, at_N: np.ndarray, speeds: Sequence[Fraction]) -> int:
    """Return the largest number of pictures near to known frames at one offset and one speed; 0 if less than half."""
    if near_PM.any(axis=1).sum() < SHARES[0] * len(kept):
        return 0
    margin = int(max(speeds) * int(kept[-1])) + 1
    near_PN = np.zeros((len(kept), len(at_N) + 2 * margin), np.min_scalar_type(len(kept)))
    near_PN[:, margin:-margin] = near_PM[:, at_N]
    loose_PN, best = near_PN.copy(), 0
    loose_PN[:, 1:] |= near_PN[:, :-1]
    for speed in speeds:
        source = near_PN if 1 in speed.as_integer_ratio() else loose_PN
        offsets = [int(speed * int(one)) for one in kept]
        width = source.shape[1] - offsets[-1]
        best = max(best, int(sum(row[low : low + width] for row, low in zip(source, offsets, strict=True)).max()))
    return best
