"""The ball world: small balls that roll over a floor under a changing light, and a perfect simulator with one fault.

The light changes the whole frame and the balls a few pixels: a model that predicts the light satisfies every limit on
errors, whatever it does with the balls. Only G6 can tell.

Axes: N clips, T frames, S generated frames, B balls, H height, W width, C colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

SIZE_PX, BALL_PX = 64, 5
CLIPS, CONTEXT, STEPS = 40, 4, 8
KINDS = np.array([[235, 60, 50], [60, 90, 235]], np.float32)
BALLS = len(KINDS) * 2
GREEN = np.array([40, 200, 60], np.float32)
ORANGE = np.array([235, 130, 50], np.float32)
FAINT = np.array([165, 165, 160], np.float32)
LIGHT = (0.55, 1.05)
CHECKS = 45.0
"""Levels of the fine texture above and below the mean."""
GONE_STEP = 5
EVENT_STEP = 3


@dataclass(frozen=True)
class Balls:
    """What the simulator knows: the floor ``[H, W, C]``, the light ``[N, T]`` and the places ``[N, T, B, 2]``."""

    floor_HWC: np.ndarray
    light_NT: np.ndarray
    places_NTB2: np.ndarray
    kinds_B: np.ndarray

    def drawn(
        self,
        places_NTB2: np.ndarray | None = None,
        *,
        shown: np.ndarray | None = None,
        size_px: int = BALL_PX,
        colours: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the frames uint8 ``[N, T, H, W, C]`` with balls at other places, of another size or colour.

        ``shown``: for each ball whether it is drawn; ``colours``: of each ball, ``[B, C]``.
        """
        places = self.places_NTB2 if places_NTB2 is None else places_NTB2
        colours = KINDS[self.kinds_B] if colours is None else colours
        shown = np.ones(BALLS, bool) if shown is None else shown
        frames = np.broadcast_to(self.floor_HWC, (*places.shape[:2], *self.floor_HWC.shape)).copy()
        edge = (BALL_PX - size_px) // 2
        for clip, step, ball in np.argwhere(np.broadcast_to(shown, places.shape[:3])):
            top, left = places[clip, step, ball] + edge
            frames[clip, step, max(0, top) : top + size_px, max(0, left) : left + size_px] = colours[ball]
        lit = frames * self.light_NT[:, :, None, None, None]
        return np.rint(lit.clip(0, 255)).astype(np.uint8)


