"""Which held-out clips are measured: draw 1 by every attempt, draw 2 by the final verdict of a run that retried.

The two draws share no episode: clips of one episode resemble each other, so a second draw from the same episodes would
repeat much of the luck of the first. Draw 1 is the same for every run on the same file, whether it can retry or not,
so that models can be compared (docs/gate.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tinyworlds_gate.errors import TooFewClipsError
from tinyworlds_gate.names import ATTEMPTS, EVERYTHING, FINAL
from tinyworlds_gate.reference.data.clip_draw import draw_clips
from tinyworlds_gate.reference.data.clips import starts_in_episodes


def episodes_of_draw(held_out: Iterable[int], draw: int, seed: int) -> np.ndarray:
    """The held-out episodes of a draw, int64 ascending: a seeded half each, the odd one with the attempts."""
    ids = np.unique(np.fromiter(held_out, np.int64))
    if draw == EVERYTHING:
        return ids
    order = np.random.Generator(np.random.Philox(key=[seed, 0x64726177])).permutation(ids)
    of_attempts = len(ids) - len(ids) // 2
    return np.sort(order[:of_attempts] if draw == ATTEMPTS else order[of_attempts:])


def held_out_clips(
    path: Path, episode: np.ndarray, held_out: Iterable[int], *, length: int, count: int, seed: int, draw: int
) -> np.ndarray:
    """The first frames int64 ``[count]`` of a draw's clips, a pure function of its arguments.

    Args:
        path: the frames file, for the sentence of an error.
        episode: ``[N]``, the episode of each frame.
        held_out: the episodes that no stage trains on.
        length: frames of a clip, context and generated ones.
        count: clips to draw.
        seed: ``clip_seed``; it chooses the halves of the episodes and the clips in them.
        draw: ``EVERYTHING`` (a process that no loop started), ``ATTEMPTS`` or ``FINAL``.

    Raises:
        TooFewClipsError: the episodes of this draw hold fewer clips.
    """
    everything = tuple(held_out)
    own = episodes_of_draw(everything, draw, seed)
    starts = starts_in_episodes(episode, length, own)
    if len(starts) < count:
        raise TooFewClipsError(_too_few(path, draw, len(own), len(everything), length, len(starts), count))
    return draw_clips(starts, episode[starts], count, seed)


def _too_few(path: Path, draw: int, own: int, everything: int, length: int, found: int, count: int) -> str:
    less = f"ask for at most {found} clips (clips in inference.yaml)" if found else "lower generation_steps"
    more = f"hold out more or longer episodes (held_out_fraction in profile.yaml), or {less}"
    if draw == FINAL:
        return (
            f"{path}: this run may retrain dynamics after a failed gate, and then takes its final verdict on a second "
            f"draw of held-out clips, in episodes that no attempt has measured. It needs {count} clips of {length} "
            f"frames there, but the {_episodes(own)} kept for it, of {everything} held out, can give {found}. Allow no "
            f"retries (--max-inference-retries 0), {more}"
        )
    what = f"the {_episodes(everything)} held out"
    if draw == ATTEMPTS:
        what = f"the {_episodes(own)} that attempts measure, of {everything} held out,"
    return f"{path}: clips={count}, but {what} can give {found} clips of {length} frames; {more}"


def _episodes(count: int) -> str:
    return "1 episode" if count == 1 else f"{count} episodes"
