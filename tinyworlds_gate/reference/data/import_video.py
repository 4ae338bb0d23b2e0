"""Convert a video to a frames file: ``tinyworlds-gate data import VIDEO.mp4 --name foo``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.datasets import CRAFTER, dataset_path
from tinyworlds_gate.reference.data.frames_file import resize_frames
from tinyworlds_gate.reference.data.frames_writer import new_frames_file, refuse_existing, require_room, write_lock
from tinyworlds_gate.reference.data.memory_limit import frames_bytes, require_memory
from tinyworlds_gate.reference.data.progress import Progress

DEFAULT_FPS = 15
"""Frames per second at which TinyWorlds reads its games."""

MIN_FRAME_SIZE = 8
_BATCH = 64
_LEAST_COMPRESSED = 0.01
"""Share of the uncompressed bytes that frames of any game take, at least."""


def import_video(
    video: Path,
    name: str,
    *,
    project_root: Path,
    frame_size: int = 128,
    fps: float | None = None,
    progress: Progress | None = None,
) -> Path:
    """Decode ``video`` into ``data/<name>_frames.h5`` and return that path, which must not exist yet.

    Each frame is cropped to its centre square and resized to ``frame_size`` pixels (bilinear, antialiased). ``fps``
    frames per second are selected by their timestamps (default: 15, or the video's rate if that is lower); the rate is
    recorded, so that the file is later read at the right stride. Raises ``DataError`` when the file is missing, is not
    a video, has no frame, or has a lower rate than ``fps``.
    """
    if name.upper() == CRAFTER:
        raise DataError(f"--name {name} is reserved for the generated dataset; fix: choose another name")
    path = dataset_path(project_root, name, frame_size)
    if frame_size < MIN_FRAME_SIZE:
        raise DataError(f"--frame-size {frame_size} is not allowed; at least {MIN_FRAME_SIZE} pixels (fix: 128)")
    require_memory(
        frames_bytes(2 * _BATCH, frame_size),
        f"--frame-size {frame_size} with {_BATCH} frames at once",
        "a smaller --frame-size, such as 128",
    )
    if not video.is_file():
        raise DataError(f"{video}: there is no such video file; fix: check the path")
    refuse_existing(path)
    with write_lock(path), _open_video(video) as container:
        stream, rate = _stream_and_rate(container, video, fps)
        count = max(0, container.duration or 0) * rate // 1_000_000
        require_room(path, int(count * frames_bytes(1, frame_size) * _LEAST_COMPRESSED), f"{count:.0f} frames")
        with new_frames_file(path) as writer:
            writer.set_attrs({"game": name.lower(), "fps": rate, "frame_size": frame_size, "source": video.name})
            for batch in _batches(_kept_frames(container, stream, rate, video), frame_size):
                writer.append(batch)
                if progress is not None:
                    progress(writer.num_frames, 0)
    return path


def _open_video(video: Path) -> Any:
    import av

    try:
        return av.open(str(video))
    except av.error.FFmpegError as error:
        raise DataError(
            f"{video} is not a video that can be opened ({error.strerror}); fix: convert it to MP4"
        ) from error


def _stream_and_rate(container: Any, video: Path, fps: float | None) -> tuple[Any, float]:
    if not container.streams.video:
        raise DataError(f"{video} has no video stream (sound only?); fix: choose a file with pictures")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    own = float(stream.average_rate) if stream.average_rate else float(DEFAULT_FPS)
    rate = min(DEFAULT_FPS, own) if fps is None else fps
    if not 0 < rate <= own * 1.001:
        raise DataError(
            f"--fps {rate:g} is not allowed: {video.name} has {own:g} frames per second; "
            f"fix: --fps {min(own, DEFAULT_FPS):g}"
        )
    return stream, rate


def _kept_frames(container: Any, stream: Any, rate: float, video: Path) -> Iterator[np.ndarray]:
    """Yield uint8 [H, W, 3]: the first frame at or after each multiple of 1 / rate seconds."""
    import av

    first: float | None = None
    kept = 0
    try:
        for frame in container.decode(stream):
            if frame.time is None:
                continue
            first = frame.time if first is None else first
            if frame.time - first >= kept / rate - 1e-4:
                kept += 1
                yield frame.to_ndarray(format="rgb24")
    except av.error.FFmpegError as error:
        raise DataError(
            f"{video} breaks off or is damaged after {kept} kept frames ({error.strerror}); nothing was written; "
            "fix: repair the video, or cut it before the damage"
        ) from error


def _batches(frames: Iterator[np.ndarray], frame_size: int) -> Iterator[np.ndarray]:
    batch: list[np.ndarray] = []
    for frame in frames:
        batch.append(centre_square(frame))
        if len(batch) == _BATCH:
            yield resize_frames(np.stack(batch), frame_size)
            batch = []
    if batch:
        yield resize_frames(np.stack(batch), frame_size)


def centre_square(frame: np.ndarray) -> np.ndarray:
    """Cut the largest centred square out of a frame [H, W, 3]."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return frame[top : top + side, left : left + side]