def play(seed: int = 0, clips: int = CLIPS) -> Balls:
    """Return clips in which every ball rolls straight ahead and bounces off the edges."""
    rng = np.random.default_rng(seed)
    tiles = rng.uniform(90, 150, (8, 8, 1)) * np.array([1.0, 0.95, 0.9])
    floor = tiles.repeat(SIZE_PX // 8, axis=0).repeat(SIZE_PX // 8, axis=1).astype(np.float32)
    frames, most = CONTEXT + STEPS, SIZE_PX - BALL_PX
    begin = rng.integers(0, most + 1, (clips, 1, BALLS, 2))
    speed = rng.integers(2, 4, (clips, 1, BALLS, 2)) * rng.choice([-1, 1], (clips, 1, BALLS, 2))
    run = begin + speed * np.arange(frames)[None, :, None, None]
    places = most - np.abs(run % (2 * most) - most)
    return Balls(floor, rng.uniform(*LIGHT, (clips, frames)), places, np.arange(BALLS) % len(KINDS))


def _frozen(world: Balls) -> np.ndarray:
    places = world.places_NTB2.copy()
    places[:, CONTEXT:] = places[:, CONTEXT - 1 : CONTEXT]
    return world.drawn(places)


def _duplicated(world: Balls) -> np.ndarray:
    beside = (world.places_NTB2 + np.array([SIZE_PX // 3, SIZE_PX // 4])) % (SIZE_PX - BALL_PX)
    doubled = Balls(world.floor_HWC, np.ones_like(world.light_NT), world.places_NTB2, world.kinds_B)
    twice = doubled.drawn(beside).astype(np.float32)
    own = doubled.drawn().astype(np.float32)
    moved = np.where(own != world.floor_HWC.round(), own, twice)
    return np.rint((moved * world.light_NT[:, :, None, None, None]).clip(0, 255)).astype(np.uint8)


def _with_phantoms(world: Balls) -> np.ndarray:
    """Return frames with two more balls, of a third of the contrast of the true ones, that do not exist."""
    dull = Balls(world.floor_HWC, np.ones_like(world.light_NT), world.places_NTB2, world.kinds_B)
    beside = (world.places_NTB2 + np.array([SIZE_PX // 3, SIZE_PX // 4])) % (SIZE_PX - BALL_PX)
    colours = np.broadcast_to(FAINT, (BALLS, 3))
    phantoms = dull.drawn(beside, shown=np.arange(BALLS) < 2, colours=colours).astype(np.float32)
    own = dull.drawn().astype(np.float32)
    moved = np.where((own != world.floor_HWC.round()).any(axis=-1, keepdims=True), own, phantoms)
    return np.rint((moved * world.light_NT[:, :, None, None, None]).clip(0, 255)).astype(np.uint8)


def _late(world: Balls) -> np.ndarray:
    places = world.places_NTB2.copy()
    places[:, CONTEXT:] = world.places_NTB2[:, CONTEXT - 2 : -2]
    return world.drawn(places)


def _turned(world: Balls) -> np.ndarray:
    """Return for each frame and ball whether the ball has left its line since the context, ``[N, T, B]``."""
    places = world.places_NTB2
    after = np.arange(1, STEPS + 1)[:, None, None]
    line = places[:, CONTEXT - 1, None] + after * (places[:, CONTEXT - 1] - places[:, CONTEXT - 2])[:, None]
    turned = np.zeros(places.shape[:3], bool)
    turned[:, CONTEXT:] = (places[:, CONTEXT:] != line).any(axis=-1)
    return np.logical_or.accumulate(turned, axis=1)


def _stuck(world: Balls) -> np.ndarray:
    """Return frames in which a ball stays where it would have turned."""
    places, turned = world.places_NTB2.copy(), _turned(world)
    for step in range(CONTEXT, CONTEXT + STEPS):
        places[:, step] = np.where(turned[:, step, :, None], places[:, step - 1], places[:, step])
    return world.drawn(places)


def _without_first_kind(world: Balls, gone: np.ndarray) -> np.ndarray:
    """Return frames in which the balls of the first kind are not drawn where ``gone``, bool ``[N, S, B]``."""
    shown = np.ones(world.places_NTB2.shape[:3], bool)
    shown[:, CONTEXT:] = ~gone | (world.kinds_B != 0)
    return world.drawn(shown=shown)


def _gone_in_one_step(world: Balls) -> np.ndarray:
    return _without_first_kind(world, (np.arange(STEPS) == GONE_STEP - 1)[None, :, None])


def _gone_at_the_left(world: Balls) -> np.ndarray:
    return _without_first_kind(world, world.places_NTB2[:, CONTEXT:, :, 1] <= SIZE_PX // 8 - BALL_PX // 2)


FAULTS: dict[str, Callable[[Balls], np.ndarray]] = {
    "missing": lambda world: world.drawn(shown=np.zeros(BALLS, bool)),
    "one-kind-missing": lambda world: world.drawn(shown=world.kinds_B == 0),
    "frozen": _frozen,
    "recoloured": lambda world: world.drawn(colours=np.broadcast_to(GREEN, (BALLS, 3))),
    "kinds-swapped": lambda world: world.drawn(colours=KINDS[1 - world.kinds_B]),
    "near-colours-swapped": lambda world: world.drawn(colours=np.array([ORANGE, KINDS[0]] * 2)),
    "duplicated": _duplicated,
    "faint-phantoms": _with_phantoms,
    "shifted": lambda world: world.drawn((world.places_NTB2 + 9) % (SIZE_PX - BALL_PX)),
    "shrunk": lambda world: world.drawn(size_px=2),
    "two-frames-late": _late,
    "gone-at-the-edge": lambda world: world.drawn(shown=~_turned(world)),
    "stuck-at-the-edge": _stuck,
    "gone-in-one-step": _gone_in_one_step,
    "gone-at-the-left": _gone_at_the_left,
    "missing-in-the-dark": lambda world: world.drawn(shown=np.zeros(BALLS, bool)),
}
"""Fault → the generated frames, with the context before them."""
DARKNESS = {"missing-in-the-dark": 1 / 6}
"""Fault → the factor of all levels, true and generated."""


def _after_event(world: Balls, after: np.ndarray) -> np.ndarray:
    """Return the true frames of which every second clip is ``after`` from the fourth generated frame on."""
    happens = (np.arange(len(after)) % 2 == 0)[:, None] & (np.arange(CONTEXT + STEPS) >= CONTEXT + EVENT_STEP)
    return np.where(happens[:, :, None, None, None], after, world.drawn())


EVENTS: dict[str, Callable[[Balls], np.ndarray]] = {
    "never-vanishes": lambda world: _after_event(world, world.drawn(shown=np.arange(BALLS) > 0)),
    "never-recoloured": lambda world: _after_event(world, world.drawn(colours=np.array([GREEN, *KINDS[[1, 0, 1]]]))),
}
"""Fault → the true frames, in which something happens to one ball that the generated ones do not have."""
OTHER_COLOURS: dict[str, Callable[[Balls], np.ndarray]] = {
    "near-colours-swapped": lambda world: world.drawn(colours=np.array([KINDS[0], ORANGE] * 2)),
}
"""Fault → the true frames of balls in other colours than elsewhere."""


def on_checks(world: Balls, striped_px: int = 14, *, frozen: bool = False) -> np.ndarray:
    """Return frames of unchanging light on a floor of fine checks, with a thing of stripes of the same two greys."""
    still = Balls(world.floor_HWC, np.ones_like(world.light_NT), world.places_NTB2, world.kinds_B)
    balls = still.drawn().astype(np.float32)
    places_NT2 = play(1, len(world.light_NT)).places_NTB2[:, :, 0].clip(0, SIZE_PX - striped_px)
    if frozen:
        places_NT2[:, CONTEXT:] = places_NT2[:, CONTEXT - 1 : CONTEXT]
    rows, columns = np.indices((SIZE_PX, SIZE_PX))
    top, left = (places_NT2[..., axis, None, None] for axis in (0, 1))
    striped = (rows >= top) & (rows < top + striped_px) & (columns >= left) & (columns < left + striped_px)
    bright = np.where(striped, rows % 2 == 0, (rows + columns) % 2 == 0)
    floor = (balls == np.rint(world.floor_HWC)).all(axis=-1)
    texture = np.where(floor, np.where(bright, CHECKS, -CHECKS), 0)
    return np.rint((balls + texture[..., None]).clip(0, 255)).astype(np.uint8)


TEXTURED: dict[str, Callable[[Balls], np.ndarray]] = {
    "stripes-missing": lambda world: on_checks(world, 0),
    "stripes-frozen": lambda world: on_checks(world, frozen=True),
}
"""Fault → the generated frames of a world in which a thing differs from its ground by its texture only."""


def write_frames(path: Path, fault: str | None = None, seed: int = 0) -> Path:
    """Write what `tinyworlds-gate score --frames` reads: context, true and generated frames, and episodes."""
    world = play(seed)
    drawn = {**EVENTS, **OTHER_COLOURS}
    true = drawn[fault](world) if fault in drawn else world.drawn()
    made = FAULTS[fault](world) if fault in FAULTS else world.drawn()
    if fault in TEXTURED:
        true, made = on_checks(world), TEXTURED[fault](world)
    true, made = (np.rint(one * DARKNESS.get(fault or "", 1)).astype(np.uint8) for one in (true, made))
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["context"], file["true"], file["generated"] = true[:, :CONTEXT], true[:, CONTEXT:], made[:, CONTEXT:]
        file["episode"] = np.arange(len(true)) // 2
    return path
