"""Frames that no stage trains on, for a checkout that trains on its whole file: cut off before, and held to be unseen.

tinyworlds-gate data hold-out all_frames.h5 --train zelda_frames.h5 --held-out zelda_held_out_frames.h5
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frames_file import (
    checked_frames,
    episode_of_frames,
    kept_indices,
    opened_frames,
    remedy,
    run_starts,
)
from tinyworlds_gate.reference.data.frames_writer import FramesWriter, exclusive, new_frames_file, refuse_existing
from tinyworlds_gate.reference.data.split import split_episodes

DEFAULT_FRACTION, DEFAULT_SPANS = 0.1, 50
_READ_FRAMES = 512


@dataclass(frozen=True)
class HeldOutCut:
    """Frames on either side of a cut, and the episodes (or spans of a file that knows none) that were held out."""

    train_frames: int
    held_out_frames: int
    held_out_episodes: int


def hold_out(
    source: Path,
    train: Path,
    held_out: Path,
    *,
    fraction: float = DEFAULT_FRACTION,
    seed: int = 0,
    spans: int = DEFAULT_SPANS,
) -> HeldOutCut:
    """Write the frames of ``source`` into two new files that share none; the source stays as it is.

    A file that knows its episodes is split by them. Of another one, the last ``fraction`` of each of ``spans`` equal
    spans is held out; each such piece is an episode of the held-out file.

    Raises:
        DataError: the source is missing or damaged, a file is there already, or a number is not allowed.
    """
    if not 0.0 < fraction < 1.0:
        raise DataError(
            f"--fraction {fraction:g} is not allowed; it must lie between 0 and 1 (fix: {DEFAULT_FRACTION:g})"
        )
    for path in (train, held_out):
        refuse_existing(path)
    with opened_frames(source, remedy(source)) as file:
        info = checked_frames(file, source, remedy(source))
        episode = episode_of_frames(file)
        own = _own_side(info.num_frames, episode, fraction, seed, spans)
        ids = own.piece if episode is None else episode
        attrs = {key: value for key, value in info.attrs.items() if isinstance(value, int | float | str)}
        for path, side in ((train, ~own.held_out), (held_out, own.held_out)):
            with exclusive(path), new_frames_file(path) as writer:
                writer.set_attrs({**attrs, "cut_from": source.name, "held_out": int(side is own.held_out)})
                _copy(file, writer, np.flatnonzero(side), ids)
    cut = own.held_out
    return HeldOutCut(int((~cut).sum()), int(cut.sum()), len(np.unique(ids[cut])))


@dataclass(frozen=True)
class _Sides:
    held_out: np.ndarray
    """[N] bool."""
    piece: np.ndarray
    """[N] int64: a number for each contiguous piece, of a file that knows no episodes."""


def _own_side(count: int, episode: np.ndarray | None, fraction: float, seed: int, spans: int) -> _Sides:
    if episode is not None:
        return _Sides(np.isin(episode, split_episodes(episode, fraction, seed).held_out), episode)
    if not 1 <= spans <= count // 4:
        raise DataError(
            f"--spans {spans} is not allowed for {count} frames; give 1 to {count // 4}, so that a span has 4 frames"
        )
    span = np.arange(count) * spans // count
    starts = run_starts(span)
    length = np.diff(np.append(starts, count))
    within = np.arange(count) - starts[span]
    cut = within >= np.maximum(1, np.round(length * (1.0 - fraction)))[span]
    return _Sides(cut, 2 * span + cut)


def _copy(file: h5py.File, writer: FramesWriter, index: np.ndarray, episode: np.ndarray) -> None:
    extra = [name for name in ("actions", "player_position") if name in file]
    for low in range(0, file["frames"].shape[0], _READ_FRAMES):
        first, last = np.searchsorted(index, (low, low + _READ_FRAMES))
        if first == last:
            continue
        local = index[first:last] - low
        blocks = {name: file[name][low : low + _READ_FRAMES][local] for name in extra}
        writer.append(file["frames"][low : low + _READ_FRAMES][local], episode=episode[index[first:last]], **blocks)


def seen_clips(training: Path, held_out: Path, starts: Iterable[int], length: int, *, stride: int) -> list[int]:
    """The clips of ``held_out`` (their first kept frames) that stand in ``training`` too, byte for byte at this stride.

    Raises:
        DataError: a file is missing or damaged, or the two hold frames of different sizes, so nothing can be compared.
    """
    known = _digests(training)
    with opened_frames(held_out, remedy(held_out)) as file:
        info = checked_frames(file, held_out, remedy(held_out))
        with opened_frames(training, remedy(training)) as other:
            shape = other["frames"].shape[1:]
        if shape != file["frames"].shape[1:]:
            raise DataError(
                f"{held_out} holds frames of {info.height} x {info.width} px, {training} of {shape[0]} x {shape[1]}: "
                "whether a clip was trained on cannot be seen. Cut both from one recording with `tinyworlds-gate "
                "data hold-out`"
            )
        keep = kept_indices(info.num_frames, stride, episode_of_frames(file))
        frames, cache = file["frames"], dict[int, bytes]()

        def digest(index: int) -> bytes:
            if index not in cache:
                cache[index] = hashlib.blake2b(frames[index].tobytes(), digest_size=16).digest()
            return cache[index]

        places: dict[bytes, list[int]] = {}
        for place, one in enumerate(known):
            places.setdefault(one, []).append(place)
        return [
            start
            for start in sorted(set(starts))
            if _stands_in(known, places, [digest(int(at)) for at in keep[start : start + length]], stride)
        ]


def _stands_in(known: list[bytes], places: dict[bytes, list[int]], clip: list[bytes], stride: int) -> bool:
    if any(one not in places for one in clip):
        return False
    reach = (len(clip) - 1) * stride
    return any(
        place + reach < len(known) and all(known[place + step * stride] == one for step, one in enumerate(clip))
        for place in places[clip[0]]
    )


def _digests(path: Path) -> list[bytes]:
    with opened_frames(path, remedy(path)) as file:
        checked_frames(file, path, remedy(path))
        frames, found = file["frames"], list[bytes]()
        for low in range(0, frames.shape[0], _READ_FRAMES):
            block = frames[low : low + _READ_FRAMES]
            found += [hashlib.blake2b(frame.tobytes(), digest_size=16).digest() for frame in block]
    return found
