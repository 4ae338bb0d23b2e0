"""Convert a video to a frames file: ``tinyworlds-gate data import VIDEO.mp4 --name foo``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.datasets import dataset_path, made_by_runs
from tinyworlds_gate.reference.data.frames_file import PSEUDO_EPISODE_FRAMES, resize_frames
from tinyworlds_gate.reference.data.frames_writer import new_frames_file, refuse_existing, require_room, write_lock
from tinyworlds_gate.reference.data.memory_limit import frames_bytes, require_memory
from tinyworlds_gate.reference.data.progress import Progress
from tinyworlds_gate.reference.data.video_timeline import Timeline

DEFAULT_FPS = 15
"""Frames per second at which TinyWorlds reads its games."""

MIN_FRAME_SIZE = 8
BATCH_FRAMES = 64
LEAST_COMPRESSED = 0.01
"""Share of the uncompressed bytes that frames of any game take, at least."""
_HIGHEST_RATE = 240.0
"""Frames per second; a container that states more states the unit of its clock."""
_CUT_OFF_S = 0.5
"""A recording that ends this much earlier than it states was cut off."""
_MOST_BREAKS_SHOWN = 3
LEAST_EPISODES = 8


class Imported(NamedTuple):
    """A frames file that was made of a video, and what was done that its user may not expect."""

    path: Path
    notes: list[str]


def import_video(
    video: Path,
    name: str,
    *,
    project_root: Path,
    frame_size: int = 128,
    fps: float | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Decode ``video`` into ``data/<name>_frames.h5``, which must not exist yet.

    Each frame is turned and stretched as a player shows it, cropped to its centre square and resized to ``frame_size``
    pixels (bilinear, antialiased). ``fps`` frames per second are kept, those that a player shows at equal intervals
    (default: 15, or the video's rate if that is lower). The rate is recorded, so that the file is later read at the
    right stride. A new episode begins where the clock goes back, stands for more than a second, or the size changes.

    Raises:
        DataError: the name cannot be used; the file is missing, is not a video, has no frame, is damaged before its
            end, or has a lower rate than ``fps``.
    """
    require_usable_name(name)
    path = dataset_path(project_root, name, frame_size)
    require_frame_size(frame_size)
    if not video.is_file():
        raise DataError(f"{video}: there is no such video file; fix: check the path")
    refuse_existing(path)
    with write_lock(path), open_video(video) as container:
        stream = video_stream(container, video)
        rate = _chosen_rate(stream, video, fps)
        count = max(0, container.duration or 0) * rate // 1_000_000
        require_room(path, int(count * frames_bytes(1, frame_size) * LEAST_COMPRESSED), f"{count:.0f} frames")
        decoded = Decoded(container, stream, video)
        timeline = Timeline(rate)
        with new_frames_file(path) as writer:
            writer.set_attrs({"game": name.lower(), "fps": rate, "frame_size": frame_size, "source": video.name})
            recordings: list[int] = []
            for batch in square_batches(_pictures(timeline, decoded, recordings), frame_size):
                writer.append(batch)
                if progress is not None:
                    progress(writer.num_frames, 0)
            if timeline.breaks:
                writer.add("episode", episodes_of(np.array(recordings)))
        return Imported(path, _notes(timeline, decoded, container))


