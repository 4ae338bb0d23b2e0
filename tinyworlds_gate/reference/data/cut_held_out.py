"""Cut held-out frames from a file before a checkout trains on all of it, and check that clips were not trained on.

tinyworlds-gate data hold-out all_frames.h5 --train zelda_frames.h5 --held-out zelda_held_out_frames.h5
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frame_objects import objects_of_frames
from tinyworlds_gate.reference.data.frames_file import (
    check_open_file,
    episode_of_frames,
    open_frames,
    remedy,
    run_starts,
    strided_indices,
)
from tinyworlds_gate.reference.data.frames_reader import read_rows
from tinyworlds_gate.reference.data.frames_writer import FramesWriter, new_frames_file, refuse_existing, require_room
from tinyworlds_gate.reference.data.publish_together import complete_earlier, publish_together, set_ready, write_locks
from tinyworlds_gate.reference.data.split import split_episodes

DEFAULT_FRACTION, DEFAULT_SPANS = 0.1, 50
_READ_FRAMES = 512
_LEAST_COMPRESSED = 0.01
"""Share of the uncompressed bytes that frames of any game take, at least."""


@dataclass(frozen=True)
class HeldOutCut:
    """Number of frames on both sides of a cut, and of held-out episodes (or spans, for a file without episodes)."""

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
    """Write the frames of ``source`` into two new files without common frames; the source is not changed.

    A file with episodes is split by episode. Otherwise the last ``fraction`` of each of ``spans`` equal spans is held
    out, and each such piece is an episode of the held-out file.

    Raises:
        DataError: the source is missing or damaged, an output exists, or a number is not allowed.

    A killed call leaves both files, or none, or the next call with the same arguments completes them.
    """
    if not 0.0 < fraction < 1.0:
        raise DataError(
            f"--fraction {fraction:g} is not allowed; it must lie between 0 and 1 (fix: {DEFAULT_FRACTION:g})"
        )
    outputs = (train, held_out)
    if train.resolve() == held_out.resolve():
        raise DataError(f"--train and --held-out are both {train}; fix: name two files")
    size = source.stat().st_size if source.is_file() else None
    arguments: dict[str, object] = {
        "source": source.name,
        "bytes": size,
        "fraction": fraction,
        "seed": seed,
        "spans": spans,
    }
    with write_locks(outputs):
        if (about := complete_earlier(outputs)) is not None and about["arguments"] == arguments:
            return HeldOutCut(**about["cut"])
        return _cut(source, outputs, fraction, seed, spans, arguments)


def _cut(
    source: Path, outputs: tuple[Path, Path], fraction: float, seed: int, spans: int, arguments: dict[str, object]
) -> HeldOutCut:
    for path in outputs:
        refuse_existing(path)
    with open_frames(source, remedy(source)) as file:
        info = check_open_file(file, source, remedy(source))
        episode = episode_of_frames(file)
        sides = _choose_sides(info.num_frames, episode, fraction, seed, spans)
        ids = sides.piece if episode is None else episode
        attrs = {key: value for key, value in info.attrs.items() if isinstance(value, int | float | str)}
        chosen = tuple(zip(outputs, (~sides.held_out, sides.held_out), strict=True))
        for path, _ in chosen:
            here = [side for other, side in chosen if other.parent.stat().st_dev == path.parent.stat().st_dev]
            count = sum(int(side.sum()) for side in here)
            require_room(path, int(_least_bytes(file["frames"]) * count / info.num_frames), f"{count} frames")
        for path, side in chosen:
            counted = {"num_frames": int(side.sum())} if "num_frames" in attrs else {}
            with new_frames_file(path, set_ready) as writer:
                writer.set_attrs({**attrs, **counted, "cut_from": source.name, "held_out": int(side is sides.held_out)})
                _copy(file, writer, np.flatnonzero(side), ids)
    cut = sides.held_out
    found = HeldOutCut(int((~cut).sum()), int(cut.sum()), len(np.unique(ids[cut])))
    publish_together(outputs, {"arguments": arguments, "cut": asdict(found)})
    return found


def _least_bytes(frames: h5py.Dataset) -> int:
    """Return what the frames of a file take when they are compressed anew, at least."""
    if frames.compression == "gzip":
        return int(0.8 * frames.id.get_storage_size())
    return int(frames.nbytes * _LEAST_COMPRESSED)


@dataclass(frozen=True)
class _Sides:
    held_out: np.ndarray
    """[N] bool."""
    piece: np.ndarray
    """[N] int64: the episode, or for a file without episodes the number of the contiguous piece."""


def _choose_sides(count: int, episode: np.ndarray | None, fraction: float, seed: int, spans: int) -> _Sides:
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
        frames = read_rows(file["frames"], low, low + _READ_FRAMES)[local]
        writer.append(frames, episode=episode[index[first:last]], **blocks)
    if "objects" in file:
        writer.append_objects(objects_of_frames(read_rows(file["objects"]), index))


def seen_clips(training: Path, held_out: Path, starts: Iterable[int], length: int, *, stride: int) -> list[int]:
    """Return those ``starts`` whose clips in ``held_out`` also occur in ``training``, byte for byte at this stride.

    Raises:
        DataError: a file is missing or damaged, or the frame sizes differ, so the frames cannot be compared.
    """
    known = _digests(training)
    with open_frames(held_out, remedy(held_out)) as file:
        info = check_open_file(file, held_out, remedy(held_out))
        with open_frames(training, remedy(training)) as other:
            check_open_file(other, training, remedy(training))
            shape = other["frames"].shape[1:]
        if shape != file["frames"].shape[1:]:
            raise DataError(
                f"{held_out} holds frames of {info.height} x {info.width} px, {training} of {shape[0]} x {shape[1]}: "
                "it is impossible to check whether a clip was trained on. Cut both from one recording with "
                "`tinyworlds-gate data hold-out`"
            )
        keep = strided_indices(info.num_frames, stride, episode_of_frames(file))
        frames, cache = file["frames"], dict[int, bytes]()

        def digest(index: int) -> bytes:
            if index not in cache:
                cache[index] = hashlib.blake2b(read_rows(frames, index, index + 1).tobytes(), digest_size=16).digest()
            return cache[index]

        places: dict[bytes, list[int]] = {}
        for place, one in enumerate(known):
            places.setdefault(one, []).append(place)
        return [
            start
            for start in sorted(set(starts))
            if _occurs(known, places, [digest(int(at)) for at in keep[start : start + length]], stride)
        ]


def _occurs(known: list[bytes], places: dict[bytes, list[int]], clip: list[bytes], stride: int) -> bool:
    if any(one not in places for one in clip):
        return False
    reach = (len(clip) - 1) * stride
    return any(
        place + reach < len(known) and all(known[place + step * stride] == one for step, one in enumerate(clip))
        for place in places[clip[0]]
    )


def _digests(path: Path) -> list[bytes]:
    with open_frames(path, remedy(path)) as file:
        check_open_file(file, path, remedy(path))
        frames, found = file["frames"], list[bytes]()
        for low in range(0, frames.shape[0], _READ_FRAMES):
            block = read_rows(frames, low, low + _READ_FRAMES)
            found += [hashlib.blake2b(frame.tobytes(), digest_size=16).digest() for frame in block]
    return found
