"""A walk with its inverse: n steps of an action, then n of the opposite one. The picture should come back.

Creatures move meanwhile, so that the true game's picture does not come back exactly either: the model's difference is
compared with that of the true game, which takes the same actions from the same state. Only walks count that lead
somewhere and back in the true game (a wall in the way ends a walk early). A model that stands still brings the picture
back too, so that the frame at the turn is compared as well.

Axes: B walks, N steps there, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.measures.intervals import ratio_interval
from tinyworlds_gate.horizon.action_codes import ActionCodes
from tinyworlds_gate.horizon.driven import Driven, drive, reconstructed
from tinyworlds_gate.horizon.long_clips import LEAST_EPISODES
from tinyworlds_gate.play.true_game import TrueGame, recorded_game
from tinyworlds_gate.play.world import PlayWorld

TARGET = 1.5
"""Largest difference of the model at the end, over that of the true game."""
RETURNED = 0.5
"""A walk came back if the difference at its end is at most this share of that at its turn."""
WALKS = {
    "crafter": ("right", "left", 4),
    "pong": ("up", "down", 4),
    "doom": ("turn right", "turn left", 4),
    "minigrid": ("turn right", "turn left", 2),
    "takecover": ("right", "left", 4),
}
"""Game → an action, the opposite one, and how many steps of each."""


@dataclass(frozen=True)
class Walks:
    """Walks in the true game: the frames before them uint8 [B, P, H, W, 3], and of them [B, 2N, H, W, 3]."""

    context: np.ndarray
    frames: np.ndarray
    episodes: np.ndarray
    there: int
    back: int
    tried: int

    @property
    def steps(self) -> int:
        """Steps there, and again back."""
        return self.frames.shape[1] // 2


def true_walks(world: PlayWorld, names: Sequence[str], at_most: int, steps: int | None = None) -> Walks | str:
    """Take the walk of the world's game from its held-out clips, or return why there is none; a game is a process.

    Raises:
        DataError: the emulator shows another picture than the file, or has died.
    """
    recorded = recorded_game(world.data)
    if recorded is None or recorded["name"] not in WALKS:
        return "the frames are not those of a game that runs here, so that its picture after a walk is not known"
    if world.data.stride != 1:
        return f"the frames are read at stride {world.data.stride}, and a walk takes every frame of the game"
    there_name, back_name, usual = WALKS[recorded["name"]]
    there, back, steps = names.index(there_name), names.index(back_name), steps or usual
    order = np.linspace(0, len(world.starts) - 1, min(at_most, len(world.starts))).round().astype(int).tolist()
    taken: list[tuple[int, np.ndarray]] = []
    with closing(TrueGame(**recorded, shown_size=world.frame_size)) as game:
        for clip in order:
            episode = int(world.data.episode[world.starts[clip]])
            game.start_at(episode, world.past_actions(clip).tolist(), world.context_frames(clip)[-1])
            frames = []
            for action in [there] * steps + [back] * steps:
                game.step(action)
                if game.ended or game.frame is None:
                    break
                frames.append(game.frame)
            if len(frames) == 2 * steps:
                taken.append((clip, np.stack(frames)))
    kept = [(clip, frames) for clip, frames in taken if _returns(world.context_frames(clip)[-1], frames, steps)]
    if not kept:
        return f"none of {len(order)} walks of {steps} steps {there_name} led somewhere and back in the true game"
    clips = [clip for clip, _ in kept]
    return Walks(
        np.stack([world.context_frames(clip) for clip in clips]),
        np.stack([frames for _, frames in kept]),
        world.data.episode[world.starts[clips]],
        there,
        back,
        len(order),
    )


def walk_with(driven: Driven, walks: Walks, codes: ActionCodes) -> np.ndarray:
    """Return the walk in the model, uint8 [B, 2N, H, W, 3]."""
    code = codes.codes
    own = np.repeat([code[walks.there], code[walks.back]], walks.steps)
    return drive(driven, walks.context, np.broadcast_to(own, (len(walks.context), len(own))))


def tokenized_ends(world: PlayWorld, walks: Walks) -> np.ndarray:
    """Return what the tokenizer makes of the last frame of each true walk, uint8 [B, H, W, 3]."""
    whole = np.concatenate((walks.context, walks.frames), axis=1)[:, -world.context :]
    return reconstructed(world.trained.models, whole, world.device)


def compare_walks(
    walks: Walks, generated: np.ndarray, tokenized: np.ndarray | None, names: Sequence[str]
) -> dict[str, Any]:
    """Return how far the picture came back in the model and in the true game.

    Args:
        walks: the true walks.
        generated: the same in the model, uint8 [B, 2N, H, W, 3].
        tokenized: the last true frames through the tokenizer; None: the model has none.
        names: of the actions.
    """
    start, turn, count = walks.context[:, -1], walks.steps - 1, len(walks.frames)
    model, true = _mse(generated[:, -1], start), _mse(walks.frames[:, -1], start)
    ratio, low, high = _ratio(model, true, walks.episodes)
    left, low_left, high_left = _ratio(
        _mse(generated[:, turn], walks.frames[:, turn]), _mse(start, walks.frames[:, turn]), walks.episodes
    )
    allowed = None if tokenized is None else float(_mse(tokenized, start).mean())
    walked = None if left is None else left < 1
    # Where the true picture comes back exactly, the tokenizer's own error is all that can be asked for.
    limit = TARGET * (float(true.mean()) or allowed or 0.0)
    enough = len(np.unique(walks.episodes)) >= LEAST_EPISODES
    return {
        "not_run": None,
        "there": names[walks.there],
        "back": names[walks.back],
        "steps": walks.steps,
        "walks": count,
        "tried": walks.tried,
        "episodes": len(np.unique(walks.episodes)),
        "end_mse": float(model.mean()),
        "true_end_mse": float(true.mean()),
        "tokenizer_end_mse": allowed,
        "ratio": ratio,
        "ratio_interval": None if low is None else [low, high],
        "tokenizer_ratio": None if allowed is None or not true.any() else allowed / float(true.mean()),
        "target": TARGET,
        "turn_skill": None if left is None else 1 - left,
        "turn_skill_interval": None if low_left is None or high_left is None else [1 - high_left, 1 - low_left],
        "difference_by_step": _by_step(generated, start),
        "true_difference_by_step": _by_step(walks.frames, start),
        "comes_back": bool(float(model.mean()) <= limit and walked) if enough else None,
    }


def _returns(start: np.ndarray, frames: np.ndarray, steps: int) -> bool:
    turn, end = (float(_mse(frames[at][None], start[None])[0]) for at in (steps - 1, 2 * steps - 1))
    return turn > 0 and end <= RETURNED * turn


def _mse(one_BHWC: np.ndarray, other_BHWC: np.ndarray) -> np.ndarray:
    """Return the squared difference of each pair of frames in [0, 1], float64 [B]."""
    difference = one_BHWC.astype(np.int32) - other_BHWC
    squares: np.ndarray = np.square(difference).mean(axis=(1, 2, 3), dtype=np.float64) / 255.0**2
    return squares


def _by_step(frames_BSHWC: np.ndarray, start_BHWC: np.ndarray) -> list[float]:
    return [float(_mse(frames_BSHWC[:, step], start_BHWC).mean()) for step in range(frames_BSHWC.shape[1])]


def _ratio(
    above_B: np.ndarray, below_B: np.ndarray, episodes: np.ndarray
) -> tuple[float | None, float | None, float | None]:
    if not below_B.any():
        return None, None, None
    low, high = ratio_interval(above_B, below_B, episodes)
    known = np.isfinite((low, high)).all()
    return float(above_B.sum() / below_B.sum()), float(low) if known else None, float(high) if known else None


def not_walked(reason: str) -> dict[str, Any]:
    """Return the record of a walk that cannot be taken."""
    return {"not_run": reason}


def require_codes(codes: ActionCodes, walks: Walks) -> str | None:
    """Return why the two actions cannot be given to the model: they have the same code."""
    there, back = codes.codes[walks.there], codes.codes[walks.back]
    if there == back:
        first, second = codes.names[walks.there], codes.names[walks.back]
        return f"the actions {first} and {second} have the same code {int(there)}, so that the model cannot walk back"
    return None


def walk_of(world: PlayWorld, driven: Driven, codes: ActionCodes, at_most: int) -> tuple[dict[str, Any], Any]:
    """Return the record of the walk, and the true and generated frames of it (None: it was not taken)."""
    try:
        walks = true_walks(world, codes.names, at_most)
    except DataError as error:
        return not_walked(str(error)), None
    if isinstance(walks, str):
        return not_walked(walks), None
    if (problem := require_codes(codes, walks)) is not None:
        return not_walked(problem), None
    generated = walk_with(driven, walks, codes)
    record = compare_walks(walks, generated, tokenized_ends(world, walks), codes.names)
    own = {"codes": [int(codes.codes[one]) for one in (walks.there, walks.back)]}
    clear = all(codes.is_own(one) for one in (walks.there, walks.back))
    return record | own | {"codes_clear": clear}, (walks, generated)
