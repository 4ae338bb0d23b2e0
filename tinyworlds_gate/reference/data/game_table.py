"""The games that `tinyworlds-gate data make` plays; a game is one entry here and one module that plays an episode."""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_FRAME_SIZE = 128
"""Pixels of the frames that the command writes."""


@dataclass(frozen=True, kw_only=True)
class Game:
    """A game, and what a file of its frames can be."""

    name: str
    """Of the command line; the dataset is the same in upper case."""
    module: str
    """With `play_episode`."""
    package: str
    """The emulator, which only the module imports."""
    install: str = "pip install 'tinyworlds_gate[games]'"
    """What installs the package."""
    apart: bool = True
    """Whether the emulator always runs in a process of its own."""
    file: str = "{name}_frames.h5"
    """In data/; with `{size}` where each frame size has a file of its own."""
    made_by_runs: bool = False
    """Whether a run makes a missing file itself."""
    seeds: int = 2**31
    """Seeds from 0 to below it are allowed."""
    episodes: int = 10**6
    """Episodes of one seed that differ."""
    frame_sizes: tuple[int, int] = (16, 1024)
    """The smallest and the largest, in pixels."""
    pixels: int = 1
    """The frame size must be a multiple of it."""
    compressed: float
    """Share of the uncompressed bytes that its frames take, at least."""
    policy: str
    """In words; recorded in the file."""
    notice: str
    """What the licence of the emulator and of the game says, shown when frames are made."""

    def file_name(self, frame_size: int) -> str:
        """Return the name of its file in data/."""
        return self.file.format(name=self.name, size=frame_size)

    def size_in(self, file_name: str) -> tuple[str, ...] | None:
        """Return the frame size in the name of one of its files, if there is one; None for another file."""
        pattern = self.file.replace(".", r"\.").format(name=self.name, size=r"(\d+)")
        found = re.fullmatch(pattern, file_name.lower())
        return None if found is None else found.groups()


GAMES: dict[str, Game] = {
    game.name: game
    for game in (
        Game(
            name="crafter",
            module="tinyworlds_gate.reference.data.crafter_world",
            package="crafter",
            install="pip install crafter",
            apart=False,
            file="crafter_{size}px_frames.h5",
            made_by_runs=True,
            seeds=50_000,
            episodes=50_000,  # the worlds from this one on are those of fixed evaluation sets
            frame_sizes=(18, 10_000),  # nine tiles of two pixels, the smallest in which Crafter can draw a digit
            compressed=0.05,  # 0.067 at 72 px, 0.11 at 32 px
            policy="repeat 0.6; left right up down 0.21 each, do 0.12, noop 0.04",
            notice="Crafter's licence is MIT.",
        ),
        Game(
            name="pong",
            module="tinyworlds_gate.reference.games.pong",
            package="ale_py",
            compressed=0.002,
            policy="the player follows the ball in 0.8 of the steps and does anything in the others",
            notice="Pong runs in ale-py, whose licence is GPL-2.0; its wheel says nothing of the licence of the game. "
            "It plays in a process of its own.",
        ),
        Game(
            name="doom",
            module="tinyworlds_gate.reference.games.doom",
            package="vizdoom",
            compressed=0.05,
            policy="repeat 0.7; forward 0.4, left and right 0.18 each, sideways 0.05 each, shoot 0.1, nothing 0.04",
            notice="Doom runs in ViZDoom (MIT, its engine GPL) with the levels and pictures of Freedoom (BSD). It "
            "plays in a process of its own.",
        ),
        Game(
            name="minigrid",
            module="tinyworlds_gate.reference.games.minigrid_rooms",
            package="minigrid",
            pixels=8,
            compressed=0.002,
            policy="uses a key or a closed door in front of it in 0.7 of the steps; else forward 0.5, turns 0.2 each, "
            "pick up and toggle 0.05 each",
            notice="MiniGrid's licence is Apache-2.0.",
        ),
        Game(
            name="takecover",
            module="tinyworlds_gate.reference.games.take_cover",
            package="vizdoom",
            compressed=0.02,
            policy="repeat 0.8; left and right 0.4 each, nothing 0.2; the player has health without end",
            notice="Doom runs in ViZDoom (MIT, its engine GPL) with the levels and pictures of Freedoom (BSD). It "
            "plays in a process of its own.",
        ),
    )
}


def game_of(dataset: str) -> Game | None:
    """Return the game of a dataset's name, in any case; None for frames from elsewhere."""
    return GAMES.get(dataset.lower())
