"""Convert an HDF5 file of another program: ``tinyworlds-gate data import FILE.h5 --name foo``.

Layouts: TinyWorlds' (``frames`` alone), that of MiniGrid recordings (``frames actions episode_starts
episode_lengths``), and this package's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.datasets import dataset_path
from tinyworlds_gate.reference.data.frame_objects import OBJECT_IN_FRAME
from tinyworlds_gate.reference.data.frames_file import (
    FramesFileInfo,
    check_open_file,
    episode_of_frames,
    open_frames,
    read_actions,
    read_stored,
    resize_frames,
)
from tinyworlds_gate.reference.data.frames_reader import BLOCK_FRAMES, read_rows
from tinyworlds_gate.reference.data.frames_writer import new_frames_file, refuse_existing, require_room, write_lock
from tinyworlds_gate.reference.data.import_video import (
    BATCH_FRAMES,
    LEAST_COMPRESSED,
    Imported,
    require_frame_size,
    require_usable_name,
)
from tinyworlds_gate.reference.data.memory_limit import frames_bytes, require_memory
from tinyworlds_gate.reference.data.progress import Progress
from tinyworlds_gate.run.regular_file import regular_file_problem

SIGNATURE = b"\x89HDF\r\n\x1a\n"
FIX = "fix: correct the file, or choose another"
READ = ("frames", "actions", "episode", "episode_starts", "episode_lengths", "player_position", "objects")
"""What is taken from a file."""


def is_hdf5(path: Path) -> bool:
    """Whether a path has the name or the first bytes of an HDF5 file; a missing one by its name."""
    if path.suffix.lower() in (".h5", ".hdf5"):
        return True
    if regular_file_problem(path) is not None:
        return False
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def import_hdf5(
    source: Path,
    name: str,
    *,
    project_root: Path,
    frame_size: int | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Copy the frames of ``source`` with what it records of them into ``data/<name>_frames.h5``, which must not exist.

    Frames are cropped to their centre square, and resized where ``frame_size`` (default: their own size) differs.

    Raises:
        DataError: the name cannot be used, or the file is missing, damaged or in no known layout.
    """
    require_usable_name(name)
    path = dataset_path(project_root, name, frame_size or 0)
    refuse_existing(path)
    with open_frames(source, FIX) as file:
        info = check_open_file(file, source, FIX)
        size = frame_size or min(info.height, info.width)
        require_frame_size(size)
        per_frame = _per_frame(file, source)
        objects = _objects(file, info, source, size)
        with write_lock(path):
            needed = int(info.num_frames * frames_bytes(1, size) * LEAST_COMPRESSED)
            require_room(path, needed, f"{info.num_frames} frames")
            with new_frames_file(path) as writer:
                writer.set_attrs(_attrs(info, name, size, source, with_actions="actions" in per_frame))
                for low, batch in _batches(file["frames"], size):
                    rows = slice(low, low + len(batch))
                    writer.append(batch, **{key: values[rows] for key, values in per_frame.items()})
                    if progress is not None:
                        progress(writer.num_frames, info.num_frames)
                if objects is not None:
                    writer.append_objects(objects)
        return Imported(path, _notes(file, info, per_frame))


def _per_frame(file: h5py.File, source: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    actions, episode = read_actions(file, source, FIX), episode_of_frames(file)
    if actions is not None:
        found["actions"] = actions
    if episode is not None:
        found["episode"] = np.unique(episode, return_inverse=True)[1].astype(np.int32)
    if "player_position" in file:
        found["player_position"] = read_stored(file, "player_position", source, FIX)
    return found


def _objects(file: h5py.File, info: FramesFileInfo, source: Path, size: int) -> np.ndarray | None:
    """Return the objects whose middle is in the cropped frames, in pixels of the new size."""
    if "objects" not in file:
        return None
    recorded = read_stored(file, "objects", source, FIX)
    table = np.empty(len(recorded), OBJECT_IN_FRAME)
    try:
        for field in OBJECT_IN_FRAME.names or ():
            table[field] = recorded[field]
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{source}: `objects` has the types {recorded.dtype}; {OBJECT_IN_FRAME} are needed") from error
    frame = table["frame"]
    if len(frame) and (frame[0] < 0 or frame[-1] >= info.num_frames or (np.diff(frame) < 0).any()):
        raise DataError(
            f"{source}: the frames of `objects` must ascend from 0 to {info.num_frames - 1} at most; sort the table"
        )
    side = min(info.height, info.width)
    x, y = table["x"] - (info.width - side) // 2, table["y"] - (info.height - side) // 2
    table["x"], table["y"] = x * (size / side), y * (size / side)
    inside: np.ndarray = table[(x >= 0) & (x <= side) & (y >= 0) & (y <= side)]
    return inside


def _batches(frames: h5py.Dataset, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the index of a batch's first frame, and its frames as centre squares of ``size`` pixels."""
    count, height, width = frames.shape[:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    step = min(BLOCK_FRAMES, max(BATCH_FRAMES, (frames.chunks or (BATCH_FRAMES,))[0]))
    require_memory(2 * step * height * width * 3, f"frames of {height} x {width} px", "a file of smaller frames")
    for low in range(0, count, step):
        block = read_rows(frames, low, low + step)[:, top : top + side, left : left + side]
        yield low, block if side == size else resize_frames(block, size)


def _attrs(info: FramesFileInfo, name: str, size: int, source: Path, *, with_actions: bool) -> dict[str, Any]:
    """Return the attributes: those of the source; `game` where a frame is one step of a game."""
    kept = {key: value for key, value in info.attrs.items() if isinstance(value, int | float | str)}
    game = {"game": name.lower()} if with_actions else {}
    return {**game, **kept, "frame_size": size, "source": source.name}


def _notes(file: h5py.File, info: FramesFileInfo, per_frame: dict[str, np.ndarray]) -> list[str]:
    notes = []
    if info.height != info.width:
        notes.append(f"its frames are {info.height} x {info.width} px, and were cropped to their centre square")
    if "fps" not in info.attrs and "game" not in info.attrs and "actions" not in per_frame:
        notes.append("it records neither a rate nor actions, so it is read as 60 frames per second, as TinyWorlds does")
    others = sorted(str(name) for name in file if name not in READ)
    if others:
        more = ", …" if len(others) > 8 else ""
        notes.append(f"not taken: {', '.join(f'`{name}`' for name in others[:8])}{more}")
    return notes
