"""Games of few things before a background that stays: agents that jump from cell to cell, balls, beams, blocks.

Axes: N clips, T frames, H x W pixels, 3 colours.
"""

from __future__ import annotations

import numpy as np

CONTEXT, STEPS, SIDE = 3, 12, 64
FIELD, COLOURS = (200, 200, 190), ((30, 60, 220), (220, 50, 40), (20, 120, 30))
MISSING, STILL, SECOND = "missing", "still", "second"
FAULTS = (MISSING, STILL, SECOND)


def grid_world(
    seed: int, *, clips: int = 8, cell: int = 12, lines: bool = True, agents: int = 1, fault: str = ""
) -> np.ndarray:
    """Return clips [N, T, H, W, 3] of agents that jump to a neighbouring cell in every frame.

    From the end of the context on a fault changes the first agent: it is gone, stands still, or there is one more.
    """
    generator = np.random.default_rng(seed)
    cells = SIDE // cell
    frames = np.full((clips, CONTEXT + STEPS, cells * cell + 1, cells * cell + 1, 3), FIELD, np.uint8)
    if lines:
        frames[:, :, ::cell] = frames[:, :, :, ::cell] = 120
    for clip in frames:
        places = generator.integers(cells, size=(agents, 2))
        other = generator.integers(cells, size=2)
        for time, frame in enumerate(clip):
            late = time >= CONTEXT
            shown = [(one, colour) for one, colour in zip(places, COLOURS, strict=False)]
            if late and fault == MISSING:
                shown = shown[1:]
            if late and fault == SECOND:
                shown.append(((other + time) % cells, COLOURS[0]))
            for (row, column), colour in shown:
                frame[row * cell + 2 : (row + 1) * cell, column * cell + 2 : (column + 1) * cell] = colour
            for agent in range(agents):
                move = [(0, 1), (1, 0), (0, -1), (-1, 0)][generator.integers(4)]
                if not (late and fault == STILL and agent == 0):
                    places[agent] = np.clip(places[agent] + move, 0, cells - 1)
    return frames


def bouncing(
    seed: int, height: int, width: int, *, clips: int = 8, round_: bool = False, fault: str = "", noise: float = 0.0
) -> np.ndarray:
    """Return clips [N, T, H, W, 3] of one thing of this size that bounces off the edges of a plain field."""
    generator = np.random.default_rng(seed)
    frames = np.full((clips, CONTEXT + STEPS, SIDE, SIDE, 3), (30, 70, 40), np.uint8)
    room = SIDE - np.array([height, width])
    row, column = np.mgrid[:height, :width]
    shape = np.hypot(row - (height - 1) / 2, column - (width - 1) / 2) <= height / 2 if round_ else row >= 0
    for clip in frames:
        place, speed = generator.uniform(0, room), generator.uniform(2, 5, 2) * generator.choice([-1, 1], 2)
        other = generator.integers(room + 1)
        for time, frame in enumerate(clip):
            late = time >= CONTEXT
            places = [] if late and fault == MISSING else [place.astype(int)]
            places += [other] if late and fault == SECOND else []
            for top, left in places:
                frame[top : top + height, left : left + width][shape] = (240, 220, 60)
            if not (late and fault == STILL):
                place = place + speed
                speed = np.where((place < 0) | (place > room), -speed, speed)
                place = np.clip(place, 0, room)
    return np.clip(np.rint(frames + generator.normal(0, noise, frames.shape)), 0, 255).astype(np.uint8)
