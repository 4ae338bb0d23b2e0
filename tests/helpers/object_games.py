"""Small games for the measure of objects: squares that move over a texture, which may scroll.

Axes: N clips, T frames, H x W pixels, 3 colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

CONTEXT, STEPS, SIZE = 3, 12, 64
COLOURS = ((235, 60, 50), (250, 230, 60))
SIDE = 5
Places = np.ndarray
"""int [T, objects, 2]: top left corner in the world; below 0: it is not there."""


@dataclass(frozen=True)
class Game:
    """One clip: the world's texture, where the view is in each frame, and where each object is."""

    world: np.ndarray
    view: np.ndarray
    places: Places
    colours: tuple[tuple[int, int, int], ...] = COLOURS
    noise: float = 0.0
    light: np.ndarray = field(default_factory=lambda: np.ones(CONTEXT + STEPS))

    def frames(self) -> np.ndarray:
        """Draw the clip, uint8 [T, H, W, 3]."""
        drawn = []
        generator = np.random.default_rng(len(self.world))
        for (top, left), corners, light in zip(self.view, self.places, self.light, strict=True):
            world = self.world.copy()
            for (row, column), colour in zip(corners, self.colours, strict=True):
                if row >= 0:
                    world[row : row + SIDE, column : column + SIDE] = colour
            frame = world[top : top + SIZE, left : left + SIZE] * light
            drawn.append(frame + generator.normal(0, self.noise, frame.shape))
        return np.clip(np.rint(np.stack(drawn)), 0, 255).astype(np.uint8)


def games(seed: int, *, clips: int = 12, scroll: bool = True, noise: float = 0.0, night: bool = False) -> list[Game]:
    """Return clips whose two objects move by one to three pixels a frame, each in its own direction."""
    generator = np.random.default_rng(seed)
    count = CONTEXT + STEPS
    found = []
    for _ in range(clips):
        side = SIZE + 2 * count
        tiles = generator.integers(40, 140, (side // 4 + 1, side // 4 + 1, 3))
        world = tiles.repeat(4, axis=0).repeat(4, axis=1)[:side, :side].astype(float)
        speed = generator.integers(-1, 2, 2) if scroll else np.zeros(2, int)
        view = count + speed * np.arange(count)[:, None]
        places = []
        for _ in COLOURS:
            velocity = generator.choice([-3, -2, -1, 1, 2, 3], 2)
            start = count + generator.integers(16, SIZE - 16, 2)
            path = (start - count + velocity * np.arange(count)[:, None]) % (2 * (SIZE - SIDE))
            path = np.where(path > SIZE - SIDE, 2 * (SIZE - SIDE) - path, path)
            places.append(path + view)
        light = 1 - 0.03 * np.arange(count) if night else np.ones(count)
        found.append(Game(world, view, np.stack(places, axis=1), noise=noise, light=light))
    return found


def rollouts(clips: list[Game]) -> tuple[np.ndarray, np.ndarray]:
    """Return the context [N, 3, H, W, 3] and the true frames [N, 12, H, W, 3]."""
    drawn = np.stack([clip.frames() for clip in clips])
    return drawn[:, :CONTEXT], drawn[:, CONTEXT:]


def generated(clips: list[Game], change: Callable[[Game], Game]) -> np.ndarray:
    """Return what a simulator with this fault generates, [N, 12, H, W, 3]."""
    return np.stack([change(clip).frames()[CONTEXT:] for clip in clips])


def _placed(change: Callable[[Places], Places]) -> Callable[[Game], Game]:
    return lambda game: replace(game, places=change(game.places.copy()))


def _without(of: slice, frames: slice) -> Callable[[Places], Places]:
    def change(places: Places) -> Places:
        places[frames, of] = -1
        return places

    return change


def _frozen(places: Places) -> Places:
    places[CONTEXT:] = places[CONTEXT - 1]
    return places


def _mirrored(places: Places) -> Places:
    places[CONTEXT:] = 2 * places[CONTEXT - 1] - places[CONTEXT:]
    return np.maximum(places, 0)


def _recoloured(game: Game) -> Game:
    return replace(game, colours=((60, 90, 240), (40, 220, 230)))


def _swapped(game: Game) -> Game:
    return replace(game, colours=game.colours[::-1])


def _further(game: Game) -> Game:
    more = (game.places[:, :1] - game.view[:, None] + SIZE // 2) % (SIZE - SIDE) + game.view[:, None]
    return replace(game, places=np.concatenate([game.places, more], axis=1), colours=(*game.colours, game.colours[0]))


def _standing(game: Game) -> Game:
    place = game.view.mean(axis=0).astype(int) + SIZE // 2
    more = np.broadcast_to(place, (len(game.places), 1, 2))
    return replace(game, places=np.concatenate([game.places, more], axis=1), colours=(*game.colours, game.colours[0]))


FAULTS: dict[str, Callable[[Game], Game]] = {
    "no objects": _placed(_without(slice(None), slice(CONTEXT, None))),
    "one of two is lost": _placed(_without(slice(1), slice(CONTEXT, None))),
    "lost in the late frames": _placed(_without(slice(None), slice(CONTEXT + 8, None))),
    "one lost in the late frames": _placed(_without(slice(1), slice(CONTEXT + 6, None))),
    "flicker": _placed(_without(slice(None), slice(CONTEXT, None, 2))),
    "frozen": _placed(_frozen),
    "mirrored motion": _placed(_mirrored),
    "shifted": _placed(lambda places: places + 6),
    "wrong colours": _recoloured,
    "swapped places": _swapped,
    "one more that moves": _further,
    "one more that stands still": _standing,
}