def episodes_of(recording: np.ndarray) -> np.ndarray:
    """Return the episode of each frame, int32 [N], from the number of its unbroken recording.

    Fewer than 8 recordings are divided into blocks of about 256 frames, so that some can be held out.
    """
    counts = np.bincount(recording)
    block = min(PSEUDO_EPISODE_FRAMES, max(1, len(recording) // LEAST_EPISODES))
    parts = np.maximum(1, counts // block) if len(counts) < LEAST_EPISODES else np.ones(len(counts), int)
    episodes = [np.arange(count) * part // max(1, count) for count, part in zip(counts, parts, strict=True)]
    return (np.concatenate(episodes) + np.repeat(np.cumsum(parts) - parts, counts)).astype(np.int32)


def require_usable_name(name: str) -> None:
    """Raise DataError if ``dataset: NAME`` could not be written into ``configs/training.yaml``."""
    import yaml

    if made_by_runs(name):
        raise DataError(f"--name {name} is reserved for the generated dataset; fix: choose another name")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise DataError(
            f"--name {name} cannot be used as `dataset: {name.upper()}`: a name begins with a letter, and has letters, "
            f"digits, - and _ only; fix: --name game_{re.sub('[^A-Za-z0-9_-]+', '_', name)}"
        )
    for written in (name, name.upper(), name.lower()):
        if not isinstance(yaml.safe_load(written), str):
            raise DataError(
                f"--name {name} cannot be used: YAML reads `dataset: {written}` as {yaml.safe_load(written)}, not as "
                f"text; fix: --name {name}_game"
            )


def require_frame_size(frame_size: int) -> None:
    """Raise ``DataError`` for a frame size that is too small, or that memory cannot hold."""
    if frame_size < MIN_FRAME_SIZE:
        raise DataError(f"--frame-size {frame_size} is not allowed; at least {MIN_FRAME_SIZE} pixels (fix: 128)")
    require_memory(
        frames_bytes(2 * BATCH_FRAMES, frame_size),
        f"--frame-size {frame_size} with {BATCH_FRAMES} frames at once",
        "a smaller --frame-size, such as 128",
    )


def open_video(video: Path) -> Any:
    """Return the open container of a video; ``DataError`` where it is none."""
    import av

    try:
        return av.open(str(video))
    except av.error.FFmpegError as error:
        raise DataError(
            f"{video} is not a video that can be opened ({error.strerror}); fix: convert it to MP4"
        ) from error


def video_stream(container: Any, video: Path) -> Any:
    """Return the stream of pictures; ``DataError`` where there is none."""
    if not container.streams.video:
        raise DataError(f"{video} has no video stream (sound only?); fix: choose a file with pictures")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _chosen_rate(stream: Any, video: Path, fps: float | None) -> float:
    own = _own_rate(stream)
    rate = min(DEFAULT_FPS, own) if fps is None else fps
    if not 0 < rate <= own * 1.001:
        raise DataError(
            f"--fps {rate:g} is not allowed: {video.name} has {own:g} frames per second; "
            f"fix: --fps {min(own, DEFAULT_FPS):g}"
        )
    return rate


def _own_rate(stream: Any) -> float:
    """Return the frames per second of a stream where it moves; its average includes pauses."""
    stated = [float(rate) for rate in (stream.average_rate, stream.base_rate) if rate]
    return max([rate for rate in stated if rate <= _HIGHEST_RATE], default=float(DEFAULT_FPS))


@dataclass
class Decoded:
    """The frames of a video with their times, and what was found in it."""

    container: Any
    stream: Any
    video: Path
    untimed: int = 0
    """Frames without a time."""
    after_end: str | None = None
    """The error at the end of a file that was cut off."""
    seen: set[str] = field(default_factory=set)
    """What was turned or stretched, as words."""

    def frames(self) -> Iterator[tuple[float, Any]]:
        """Yield each frame, as it was decoded, with its time in seconds.

        Raises:
            DataError: the file is damaged, and further frames follow.
        """
        step, last, count = 1 / _own_rate(self.stream), None, 0
        for frame in self._decoded():
            if self.after_end is not None:
                raise DataError(
                    f"{self.video} is damaged after {count} of its frames ({self.after_end}); nothing was written; "
                    "fix: repair the video, or cut it before the damage"
                )
            time = frame.time
            if time is None:
                self.untimed += 1
                time = 0.0 if last is None else last + step
            count, last = count + 1, time
            yield time, frame

    def _decoded(self) -> Iterator[Any]:
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
                frames = packet.decode() if packet is not None else []
            except av.error.FFmpegError as error:
                self.after_end = self.after_end or str(error.strerror)
                continue
            if packet is None:
                return
            yield from frames

    def upright(self, frame: Any) -> np.ndarray:
        """Return a frame as a player shows it, uint8 [H, W, 3]."""
        ratio = self.stream.sample_aspect_ratio
        if ratio and ratio > 0 and ratio != 1:
            self.seen.add(f"its pixels are {ratio.numerator}:{ratio.denominator} wide, and were stretched to squares")
            frame = frame.reformat(width=max(1, round(frame.width * float(ratio))), height=frame.height)
        picture = frame.to_ndarray(format="rgb24")
        turns = round(frame.rotation / 90) % 4
        if turns:
            self.seen.add(f"it is turned by {frame.rotation:g} degrees, as its player shows it")
        return np.rot90(picture, turns)


def _pictures(timeline: Timeline, decoded: Decoded, recordings: list[int]) -> Iterator[np.ndarray]:
    """Yield the centre square of each kept frame, and append the number of its recording."""
    for frame, recording in timeline.kept_frames(decoded.frames()):
        recordings.append(recording)
        yield centre_square(decoded.upright(frame))


def _notes(timeline: Timeline, decoded: Decoded, container: Any) -> list[str]:
    """Return sentences on what was done that a user may not expect."""
    notes = sorted(decoded.seen)
    if decoded.untimed:
        notes.append(
            f"{decoded.untimed} frames have no time; they were taken as {_own_rate(decoded.stream):g} frames per second"
        )
    if timeline.breaks:
        shown = "; ".join(one.sentence() for one in timeline.breaks[:_MOST_BREAKS_SHOWN])
        more = len(timeline.breaks) - _MOST_BREAKS_SHOWN
        shown += f"; and {more} more" if more > 0 else ""
        notes.append(f"a new episode begins at each of {len(timeline.breaks)} breaks: {shown}")
    stated_s = max((container.duration or 0) / 1e6, decoded.stream.frames / _own_rate(decoded.stream))
    ended_s = (timeline.last_s or 0.0) - (container.start_time or 0) / 1e6
    if decoded.after_end is not None:
        notes.append(f"the file ends within a frame after {ended_s:.1f} s ({decoded.after_end}): it was cut off")
    elif not timeline.breaks and ended_s < stated_s - _CUT_OFF_S:
        notes.append(f"the file states {stated_s:.1f} s and its pictures end after {ended_s:.1f} s: it was cut off")
    return notes


def square_batches(pictures: Iterator[np.ndarray], frame_size: int) -> Iterator[np.ndarray]:
    """Yield square pictures [S, S, 3] of any size in batches uint8 [n, frame_size, frame_size, 3]."""
    batch: list[np.ndarray] = []
    for picture in pictures:
        if batch and (len(batch) == BATCH_FRAMES or picture.shape != batch[0].shape):
            yield resize_frames(np.stack(batch), frame_size)
            batch = []
        batch.append(picture)
    if batch:
        yield resize_frames(np.stack(batch), frame_size)


def centre_square(frame: np.ndarray) -> np.ndarray:
    """Cut the largest centred square out of a frame [H, W, 3]."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return frame[top : top + side, left : left + side]
