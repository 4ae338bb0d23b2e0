"""A small game that is fully visible in its frames, so that a simulator can stand in for a model; and long clips.

A green player of 4 x 4 px walks in a striped corridor of 32 x 32 px; a faint dot falls beside it, whatever it does.
"""

from __future__ import annotations

import numpy as np

from tinyworlds_gate.policies.scripted import Policy, PolicyGame

SIDE, PLAYER = 32, 4
NOTHING, LEFT, RIGHT = range(3)
MOVES = np.array((0, -1, 1))
NAMES = ("nothing", "left", "right")
LOWEST, HIGHEST = 0, SIDE - PLAYER
ROW = 20
STRIPES = np.where(np.arange(SIDE) % 8 < 4, 60, 90).astype(np.uint8)


def drawn(place: int, time: int) -> np.ndarray:
    """Return a frame: the player's left column, and the number of frames since the start of the episode."""
    frame = np.repeat(np.broadcast_to(STRIPES[None, :, None], (SIDE, SIDE, 1)), 3, axis=2).copy()
    frame[ROW : ROW + PLAYER, place : place + PLAYER] = (20, 230, 20)
    frame[time % 12, 15:17] = (150, 90, 90)
    return frame


def seen(frame: np.ndarray) -> tuple[int, int]:
    """Return place and time that a frame shows."""
    place = int(np.flatnonzero(frame[ROW, :, 1] > 200)[0])
    return place, int(np.flatnonzero(frame[:12, 15, 0] == 150)[0])


class Simulator:
    """The game as `Driven`: a perfect model. Code 0 does nothing, 1 goes left, 2 right."""

    def reset(self, context_BPHWC: np.ndarray) -> None:
        self.states = [seen(one[-1]) for one in context_BPHWC]

    def step(self, codes_B: np.ndarray) -> np.ndarray:
        moved = zip(self.states, codes_B, strict=True)
        self.states = [self.after(place, time, int(code)) for (place, time), code in moved]
        return np.stack([drawn(*one) for one in self.states])

    def after(self, place: int, time: int, code: int) -> tuple[int, int]:
        return int(np.clip(place + MOVES[code], LOWEST, HIGHEST)), time + 1


class Deaf(Simulator):
    """Ignores its codes."""

    def after(self, place: int, time: int, code: int) -> tuple[int, int]:
        return place, time + 1


class Restless(Simulator):
    """Ignores its codes and walks at random."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def after(self, place: int, time: int, code: int) -> tuple[int, int]:
        return super().after(place, time, int(self.rng.integers(3)))


class Live:
    """The game as a live game with a score: how far the player went to the right."""

    def reset(self, seed: int, episode: int) -> np.ndarray:
        self.place, self.time = 8 + episode % 8, 0
        self.start = self.place
        return drawn(self.place, self.time)

    def step(self, action: int) -> tuple[np.ndarray | None, bool]:
        self.place, self.time = Simulator().after(self.place, self.time, action)
        return drawn(self.place, self.time), False

    def score(self) -> float:
        return float(self.place - self.start)


def _right_in(of: int) -> Policy:
    """Return the policy that goes right in so many of 8 steps."""
    return lambda _seen, step: RIGHT if step % 8 < of else NOTHING


GAME = PolicyGame(
    name="corridor",
    policies={f"right in {of} of 8 steps": _right_in(of) for of in range(7)}
    | {"away from the right wall": lambda frames, _step: LEFT if seen(frames[-1])[0] > 4 else NOTHING},
    read_return=lambda frames: float(seen(frames[-1])[0] - seen(frames[0])[0]),
    read_meaning="columns that the player goes to the right",
    score_meaning="the same, from the game",
)


def contexts(clips: int) -> np.ndarray:
    """Return two context frames of each clip."""
    return np.stack([np.stack([drawn(8 + clip % 8, clip % 4 + time) for time in range(2)]) for clip in range(clips)])


def long_clips(clips: int = 8, steps: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return context [N, 2, H, W, 3] and true frames [N, S, H, W, 3] of random walks and a ball that bounces."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(60, 100, (SIDE // 4, SIDE // 4, 3)).repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)
    frames = np.empty((clips, 2 + steps, SIDE * 2, SIDE * 2, 3), np.uint8)
    for clip in frames:
        place, speed = rng.uniform(4, SIDE * 2 - 10, 2), rng.uniform(2, 4, 2) * rng.choice([-1, 1], 2)
        for frame in clip:
            frame[:] = ground.repeat(2, axis=0).repeat(2, axis=1)
            top, left = place.astype(int)
            frame[top : top + 6, left : left + 6] = (240, 220, 40)
            place = place + speed
            speed = np.where((place < 1) | (place > SIDE * 2 - 7), -speed, speed)
            place = np.clip(place, 1, SIDE * 2 - 7)
    return frames[:, :2], frames[:, 2:]


def decayed(true: np.ndarray, step: int, seed: int = 1) -> np.ndarray:
    """Return the true frames before this step (from 1), and noise from it on."""
    made = true.copy()
    made[:, step - 1 :] = np.random.default_rng(seed).integers(0, 256, made[:, step - 1 :].shape, np.uint8)
    return made
