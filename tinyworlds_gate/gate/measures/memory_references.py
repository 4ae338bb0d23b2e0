"""Two memory references for Crafter: what a viewer who knows the player's path and remembers every tile would predict.

No model is needed. Both know the ego-motion (`player_position`), keep every tile of the context where it lies in the
world, leave creatures frozen there and are given the player's own tile. They differ in tiles that were never seen:
*sharp* answers the median of the seen tiles, *hedged* half the nearest seen tile and half their mean. Neither is a
bound: beating one is no evidence of a leak, but they say how much of what can be known is known
(docs/gate.md).

Axes: B clips, T = context + S frames, H height, W width, C colours; tile maps are [rows, columns, U, U, C].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.errors import DataError

VIEW_TILES = 9
"""A Crafter frame is 9 by 9 units: 9 by 7 tiles of the world and, below them, two rows of the inventory."""

LOCAL_ROWS, LOCAL_COLUMNS = 7, 9
PLAYER_ROW, PLAYER_COLUMN = LOCAL_ROWS // 2, LOCAL_COLUMNS // 2
WORLD_TILES = 64
"""Side of Crafter's world; a path that spans more is no path of a player."""

EXPLAINED_SHARE = 0.5
"""Shifted by the player's steps, neighbouring frames may differ by this part of what they differ unshifted."""


@dataclass(frozen=True)
class MemoryErrors:
    """Mean squared errors ``[B, S]`` on frames in [0, 1], float64, of the two references."""

    sharp_BS: np.ndarray
    hedged_BS: np.ndarray


@dataclass(frozen=True)
class LocalView:
    """Where the world's tiles lie in a frame: ``unit`` pixels a tile, ``border`` pixels left and above."""

    unit: int
    border: int

    def tiles(self, frames_THWC: np.ndarray) -> np.ndarray:
        """The tiles ``[T, 7, 9, U, U, C]`` of frames."""
        part = frames_THWC[:, self._rows, self._columns]
        split = part.reshape(len(part), LOCAL_ROWS, self.unit, LOCAL_COLUMNS, self.unit, part.shape[-1])
        return split.transpose(0, 1, 3, 2, 4, 5)

    def draw(self, frame_HWC: np.ndarray, tiles: np.ndarray) -> np.ndarray:
        """A copy of the frame with these tiles ``[7, 9, U, U, C]`` in the place of its own."""
        drawn = frame_HWC.copy()
        joined = tiles.transpose(0, 2, 1, 3, 4)
        drawn[self._rows, self._columns] = joined.reshape(LOCAL_ROWS * self.unit, LOCAL_COLUMNS * self.unit, -1)
        return drawn

    @property
    def _rows(self) -> slice:
        return slice(self.border, self.border + LOCAL_ROWS * self.unit)

    @property
    def _columns(self) -> slice:
        return slice(self.border, self.border + LOCAL_COLUMNS * self.unit)


