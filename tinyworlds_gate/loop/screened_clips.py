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
from tinyworlds_gate.reference.data.near_copies import (
    FEW_PICTURES,
    MOST_COPIES,
    Chance,
    different_pictures,
    shared_by_chance,
    shared_courses,
)
from tinyworlds_gate.run.journal import last_event

MOST_LEFT_OUT = 0.75
"""A draw is refused when a larger share of its clips is left out, also where independent episodes share as much."""


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


def screened(drawn: DrawnFrames, sources: Sequence[tuple[KnownFrames, Chance]], own: Chance) -> np.ndarray:
    """Return which clips are left out, bool [K]: they occur in training frames, or in an earlier episode of their file.

    ``sources``: training frames, and what their episodes share by chance; ``own``: the same for the file at hand.

    Raises:
        TooFewClipsError: more clips occur there than chance explains, or than a verdict can do without.
    """
    clips, out = drawn.clips, np.zeros(len(drawn.episode), bool)
    names = ", ".join(dict.fromkeys(one.name for one, _ in sources))
    for source, chance in sources:
        courses = shared_courses(drawn.codes_KTD, source)
        what = f"or near copies of them, are training frames of these models ({names})"
        _require_chance(courses, chance, drawn, what, _FRAMES_FIX)
        out |= courses >= chance.least
    again = shared_courses(drawn.codes_KTD, drawn.episodes, drawn.episode, earlier=True) * ~out
    _require_chance(again, own, drawn, "are near copies of clips in other held-out episodes", _EPISODES_FIX)
    out |= again >= own.least
    if out.mean() > MOST_LEFT_OUT:
        raise TooFewClipsError(
            f"{int(out.sum())} of the {len(out)} clips drawn from {clips.path} occur in other episodes as well, in "
            f"training frames or held out (the first begins at frame {clips.starts[int(np.argmax(out))]}); at most "
            f"{MOST_LEFT_OUT:.0%} of the clips can be left out. Of the clips of any episode, {own.rate(1.0):.0%} occur "
            "as a whole in another one: the file repeats itself, so that a model can know every future by heart. If "
            "the game is deterministic, record it from more beginnings or with random actions. If episodes are copies, "
            "remove them, or give them one number in `episode`"
        )
    return out


_FRAMES_FIX = (
    "Measure checkpoints on the frames file and the split_seed of their training, or on frames that no training has "
    "seen"
)
_EPISODES_FIX = (
    "They are not independent, so that no interval over episodes can be computed. Give copies of an episode one number "
    "in `episode`, or remove them"
)


def _require_chance(courses: np.ndarray, chance: Chance, drawn: DrawnFrames, what: str, fix: str) -> None:
    share = chance.unexplained(courses, drawn.episode)
    if share is None:
        return
    clips, out, rate = drawn.clips, courses >= share, chance.rate(share)
    most = chance.most(share, len(np.unique(drawn.episode)))
    why = f", since independent episodes have as much in common in {rate:.0%} of the clips" if rate else ""
    raise TooFewClipsError(
        f"{int(out.sum())} of the {len(out)} clips drawn from {clips.path}, {what} (the first begins at frame "
        f"{clips.starts[int(np.argmax(out))]}); at most {most:.0%} of the clips can be left out{why}. "
        f"{fix}"
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
    length = next((one.codes_KTD.shape[1] for one in drawn.values()), 0)
    known = {id(one): one for found in sources.values() for one in found}
    chances = {key: shared_by_chance(one, length) for key, one in known.items()}
    same_file = [chances[key] for key, one in known.items() if one.name == file.name]
    own = same_file[0] if same_file else shared_by_chance(file, length)
    for draw, one in drawn.items():
        out = screened(one, [(source, chances[id(source)]) for source in sources[draw]], own)
        if out.any():
            draws[draw] = without(one.clips, out, one.episode)
            left_out[draw] = [start for start, gone in zip(one.clips.starts, out, strict=True) if gone]
    return draws, left_out, ""


def measured_unseen(
    codes_KTD: np.ndarray,
    sources: Sequence[KnownFrames],
    unknown: Mapping[str, str],
    file: KnownFrames,
    *,
    episode: np.ndarray,
) -> Condition:
    """The condition on clips [K] measured without a run: none, or few, are in the training frames."""
    frames, files = sum(one.count for one in sources), sorted({one.name for one in sources})
    seen, unexplained, rate = np.zeros(len(codes_KTD), bool), False, 0.0
    for source in sources:
        courses, chance = shared_courses(codes_KTD, source), shared_by_chance(source, codes_KTD.shape[1])
        seen |= courses >= chance.least
        unexplained |= chance.unexplained(courses, episode) is not None
        rate = max(rate, chance.rate(chance.least))
    where = (
        f"{int(seen.sum())} of the {len(seen)} clips, or near copies of them, are in the {frames} training frames of "
        f"these models ({', '.join(files)})"
    )
    if unexplained or seen.mean() > MOST_LEFT_OUT:
        return Condition(UNSEEN, INVALID, f"{where}: an error on them says nothing about new frames")
    unchecked = NOTHING_TO_TELL if different_pictures(file.codes) < FEW_PICTURES else ""
    if seen.mean() > MOST_COPIES:
        unchecked = f"{where}, and clips of independent episodes of them are too ({rate:.0%})"
    if unknown or unchecked:
        return Condition(UNSEEN, NOT_RUN, unknown_text(unknown, unchecked))
    return Condition(UNSEEN, PASS, where)


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
