"""Whether things that differ from the ground by their fine texture alone are where the true frames have them.

The blur under which objects are sought makes one colour of stripes, checks and dither. So each place has two numbers
here: how much neighbouring pixels differ down and across. Judged are places whose colour and background stay.

Axes: N clips, C context frames, S generated frames, T = C + S or S frames, H x W pixels, h x w places, R things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.intervals import ratio_interval
from tinyworlds_gate.gate.measures.objects.background import middle_frame
from tinyworlds_gate.gate.measures.objects.cells import cell_size, norm
from tinyworlds_gate.gate.measures.objects.rare import upper_end
from tinyworlds_gate.gate.measures.objects.regions import Regions, find_regions
from tinyworlds_gate.gate.measures.objects.scene import LARGEST_AREA

LEAST_SIDE = 2
"""Pixels of a place's side, at least."""
OTHER = 24.0
"""Levels by which the texture of a place differs from its usual one."""
NOISE = 6.0
"""Times the usual deviation of a place and those around it: what deviates in all frames is noise, no thing."""
COLOURED = 24.0
"""Levels (Euclidean over the colours) from which a place is seen by its colour and not judged here."""
LEAST_QUIET = 0.5
"""Share of the frames in which a place has its usual texture and colour."""
MOST_ENTRIES = 2
"""How often a place leaves its usual texture in a clip: water and fire do so more often, when nobody can know."""
MOST_COLOURED = 0.5
"""Share of the frame that has another colour than usual, above which the frame is not judged."""
LEAST_AREA = 8
"""Places that a thing covers."""
NEARER = 0.4
"""On the way from the usual texture (0) to the true one (1), where the generated one must be."""
LEAST_SHARP = 0.75
"""Share of the true frames' squared differences of neighbours that the generated ones have elsewhere. A blur of half a
pixel leaves less: it also wipes fine textures out, so that nothing can be said about them."""
LEAST_ROUGH = 1.0
"""Mean squared difference of neighbours (levels) from which on frames show how sharp they are."""
STRONGER = 1.2
"""Times its usual strength, at most, that a texture is still the same one; a weaker one is never another one."""
LEAST_STEPS = 5
"""Generated frames of a clip that show what is usual in them."""


@dataclass(frozen=True)
class Textures:
    """What the places of some frames look like, each together with its eight neighbours."""

    strength: np.ndarray
    """float32 [N, T, h, w, 2]: mean absolute difference of neighbouring pixels, down and across, in levels."""
    rough: np.ndarray
    """float32 [N, T, h, w]: their mean squared difference."""
    colour: np.ndarray
    """float32 [N, T, h, w, 3]."""


@dataclass(frozen=True)
class Unusual:
    """Where frames differ from what is usual at a place, the median over the frames of its clip."""

    usual: np.ndarray
    """float32 [N, 1, h, w, 2]: the usual strength."""
    far: np.ndarray
    """float32 [N, T, h, w]: how far the strength is from it, in levels."""
    threshold: np.ndarray
    """float32 [N, 1, h, w]: more is no noise."""
    coloured: np.ndarray
    """bool [N, T, h, w]: the colour differs."""

    @property
    def other(self) -> np.ndarray:
        """Where the texture is another one, bool [N, T, h, w]."""
        return self.far > self.threshold