def local_view(height: int, width: int) -> LocalView:
    """The view of a Crafter frame of this size: whole pixels a unit, what is left over is a border on all sides.

    Raises:
        DataError: the frame is not square or smaller than its nine units.
    """
    if height != width or height < VIEW_TILES:
        raise DataError(
            f"frames of {height} x {width} px are no Crafter view; square ones of at least {VIEW_TILES} px are needed"
        )
    unit = height // VIEW_TILES
    return LocalView(unit, (height - VIEW_TILES * unit) // 2)


def memory_references(clips_BTHWC: np.ndarray, positions_BT2: np.ndarray, context: int) -> MemoryErrors:
    """Errors of both references on the frames after the context.

    Args:
        clips_BTHWC: uint8 frames of Crafter, context first.
        positions_BT2: the player's tile (x, y) in each of them.
        context: frames that are remembered.

    Raises:
        DataError: the frames are no Crafter view, or the positions do not explain how they move.
    """
    view = local_view(*clips_BTHWC.shape[2:4])
    positions = positions_BT2.astype(np.int64)
    _require_a_path(positions)
    _require_ego_motion(view, clips_BTHWC, positions)
    errors = [_clip_errors(view, clip, path, context) for clip, path in zip(clips_BTHWC, positions, strict=True)]
    return MemoryErrors(np.stack([sharp for sharp, _ in errors]), np.stack([hedged for _, hedged in errors]))


def _require_a_path(positions_BT2: np.ndarray) -> None:
    span = int((positions_BT2.max(axis=1) - positions_BT2.min(axis=1)).max())
    if span >= WORLD_TILES:
        raise DataError(
            f"player_position spans {span} tiles within a clip; Crafter's world has {WORLD_TILES}, so these are not "
            "the player's tiles"
        )


def _require_ego_motion(view: LocalView, clips_BTHWC: np.ndarray, positions_BT2: np.ndarray) -> None:
    """Where the player walks, the pixels must follow; otherwise the frames or the positions are something else."""
    shifted = unshifted = 0.0
    for clip, path in zip(clips_BTHWC, positions_BT2, strict=True):
        steps = np.diff(path, axis=0)
        for number in np.flatnonzero(np.abs(steps).sum(axis=1) == 1):
            before, after = pair = view.tiles(clip[number : number + 2]).astype(np.float32)
            pair[:, PLAYER_ROW, PLAYER_COLUMN] = np.nan  # the player stays in the middle of the view
            columns, rows = (int(step) for step in steps[number])
            old, new = before[_kept(rows)][:, _kept(columns)], after[_kept(-rows)][:, _kept(-columns)]
            shifted += float(np.nansum(np.square(old - new)))
            unshifted += float(np.nansum(np.square(before[_kept(-rows)][:, _kept(-columns)] - new)))
    if shifted > EXPLAINED_SHARE * unshifted:
        raise DataError(
            f"the frames do not move with player_position: shifted by the player's steps neighbouring frames differ "
            f"by {shifted:.3g} (squared, summed), unshifted by {unshifted:.3g}; at most {EXPLAINED_SHARE:.0%} of that "
            "is needed, so these are no daylight Crafter views of 9 x 7 tiles"
        )


def _kept(step: int) -> slice:
    """What stays in view of one axis when the view moves on by a tile, as indices before the move."""
    return slice(1, None) if step > 0 else slice(None, -1) if step < 0 else slice(None)


def _clip_errors(
    view: LocalView, clip_THWC: np.ndarray, path_T2: np.ndarray, context: int
) -> tuple[np.ndarray, np.ndarray]:
    """Errors ``[S]`` of the sharp and of the hedged reference on one clip."""
    frames = clip_THWC.astype(np.float32) / 255.0
    tiles = view.tiles(frames)
    columns, rows = (path_T2 - path_T2.min(axis=0)).T  # of the view's upper left tile, in a map that fits the clip
    size = (int(rows.max()) + LOCAL_ROWS, int(columns.max()) + LOCAL_COLUMNS)
    world = np.zeros((*size, *tiles.shape[3:]), np.float32)
    seen = np.zeros(size, bool)
    visible = np.ones((LOCAL_ROWS, LOCAL_COLUMNS), bool)
    visible[PLAYER_ROW, PLAYER_COLUMN] = False  # the player hides what lies below
    for step in range(context):
        window = np.s_[rows[step] : rows[step] + LOCAL_ROWS, columns[step] : columns[step] + LOCAL_COLUMNS]
        world[window][visible] = tiles[step][visible]
        seen[window] |= visible
    sharp, hedged = _fill(world, seen)
    errors = []
    for known in (sharp, hedged):
        own = []
        for step in range(context, len(frames)):
            window = np.s_[rows[step] : rows[step] + LOCAL_ROWS, columns[step] : columns[step] + LOCAL_COLUMNS]
            shown = np.where(visible[..., None, None, None], known[window], tiles[step])
            drawn = view.draw(frames[context - 1], shown)
            own.append(np.square(drawn - frames[step]).mean(dtype=np.float64))
        errors.append(np.array(own))
    return errors[0], errors[1]


def _fill(world: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The map with its unseen tiles filled in the sharp and in the hedged way."""
    remembered = world[seen]  # [K, U, U, C], one entry a tile of the world
    places, gaps = np.argwhere(seen), np.argwhere(~seen)
    sharp, hedged = world.copy(), world.copy()
    if len(gaps):
        distance = np.abs(gaps[:, None] - places[None]).sum(axis=-1)  # [gaps, K], in steps of a player
        sharp[~seen] = np.median(remembered, axis=0)
        hedged[~seen] = 0.5 * remembered[distance.argmin(axis=1)] + 0.5 * remembered.mean(axis=0)
    return sharp, hedged
