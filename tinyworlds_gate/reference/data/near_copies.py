"""Find clips that are near copies of known frames, as a sequence of pictures (docs/gate.md, near copies).

A clip is compared by its pictures: frames that differ from the picture before, so that a still scene, a menu or a black
screen says nothing. It is a copy where at least half of its pictures occur in the known frames, in order and close
together. What occurs in a quarter of the known episodes, such as a title screen, is common and no copy of one of them.

Axes: K clips, T frames of a clip, D numbers of a code, M known frames, P pictures of a clip.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.reference.data.frame_codes import PROJECTIONS, KnownFrames, code_distance

LEAST_MOVED, MOST_MOVED, MOVED_SHARE = 0.7, 2.0, 0.25
"""The next picture differs by a quarter of the clip's largest change from frame to frame, within these levels (root
mean square). The least is above the rounding of codes, the most above noise."""
NEAR, NEAR_SHARE = 4.0, 0.45
"""A frame is near a known one below this distance in levels, and below this share of the clip's usual change."""
ROUNDED, SAME_CODE = 0.43, 0.2
"""Levels by which rounding moves a distance of codes, and by which the codes of the same pixels differ at most."""
LEAST_PICTURES = 4
"""A clip with fewer pictures is still: nothing is said of it."""
COMMON_SHARE, COMMON_EPISODES = 0.25, 3
"""What occurs in this share of the known episodes, and in at least so many, is common."""
STRETCH = 4
"""A copy lies within so many times the clip's length of known frames."""
FEW_PICTURES = 8
"""A game with fewer different pictures repeats them all, so that nothing can be said of a clip."""
_QUERIES = 256


@dataclass(frozen=True)
class Copies:
    """For each clip, bool [K]: ``copied`` from some known episodes; ``common`` to many of them. Never both."""

    copied: np.ndarray
    common: np.ndarray


def find_copies(clips_KTD: np.ndarray, known: KnownFrames, *, own_episode: np.ndarray | None = None) -> Copies:
    """Compare the codes of clips with known frames.

    Args:
        clips_KTD: int16, from ``frame_codes``.
        known: the frames to look in.
        own_episode: ``[K]``, the episode of each clip in ``known``; then only episodes with a smaller number count, so
            that of several copies the first is none.
    """
    copied, common = np.zeros(len(clips_KTD), bool), np.zeros(len(clips_KTD), bool)
    many = max(COMMON_EPISODES, COMMON_SHARE * known.episodes)
    known_DM = np.ascontiguousarray(known.codes.T.astype(np.float32))
    norm_M = np.square(known_DM).sum(axis=0)
    stretch = STRETCH * clips_KTD.shape[1] * known.stride
    at_once = max(1, _QUERIES // clips_KTD.shape[1])
    for low in range(0, len(clips_KTD), at_once):
        pictures = [_pictures(clip) for clip in clips_KTD[low : low + at_once]]
        codes = [found for found, _ in pictures if len(found) >= LEAST_PICTURES]
        if not codes:
            continue
        query = np.concatenate(codes).astype(np.float32)
        distance = norm_M + np.square(query).sum(axis=1)[:, None] - 2.0 * (query @ known_DM)
        row = 0
        for number, (found, near) in enumerate(pictures, low):
            if len(found) < LEAST_PICTURES:
                continue
            picture, match = np.nonzero(distance[row : row + len(found)] <= PROJECTIONS * near**2)
            row += len(found)
            if own_episode is not None:
                earlier = known.episode[match] < own_episode[number]
                picture, match = picture[earlier], match[earlier]
            episodes = _episodes_with(picture, match, len(found), known, stretch, many)
            common[number], copied[number] = episodes >= many, 0 < episodes < many
    return Copies(copied, common)


def different_pictures(codes: np.ndarray, most: int = FEW_PICTURES) -> int:
    """Return how many different pictures these codes [M, D] have, counted up to ``most``."""
    rest, count = codes, 0
    while len(rest) and count < most:
        rest, count = rest[code_distance(rest, rest[0]) > LEAST_MOVED], count + 1
    return count


def _pictures(clip_TD: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the codes of a clip's pictures [P, D], and the distance below which a known frame is near to one."""
    most = float(code_distance(clip_TD[1:], clip_TD[:-1]).max(initial=0.0))
    moved, kept, changes = min(MOST_MOVED, max(LEAST_MOVED, MOVED_SHARE * most)), [0], []
    for frame in range(1, len(clip_TD)):
        change = float(code_distance(clip_TD[frame], clip_TD[kept[-1]]))
        if change > moved:
            kept.append(frame)
            changes.append(change)
    near = NEAR_SHARE * float(np.median(changes)) - ROUNDED if changes else 0.0
    return clip_TD[kept], min(NEAR, max(SAME_CODE, near))


def _episodes_with(
    picture: np.ndarray, match: np.ndarray, pictures: int, known: KnownFrames, stretch: int, enough: float
) -> int:
    """Return in how many known episodes a clip occurs, counted up to ``enough``.

    Args:
        picture, match: pairs of a picture of the clip and a known frame near to it.
        pictures: of the clip.
        stretch: of the file in which the clip must occur.
    """
    least = -(-pictures // 2)
    found: set[int] = set()
    for offset in (0, stretch // 2):
        place = (known.frame[match] + offset) // stretch
        pair = np.unique(np.stack([place, picture]), axis=1)[0]
        places, counts = np.unique(pair, return_counts=True)
        for one in places[counts >= least]:
            inside = place == one
            first = int(known.episode[match[inside][0]])
            if first not in found and _in_order(picture[inside], match[inside]) >= least:
                found.add(first)
                if len(found) >= enough:
                    return len(found)
    return len(found)


def _in_order(picture: np.ndarray, match: np.ndarray) -> int:
    """Return the length of the longest chain of pairs in which both numbers grow."""
    ends: list[int] = []
    for number in match[np.lexsort((-match, picture))].tolist():
        at = bisect_left(ends, number)
        ends[at : at + 1] = [number]
    return len(ends)
