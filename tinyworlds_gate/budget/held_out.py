"""The frames of a try: those that the command gets, and held-out ones that exist nowhere on the disk while it runs.

Axes: N clips, T frames of a clip, H height, W width.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyworlds_gate.budget.judge_code import Judge
from tinyworlds_gate.budget.settings import FrameSettings
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.clips import gather_clips, starts_in_episodes
from tinyworlds_gate.reference.data.cut_held_out import hold_out, seen_clips
from tinyworlds_gate.reference.data.frames_file import check_frames_file, load_frames
from tinyworlds_gate.reference.data.game_dataset import make_game
from tinyworlds_gate.reference.data.game_table import GAMES
from tinyworlds_gate.reference.data.memory_limit import require_memory
from tinyworlds_gate.reference.data.split import draw_clips

LEAST_CLIPS = 20
"""Fewer measure nothing (`G5.sample` needs as many episodes)."""
_CRAFTER, _WORLDS = "crafter", 50_000


@dataclass(frozen=True)
class HeldOut:
    """The bytes of the held-out frames file, in memory, and the random seed that chose or played it."""

    content: bytes
    seed: int
    made: str

    def write(self, path: Path) -> Path:
        """Write the file into the judge's folder, once no process of the command is left."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content)
        return path


@dataclass(frozen=True)
class Clips:
    """The clips to measure: first frames [N], true frames uint8 [N, T, H, W, 3], episodes [N], actions [N, T] or None.

    ``dropped`` counts clips that also occur in the training frames, which are not measured.
    """

    starts: np.ndarray
    frames: np.ndarray
    episodes: np.ndarray
    actions: np.ndarray | None
    dropped: int


def make_training_frames(settings: FrameSettings, path: Path) -> HeldOut | None:
    """Write the frames that the command gets; return what a file holds out, None for a game.

    Raises:
        DataError: the file is missing or damaged, or the game cannot be played.
    """
    if settings.game is not None:
        make_game(
            path,
            GAMES[settings.game],
            num_frames=settings.num_frames,
            frame_size=settings.frame_size,
            episode_length=settings.episode_length,
            seed=settings.seed,
            workers=settings.workers,
        )
        return None
    assert settings.data is not None
    info = check_frames_file(settings.data)
    share = settings.held_out_fraction
    require_memory(
        int(info.num_frames * info.height * info.width * 3 * share),
        f"the held-out frames of {settings.data}, which are kept in memory while the command runs",
        "a smaller --held-out-fraction",
    )
    held_out, seed = path.with_name("held_out.h5"), secrets.randbits(62)
    hold_out(settings.data, path, held_out, fraction=share, seed=seed)
    return HeldOut(_take(held_out), seed, "cut from --data before the training, kept in memory")


def play_held_out(settings: FrameSettings, judge: Judge, path: Path, timeout_s: float) -> HeldOut:
    """Play new episodes of the game in a process of the judge, with a random seed that nobody knew before.

    Raises:
        DataError: the game cannot be played.
    """
    assert settings.game is not None
    seed = _new_seed(settings)
    count = settings.held_out_episodes * settings.episode_length
    words = ["data", "make", settings.game, "--output", str(path), "--seed", str(seed), "--num-frames", str(count)]
    words += ["--frame-size", str(settings.frame_size), "--episode-length", str(settings.episode_length)]
    words += [] if settings.workers is None else ["--workers", str(settings.workers)]
    code, _, errors = judge.run(words, timeout_s)
    if code != 0:
        raise DataError(f"the held-out episodes of {settings.game} could not be played: {errors}")
    return HeldOut(_take(path), seed, "played after the training had ended")


def _new_seed(settings: FrameSettings) -> int:
    """Draw a seed; for Crafter one whose worlds differ from those of the training frames."""
    assert settings.game is not None
    game = GAMES[settings.game]
    while True:
        seed = secrets.randbelow(game.seeds)
        if settings.game != _CRAFTER:
            if seed != settings.seed:
                return seed
            continue
        trained = -(-settings.num_frames // settings.episode_length) + 1
        ahead = (seed - settings.seed) * 1009 % _WORLDS  # `crafter_world.world_seed`
        if trained <= ahead <= _WORLDS - settings.held_out_episodes - 1:
            return seed


def _take(path: Path) -> bytes:
    """Return the content of a file, and remove it."""
    content = path.read_bytes()
    os.unlink(path)
    return content


def choose_clips(held_out: Path, training: Path, count: int, length: int, seed: int) -> Clips:
    """Draw clips by a seed over all held-out episodes, without those that occur in the training frames.

    Raises:
        DataError: too few clips are left.
    """
    data = load_frames(held_out)
    starts = starts_in_episodes(data.episode, length, np.unique(data.episode))
    if len(starts) < LEAST_CLIPS:
        raise DataError(
            f"the held-out episodes have {len(starts)} clips of {length} frames; at least {LEAST_CLIPS} are needed: "
            "hold out more or longer episodes, or lower --steps"
        )
    drawn = draw_clips(starts, data.episode[starts], min(count, len(starts)), seed)
    seen = seen_clips(training, held_out, drawn.tolist(), length, stride=1)
    kept = np.setdiff1d(drawn, seen)
    if len(kept) < LEAST_CLIPS:
        raise DataError(
            f"{len(seen)} of {len(drawn)} held-out clips also occur in the training frames; {LEAST_CLIPS} new ones are "
            "needed: the episodes are too much alike"
        )
    actions = None if data.actions is None else data.actions[kept[:, None] + np.arange(length)]
    return Clips(kept, gather_clips(data.frames, kept, length), data.episode[kept], actions, len(seen))
