"""Leave out drawn clips that occur in the training frames of the models, or in another episode, before anything trains.

Axes: K clips, T frames of a clip, H height, W width, C colours, D numbers of a code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import TooFewClipsError
from tinyworlds_gate.gate.clip_plan import ClipPlan, DrawnClips
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.provenance import UNSEEN, unknown_text
from tinyworlds_gate.loop.provenance import TrainedOn, frames_of_file, part_of
from tinyworlds_gate.names import INVALID, NOT_RUN, PASS
from tinyworlds_gate.reference.data.clip_reader import read_clips, read_episodes
from tinyworlds_gate.reference.data.clips import gather_clips
from tinyworlds_gate.reference.data.frame_codes import KnownFrames, frame_codes, write_known
from tinyworlds_gate.reference.data.frames_file import FramesData
from tinyworlds_gate.reference.data.near_copies import FEW_PICTURES, different_pictures, find_copies
from tinyworlds_gate.run.journal import last_event

MOST_COPIES = 0.05
"""A draw is refused when a larger share of its clips is copied from the training frames, or from another episode."""
MOST_COMMON = 0.5
"""The same for clips that occur in many training episodes, such as title screens."""


@dataclass(frozen=True)
class DrawnFrames:
    """The clips of one draw, their codes [K, T, D] and episodes [K], and the codes of the episodes of all draws."""

    clips: DrawnClips
    codes_KTD: np.ndarray
    episode: np.ndarray
    episodes: KnownFrames


def draws_of_file(
    plan: ClipPlan, data: FramesData, known: KnownFrames, draws: Sequence[int], length: int
) -> dict[int, DrawnFrames]:
    """Return draws of loaded frames, whose codes are ``known``, with clips of ``length`` frames."""
    starts = {draw: np.array(plan.draws[draw].starts) for draw in draws}
    episodes = np.unique(np.concatenate([data.episode[one] for one in starts.values()]))
    own = part_of(known, data, episodes.tolist())
    return {
        draw: DrawnFrames(
            plan.draws[draw], codes_of_clips(gather_clips(data.frames, one, length)), data.episode[one], own
        )
        for draw, one in starts.items()
    }


def draw_of_evaluation(clips: DrawnClips, length: int, frame_size: int) -> DrawnFrames:
    """Return the clips of an evaluation set.

    Raises:
        DataError: the file is damaged.
    """
    read = read_clips(clips.path, np.array(clips.starts), length, frame_size=frame_size)
    known = frames_of_file(clips.path, read_episodes(clips.path), 1)
    return DrawnFrames(
        clips, codes_of_clips(read.frames), read.episode, known.of_episodes(np.unique(read.episode), known.count)
    )


def codes_of_clips(frames_KTHWC: np.ndarray) -> np.ndarray:
    """Return the codes of clips, int16 [K, T, D]."""
    count, length = frames_KTHWC.shape[:2]
    return frame_codes(frames_KTHWC.reshape(-1, *frames_KTHWC.shape[2:])).reshape(count, length, -1)


NOTHING_TO_TELL = (
    f"the frames show fewer than {FEW_PICTURES} different pictures, so that every clip occurs again and it cannot be "
    "told which were trained on"
)


def screened(drawn: DrawnFrames, sources: Sequence[KnownFrames]) -> np.ndarray:
    """Return which clips are left out, bool [K]: they occur in training frames, or in an earlier episode of their file.

    Raises:
        TooFewClipsError: more clips are left out than a verdict can do without.
    """
    clips, count = drawn.clips, len(drawn.episode)
    copied, common = np.zeros(count, bool), np.zeros(count, bool)
    for source in sources:
        found = find_copies(drawn.codes_KTD, source)
        copied, common = copied | found.copied, common | found.common
    names = ", ".join(dict.fromkeys(one.name for one in sources))
    _refuse(copied, MOST_COPIES, clips, f"or near copies of them, are training frames of these models ({names})")
    repeated = find_copies(drawn.codes_KTD, drawn.episodes, own_episode=drawn.episode)
    again = repeated.copied & ~copied & ~common
    _refuse(again, MOST_COPIES, clips, "are near copies of clips in other held-out episodes", _EPISODES_FIX)
    common |= repeated.common
    _refuse(common, MOST_COMMON, clips, "occur in at least a quarter of the other episodes", _EPISODES_FIX)
    return copied | common | again


_FRAMES_FIX = (
    "Measure checkpoints on the frames file and the split_seed of their training, or on frames that no training has "
    "seen"
)
_EPISODES_FIX = (
    "They are not independent, so that no interval over episodes can be computed. Give copies of an episode one number "
    "in `episode`, or remove them"
)


def _refuse(out: np.ndarray, most: float, clips: DrawnClips, what: str, fix: str = _FRAMES_FIX) -> None:
    if out.sum() > most * len(out):
        raise TooFewClipsError(
            f"{int(out.sum())} of the {len(out)} clips drawn from {clips.path}, {what} (the first begins at frame "
            f"{clips.starts[int(np.argmax(out))]}); at most {most:.0%} of the clips can be left out. {fix}"
        )


def without(clips: DrawnClips, out: np.ndarray, episode: np.ndarray) -> DrawnClips:
    """Return the clips of a draw that stay; ``episode`` [K] is that of each clip."""
    kept = np.array(clips.starts)[~out]
    return DrawnClips(clips.path, tuple(kept.tolist()), len(np.unique(episode[~out])))


def screen_draws(
    drawn: Mapping[int, DrawnFrames], sources: Mapping[int, Sequence[KnownFrames]], file: KnownFrames
) -> tuple[dict[int, DrawnClips], dict[int, list[int]], str]:
    """Return the clips of each draw that stay, the first frames of those left out, and why nothing could be checked.

    ``file``: all frames of the file at hand, with which a game of few pictures is recognised.

    Raises:
        TooFewClipsError: more clips are left out than a verdict can do without.
    """
    draws, left_out = {draw: one.clips for draw, one in drawn.items()}, dict[int, list[int]]()
    if different_pictures(file.codes) < FEW_PICTURES:
        return draws, left_out, NOTHING_TO_TELL
    for draw, one in drawn.items():
        out = screened(one, sources[draw])
        if out.any():
            draws[draw] = without(one.clips, out, one.episode)
            left_out[draw] = [start for start, gone in zip(one.clips.starts, out, strict=True) if gone]
    return draws, left_out, ""


def measured_unseen(
    codes_KTD: np.ndarray, sources: Sequence[KnownFrames], unknown: Mapping[str, str], file: KnownFrames
) -> Condition:
    """The condition on clips that were measured without a run: none, or few, are in the training frames."""
    frames, files = sum(one.count for one in sources), sorted({one.name for one in sources})
    copied = np.zeros(len(codes_KTD), bool)
    for source in sources:
        copied |= find_copies(codes_KTD, source).copied
    seen = f"{int(copied.sum())} of the {len(copied)} clips, or near copies of them, are"
    where = f"in the {frames} training frames of these models ({', '.join(files)})"
    if copied.sum() > MOST_COPIES * len(copied):
        return Condition(UNSEEN, INVALID, f"{seen} {where}: an error on them says nothing about new frames")
    nothing_to_tell = NOTHING_TO_TELL if different_pictures(file.codes) < FEW_PICTURES else ""
    if unknown or nothing_to_tell:
        return Condition(UNSEEN, NOT_RUN, unknown_text(unknown, nothing_to_tell))
    return Condition(UNSEEN, PASS, f"{seen} {where}")


def record_training(
    context: RunContext, trained: TrainedOn, left_out: Mapping[int, Sequence[int]], unchecked: str
) -> dict[str, Any]:
    """Write the codes of the training frames, and return the journal's ``provenance`` of ``dataset_ready``.

    Raises:
        TooFewClipsError: a long run that trains on top of models of unknown training frames; no pass could count.
    """
    layout, settings = context.layout, context.settings
    if (trained.unknown or unchecked) and settings.trained_stages and settings.profile.kind == "longrun":
        raise TooFewClipsError(f"{unknown_text(trained.unknown, unchecked)}. A long run needs to know it")
    path = layout.training_frames
    before = (last_event(context.journal.events(), "dataset_ready") or {}).get("provenance") or {}
    if not path.is_file() or sha256_of(path) != before.get("sha256"):
        write_known(path, trained.sources, trained.unknown)
    if trained.unknown:
        context.say(f"note: {unknown_text(trained.unknown)}")
    for draw, starts in left_out.items():
        context.say(
            f"draw {draw}: {len(starts)} {'clip is' if len(starts) == 1 else 'clips are'} left out, because training "
            "frames, or another episode, show the same"
        )
    return {
        "path": path,
        "sha256": sha256_of(path),
        "frames": trained.frames,
        "files": trained.names,
        "unknown": dict(trained.unknown),
        "left_out": {str(draw): list(starts) for draw, starts in left_out.items()},
        "unchecked": unchecked,
    }
