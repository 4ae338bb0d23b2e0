"""Convert a folder of videos with the actions of their frames: ``tinyworlds-gate data import FOLDER --name foo``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.actions_csv import entries_of, find_csv, read_actions_csv
from tinyworlds_gate.reference.data.datasets import dataset_path
from tinyworlds_gate.reference.data.frames_writer import new_frames_file, refuse_existing, require_room, write_lock
from tinyworlds_gate.reference.data.game_table import DEFAULT_FRAME_SIZE
from tinyworlds_gate.reference.data.import_video import (
    LEAST_COMPRESSED,
    Decoded,
    Imported,
    centre_square,
    open_video,
    require_frame_size,
    require_usable_name,
    square_batches,
    video_stream,
)
from tinyworlds_gate.reference.data.memory_limit import frames_bytes
from tinyworlds_gate.reference.data.progress import Progress

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")


def import_folder(
    folder: Path,
    name: str,
    *,
    project_root: Path,
    frame_size: int = DEFAULT_FRAME_SIZE,
    progress: Progress | None = None,
) -> Imported:
    """Decode the videos of ``folder`` into ``data/<name>_frames.h5``, which must not exist yet, with their actions.

    Every frame is kept, cropped to its centre square and resized. Each video is an episode, in the order of the CSV
    file. One frame is one step of the game, so that the file is read at every rate frame by frame.

    Raises:
        DataError: the name cannot be used, the CSV file is wrong, or its rows are not those of the videos' frames.
    """
    require_usable_name(name)
    require_frame_size(frame_size)
    path = dataset_path(project_root, name, frame_size)
    refuse_existing(path)
    table = find_csv(folder)
    actions = read_actions_csv(table)
    _require_videos(folder, table, actions)
    with write_lock(path):
        count = sum(len(own) for own in actions.values())
        require_room(path, int(count * frames_bytes(1, frame_size) * LEAST_COMPRESSED), f"{count} frames")
        seen: set[str] = set()
        with new_frames_file(path) as writer:
            writer.set_attrs({"game": name.lower(), "frame_size": frame_size, "source": folder.resolve().name})
            for episode, (video, own) in enumerate(actions.items()):
                done = 0
                for batch in _frames(folder / video, table, own, frame_size, seen):
                    rows = slice(done, done + len(batch))
                    done += len(batch)
                    more = {} if len(actions) == 1 else {"episode": np.full(len(batch), episode, np.int32)}
                    writer.append(batch, actions=own[rows], **more)
                    if progress is not None:
                        progress(writer.num_frames, count)
    return Imported(path, sorted(seen))


def _frames(video: Path, table: Path, actions: np.ndarray, frame_size: int, seen: set[str]) -> Iterator[np.ndarray]:
    """Yield the frames of a video in batches.

    Raises:
        DataError: it has more or fewer frames than there are actions.
    """
    with open_video(video) as container:
        decoded = Decoded(container, video_stream(container, video), video)
        count = 0

        def pictures() -> Iterator[np.ndarray]:
            nonlocal count
            for _, frame in decoded.frames():
                if count == len(actions):
                    raise DataError(f"{table}: frame {count} of {video.name} has no row; add a row for each frame")
                count += 1
                yield centre_square(decoded.upright(frame))

        yield from square_batches(pictures(), frame_size)
        if count < len(actions):
            end = f": it was cut off ({decoded.after_end})" if decoded.after_end is not None else ""
            raise DataError(
                f"{table} has a row for frame {count} of {video.name}, which has only {count} frames{end}; remove the "
                "rows of frames that do not exist, or restore the video"
            )
        seen.update(f"{video.name}: {note}" for note in decoded.seen)


def _require_videos(folder: Path, table: Path, actions: dict[str, np.ndarray]) -> None:
    for video in actions:
        if not (folder / video).is_file():
            raise DataError(
                f"{table} has rows for {video}, which is not in {folder}; add the video, or remove the rows"
            )
    for path in entries_of(folder):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.name not in actions:
            raise DataError(
                f"{table} has no row for {path.name}; add a row for each of its frames, or move the video away"
            )