def measure_textures(
    frames: tuple[np.ndarray, np.ndarray, np.ndarray], scrolls: np.ndarray, episodes: np.ndarray
) -> dict[str, Any] | None:
    """Return how many textured things are found, in how many frames there are none too many; None: all clips scroll.

    ``things`` and ``frames`` are rows of ``judged``, ``right``, ``episodes`` and ``high``, the upper end of the 95 %
    interval of the share that is right; None: nothing is judged. ``sharpness_by_step`` is what ``LEAST_SHARP`` limits.

    Args:
        frames: context, true and generated ones, uint8 [N, C, H, W, 3] and [N, S, H, W, 3].
        scrolls: bool [N]: the background of the clip moves, so that nothing is usual at a place.
        episodes: int [N].
    """
    if scrolls.all():
        return None
    context, true, generated = (one[~scrolls] for one in frames)
    episodes, (count, steps) = episodes[~scrolls], true.shape[:2]
    side = max(LEAST_SIDE, cell_size(*true.shape[2:4]))
    seen, made = _textures(np.concatenate([context, true], axis=1), side), _textures(generated, side)
    unusual = _unusual(seen)
    far, coloured, other = (one[:, -steps:] for one in (unusual.far, unusual.coloured, unusual.other))
    clear = _stays(unusual)[:, None] & (coloured.mean(axis=(2, 3), keepdims=True) <= MOST_COLOURED)
    clear = clear & ~_around_them(coloured)
    things = _things(other & clear)
    sharp = _sharpness(seen.rough[:, -steps:], made.rough, coloured | ~_around_them(other))
    scale = np.sqrt(np.maximum(sharp, LEAST_SHARP)).astype(np.float32)[:, None, None, None]
    found = _found(things, made.strength, scale * seen.strength[:, -steps:], scale * unusual.usual)
    clear &= (sharp >= LEAST_SHARP)[:, None, None]
    extra = _extra(made, scale * unusual.usual, clear & ~_around_them(far > OTHER / 2))
    clip, step = np.divmod(things.frame, steps)
    is_sure, all_frames = sharp[step] >= LEAST_SHARP, np.arange(count * steps)
    judged = clear.any(axis=(2, 3)).ravel()
    return {
        "things": _rate(found[is_sure], clip[is_sure], episodes),
        "frames": _rate(~np.isin(all_frames, extra.frame)[judged], all_frames[judged] // steps, episodes),
        "sharpness_by_step": [float(one) for one in sharp],
    }


def _rate(right: np.ndarray, clip: np.ndarray, episodes: np.ndarray) -> dict[str, Any]:
    """Return a row on things, or frames, of these clips that are right or not."""
    below = np.bincount(clip, minlength=len(episodes)).astype(float)
    above = np.bincount(clip, right, minlength=len(episodes))
    count, high = len(np.unique(episodes[below > 0])), None
    if count:
        high = upper_end(float(right.mean()) * count, count)
        by_episode = ratio_interval(above, below, episodes)[1] if above.any() else np.nan
        high = min(1.0, float(np.fmin(high, by_episode)))
    return {"judged": len(right), "right": int(right.sum()), "episodes": count, "high": high}


def _textures(frames: np.ndarray, side: int) -> Textures:
    parts = [_of_clip(clip, side) for clip in frames]
    return Textures(*(np.stack(one) for one in zip(*parts, strict=True)))


def _of_clip(frames: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return strength [T, h, w, 2], roughness [T, h, w] and colour [T, h, w, 3] of frames uint8 [T, H, W, 3]."""
    height, width = frames.shape[1:3]
    pad = ((0, 0), (0, -height % side), (0, -width % side), (0, 0))
    whole = np.pad(frames, pad, mode="edge") if height % side or width % side else frames
    strength, squares = [], []
    for axis, (one, other) in ((1, (whole[:, 1:], whole[:, :-1])), (2, (whole[:, :, 1:], whole[:, :, :-1]))):
        apart = np.maximum(one, other) - np.minimum(one, other)
        total = apart[..., 0].astype(np.float32) + apart[..., 1] + apart[..., 2]
        total = np.pad(total, [(0, int(number == axis)) for number in range(3)], mode="edge")
        strength.append(_sums(total, side) / np.float32(3 * side**2))
        squares.append(_sums(np.square(total), side) / np.float32(9 * side**2))
    colour = [_sums(whole[..., one].astype(np.float32), side) / np.float32(side**2) for one in range(3)]
    rough = _mean_of_nine((squares[0] + squares[1])[..., None])[..., 0]
    return _mean_of_nine(np.stack(strength, axis=-1)), rough, _mean_of_nine(np.stack(colour, axis=-1))


def _sums(table: np.ndarray, side: int) -> np.ndarray:
    """Return the sum of each place, [T, h, w], of a table [T, H, W]."""
    rows = table[:, ::side].copy()
    for row in range(1, side):
        rows += table[:, row::side]
    total: np.ndarray = rows[:, :, ::side].copy()
    for column in range(1, side):
        total += rows[:, :, column::side]
    return total


def _mean_of_nine(table: np.ndarray) -> np.ndarray:
    """Return the mean over 3 x 3 places, of a table [T, h, w, c]."""
    padded = np.pad(table, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    mean: np.ndarray = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / np.float32(9)
    return mean


def _usual(table: np.ndarray) -> np.ndarray:
    """Return the median over the frames of each clip, [N, 1, ...], of a table [N, T, ...]."""
    return np.stack([middle_frame(clip) for clip in table])[:, None]


def _unusual(seen: Textures) -> Unusual:
    usual = _usual(seen.strength)
    far = norm(seen.strength - usual)
    noise = _mean_of_nine(_usual(far)[:, 0, ..., None])[..., 0]
    threshold = np.maximum(OTHER, NOISE * noise)[:, None]
    return Unusual(usual, far, threshold, norm(seen.colour - _usual(seen.colour)) > COLOURED)


def _stays(unusual: Unusual) -> np.ndarray:
    """Return which places have a usual look that they seldom leave, bool [N, h, w]."""
    quiet = ((unusual.far <= OTHER) & ~unusual.coloured).mean(axis=1) >= LEAST_QUIET
    other = unusual.other
    entries = other[:, 0] + (other[:, 1:] & ~other[:, :-1]).sum(axis=1)
    stays: np.ndarray = quiet & (entries <= MOST_ENTRIES)
    return stays


def _around_them(mask: np.ndarray) -> np.ndarray:
    """Return a mask [..., h, w] with all places at most two away."""
    for _ in range(2):
        wide = mask.copy()
        wide[..., 1:, :] |= mask[..., :-1, :]
        wide[..., :-1, :] |= mask[..., 1:, :]
        mask = wide.copy()
        mask[..., 1:] |= wide[..., :-1]
        mask[..., :-1] |= wide[..., 1:]
    return mask


def _things(mask: np.ndarray) -> Regions:
    """Return the regions of a mask [N, S, h, w] that are neither tiny nor a large part of the frame."""
    regions = find_regions(mask.reshape(-1, *mask.shape[2:]))
    most = LARGEST_AREA * mask.shape[2] * mask.shape[3]
    return regions.only((regions.area >= LEAST_AREA) & (regions.area <= most))


def _sharpness(true: np.ndarray, made: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the share of the true roughness that the generated frames have where ``counts`` holds, by step [S].

    It is 0 where the true frames are too smooth to show it. What is rough in the generated frames alone adds nothing.
    """
    wanted, has = ((counts * one).sum(axis=(0, 2, 3)) for one in (true, np.minimum(true, made)))
    is_known = wanted >= LEAST_ROUGH * counts.sum(axis=(0, 2, 3))
    return np.where(is_known, has / np.maximum(wanted, 1e-9), 0.0)


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the scalar product over the two directions; much faster than a sum over the last axis."""
    product: np.ndarray = one[..., 0] * other[..., 0] + one[..., 1] * other[..., 1]
    return product


def _found(things: Regions, made: np.ndarray, true: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Return which things the generated frames show, a place beside theirs at most, bool [R].

    All three are strengths, [N, S, h, w, 2]; the last two are scaled as sharp as the generated ones.
    """
    best = np.zeros(len(things))
    if not len(things):
        return best >= NEARER
    height, width = made.shape[2:4]
    wanted = true - usual
    size = np.maximum(_product(wanted, wanted), 1e-6)
    around = np.pad(made, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    for down in range(3):
        for right in range(3):
            shown = around[:, :, down : down + height, right : right + width] - usual
            nearer = np.clip(_product(shown, wanted) / size, 0, 1).reshape(-1, height, width)
            best = np.maximum(best, things.total(nearer) / things.area)
    return best >= NEARER


def _extra(made: Textures, usual: np.ndarray, clear: np.ndarray) -> Regions:
    """Return things that come or go in generated frames where ``clear`` holds: the true texture is the usual one.

    A texture that is only weaker than the usual one, [N, S, h, w, 2], is none: models average textures.
    """
    if made.strength.shape[1] < LEAST_STEPS:
        return _things(np.zeros_like(clear))
    own = _unusual(made)
    share = _product(made.strength, usual) / np.maximum(_product(usual, usual), 1e-6)
    apart = norm(made.strength - np.clip(share, 0, STRONGER)[..., None] * usual)
    return _things(own.other & (apart > own.threshold) & clear & ~_around_them(own.coloured))
