"""Deterministic Crafter: the same seed gives the same bytes in any process.

Stock Crafter 1.8.3 is not deterministic: ``_balance_object`` picks from a set whose order depends on object addresses.
The subclass below orders a chunk's objects by their index in the world and fixes daylight. It also speeds up world
generation and drawing, with the same bytes as stock Crafter (``tests/unit/reference/data/test_crafter_world.py``). The
installed package is not modified.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import crafter
import numpy as np
from crafter import constants, engine, objects, worldgen

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.crafter_noise import FastNoise
from tinyworlds_gate.reference.data.frame_objects import OBJECT_IN_FRAME
from tinyworlds_gate.reference.data.game_table import GAMES

FIRST_HELD_OUT_WORLD = GAMES["crafter"].episodes
"""Worlds from this seed on are reserved for fixed evaluation sets; training data uses the worlds below."""

MIN_FRAME_SIZE = GAMES["crafter"].frame_sizes[0]
"""Pixels."""

NOOP, LEFT, RIGHT, UP, DOWN, DO = range(6)
REPEAT_PROBABILITY = 0.6
ACTION_PROBABILITIES = {LEFT: 0.21, RIGHT: 0.21, UP: 0.21, DOWN: 0.21, DO: 0.12, NOOP: 0.04}

OBJECT_KINDS = ("player", "cow", "zombie", "skeleton", "arrow")
"""What moves by itself; a plant or a fence does not."""

_REFILLED = ("health", "food", "drink", "energy")
_POLICY_STREAM = 1


class DeterministicCrafter(crafter.Env):
    """Byte-reproducible Crafter in permanent daylight without a length limit; observations are uint8 [H, W, 3]."""

    def __init__(self, world_seed: int, frame_size: int) -> None:
        """``world_seed`` picks the world; ``frame_size`` is the side of the square frames in pixels."""
        if frame_size < MIN_FRAME_SIZE:
            raise DataError(
                f"frame size {frame_size} px is too small for Crafter: at least {MIN_FRAME_SIZE} px are needed "
                "(9 tiles of 2 px); set frame_size to a multiple of 9 such as 72, or to 128"
            )
        super().__init__(size=(frame_size, frame_size), length=None, reward=False, seed=world_seed)
        self._sem_view = lambda: None  # the semantic map in `info` is never read
        self._unit = np.array((frame_size, frame_size)) // self._view
        self._tiles: np.ndarray | None = None
        self._item_rows: dict[tuple[int, ...], np.ndarray] = {}

    @property
    def player_position(self) -> tuple[int, int]:
        """The player's tile (x, y) in the 64 x 64 world."""
        x, y = self._player.pos
        return int(x), int(y)

    def objects_in_view(self) -> list[tuple[str, float, float]]:
        """Return kind, x and y (the middle, in pixels) of each object in the frame that is shown now."""
        unit, (grid_w, grid_h) = int(self._unit[0]), (int(n) for n in self._local_view._grid)
        border = (int(self._size[0]) - unit * int(self._view[0])) // 2
        corner = np.array(self._player.pos) - np.array((grid_w, grid_h)) // 2
        found = []
        for one in self._world.objects:
            x, y = (int(n) for n in np.array(one.pos) - corner)
            if type(one).__name__.lower() in OBJECT_KINDS and 0 <= x < grid_w and 0 <= y < grid_h:
                found.append((type(one).__name__.lower(), border + (x + 0.5) * unit, border + (y + 0.5) * unit))
        return sorted(found)

    def choose_world(self, world_seed: int) -> None:
        """Make the next ``reset`` that of a new environment with this seed."""
        self._seed, self._episode = world_seed, 0

    def reset(self) -> np.ndarray:
        """Like stock Crafter, with the fast noise."""
        self._episode += 1
        self._step = 0
        self._world.reset(seed=hash((self._seed, self._episode)) % (2**31 - 1))
        self._update_time()
        center = (self._world.area[0] // 2, self._world.area[1] // 2)
        self._player = objects.Player(self._world, center)
        self._last_health = self._player.health
        self._world.add(self._player)
        self._unlocked: set[str] = set()
        generate_world(self._world, self._player)
        return self._obs()

    def refill(self) -> None:
        """Set health, food, drink and energy to their maximum."""
        for name in _REFILLED:
            self._player.inventory[name] = constants.items[name]["max"]

    def _update_time(self) -> None:
        self._world.daylight = 1.0

    def _balance_chunk(self, chunk: tuple[int, int, int, int], objs: Iterable[Any]) -> None:
        def world_index(obj: Any) -> int:
            return int(self._world._obj_map[tuple(obj.pos)])

        super()._balance_chunk(chunk, sorted(objs, key=world_index))

    def render(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """Return the frame, uint8 [H, W, 3]; the view is built from tiles in one indexing operation."""
        if size is not None or self._player.sleeping or self._world.daylight != 1.0:
            return super().render(size)
        unit = int(self._unit[0])
        items = self._items(unit)
        local = self._local(unit)
        canvas = np.zeros((*self._size, 3), np.uint8)
        border = (int(self._size[0]) - unit * int(self._view[0])) // 2
        width, local_height = local.shape[:2]
        top = border + local_height
        canvas[border : border + width, border:top] = local
        canvas[border : border + width, top : top + items.shape[1]] = items
        return canvas.transpose((1, 0, 2))

    def _items(self, unit: int) -> np.ndarray:
        inventory = self._player.inventory
        key = tuple(inventory.values())
        if key not in self._item_rows:
            self._item_rows[key] = self._item_view(inventory, np.array((unit, unit)))
        return self._item_rows[key]

    def _local(self, unit: int) -> np.ndarray:
        grid_w, grid_h = (int(n) for n in self._local_view._grid)
        grid = np.array((grid_w, grid_h))
        corner = np.array(self._player.pos) - grid // 2
        low = np.maximum(corner, 0)
        high = np.minimum(corner + grid, self._world.area)
        window = np.s_[low[0] : high[0], low[1] : high[1]]
        ids = np.zeros((grid_w, grid_h), np.intp)  # 0: outside the world
        shift = low - corner
        inside = self._world._mat_map[window]
        ids[shift[0] : shift[0] + inside.shape[0], shift[1] : shift[1] + inside.shape[1]] = inside
        tiles = self._tile_atlas(unit)[ids]
        canvas = tiles.transpose(0, 2, 1, 3, 4).reshape(grid_w * unit, grid_h * unit, 3)
        drawn = np.array((unit, unit))
        for index in self._world._obj_map[window].ravel():
            if index:
                obj = self._world._objects[index]
                engine._draw_alpha(canvas, (obj.pos - corner) * unit, self._textures.get(obj.texture, drawn))
        return canvas

    def _tile_atlas(self, unit: int) -> np.ndarray:
        if self._tiles is None:
            names = self._world._mat_names
            self._tiles = np.full((max(names) + 1, unit, unit, 3), 127, np.uint8)
            for index, name in names.items():
                if name is not None:
                    self._tiles[index] = self._textures.get(name, np.array((unit, unit)))[..., :3]
        return self._tiles


def generate_world(world: Any, player: Any) -> None:
    """Generate the same world as ``crafter.worldgen.generate_world``, byte for byte, with the fast noise."""
    noise = FastNoise(seed=world.random.randint(0, 2**31 - 1))
    tunnels = np.zeros(world.area, bool)
    for x in range(world.area[0]):
        for y in range(world.area[1]):
            worldgen._set_material(world, (x, y), player, tunnels, noise)
    for x in range(world.area[0]):
        for y in range(world.area[1]):
            worldgen._set_object(world, (x, y), player, tunnels)


@dataclass(frozen=True)
class Episode:
    """One episode: ``frames`` uint8 [T, H, W, 3], ``actions`` uint8 [T], ``player_position`` int16 [T, 2] (x, y)."""

    frames: np.ndarray
    actions: np.ndarray
    player_position: np.ndarray
    objects: np.ndarray
    """The creatures, arrows and the player in view: a table with ``frame`` counted from the episode's first."""

    @property
    def per_frame(self) -> dict[str, np.ndarray]:
        """Arrays of the file beside frames and actions."""
        return {"player_position": self.player_position}


def world_seed(seed: int, episode: int) -> int:
    """Return the world of an episode: below 50000, and different for the first 50000 episodes of a seed."""
    if not 0 <= seed < FIRST_HELD_OUT_WORLD:
        raise DataError(
            f"data seed {seed} is not allowed: training seeds run from 0 to {FIRST_HELD_OUT_WORLD - 1}, because worlds "
            f"from {FIRST_HELD_OUT_WORLD} on are reserved for evaluation; choose a seed in that range"
        )
    return (seed * 1009 + episode) % FIRST_HELD_OUT_WORLD


def policy_actions(rng: np.random.Generator) -> Iterator[int]:
    """Yield actions without end: with probability 0.6 the last one again, else a new random one."""
    actions = np.array(list(ACTION_PROBABILITIES))
    weights = np.array(list(ACTION_PROBABILITIES.values()))
    last = int(rng.choice(actions, p=weights))
    while True:
        yield last
        if rng.random() >= REPEAT_PROBABILITY:
            last = int(rng.choice(actions, p=weights))


@lru_cache(maxsize=1)
def _environment(frame_size: int) -> DeterministicCrafter:
    """Return an environment for any world; reading its textures takes as long as playing half an episode."""
    return DeterministicCrafter(0, frame_size)


def play_episode(seed: int, episode: int, length: int, frame_size: int) -> Episode:
    """Play one episode of at most ``length`` frames; it ends earlier only when the player dies (lava).

    ``actions[t]`` leads from frame t to frame t+1, as in the fixed evaluation set; the last action is not taken.
    Health, food, drink and energy are refilled before each step, so the player never starves. The result depends on
    the arguments only.
    """
    env = _environment(frame_size)
    env.choose_world(world_seed(seed, episode))
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, episode * 2 + _POLICY_STREAM], np.uint64)))
    frames, actions, positions, objects_seen = [env.reset()], [], [env.player_position], [env.objects_in_view()]
    for action in policy_actions(rng):
        actions.append(action)
        if len(frames) == length:
            break
        env.refill()
        frame, _, done, _ = env.step(action)
        frames.append(frame)
        positions.append(env.player_position)
        objects_seen.append(env.objects_in_view())
        if done:
            actions.append(NOOP)
            break
    rows = [(number, *one) for number, seen in enumerate(objects_seen) for one in seen]
    table = np.array(rows, OBJECT_IN_FRAME)
    return Episode(np.stack(frames), np.array(actions, np.uint8), np.array(positions, np.int16), table)
