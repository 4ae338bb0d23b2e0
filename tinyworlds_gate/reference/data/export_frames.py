"""Write a frames file in the layout of another program: ``tinyworlds-gate data export FILE OUTPUT --layout LAYOUT``.

``tinyworlds``: HDF5 with ``frames`` alone. ``minigrid``: HDF5 with ``frames actions episode_starts episode_lengths``.
``videos``: a folder with a lossless MP4 for each episode and the actions of all frames in ``actions.csv``.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.actions_csv import FILE, write_actions_csv
from tinyworlds_gate.reference.data.frames_file import (
    FramesFileInfo,
    check_open_file,
    episode_of_frames,
    open_frames,
    read_actions,
    remedy,
    run_starts,
)
from tinyworlds_gate.reference.data.frames_reader import read_rows
from tinyworlds_gate.reference.data.frames_writer import (
    new_frames_file,
    refuse_existing,
    require_room,
    write_fault,
    write_lock,
)
from tinyworlds_gate.reference.data.import_video import DEFAULT_FPS
from tinyworlds_gate.reference.data.progress import Progress
from tinyworlds_gate.run.publish_folder import published_folder

Layout = Literal["tinyworlds", "minigrid", "videos"]
LAYOUTS: tuple[Layout, ...] = ("tinyworlds", "minigrid", "videos")
EPISODES = ("episode", "episode_starts", "episode_lengths")
CODEC, PIXELS = "libx264rgb", "rgb24"
_BLOCK = 256
_LEAST_COMPRESSED = 0.001
"""Share of the uncompressed bytes that frames of any game take, at least."""


def export_frames(source: Path, output: Path, layout: Layout, *, progress: Progress | None = None) -> list[str]:
    """Write the frames of ``source`` to the new file or folder ``output``; return what the layout leaves out.

    Raises:
        DataError: the source is missing or damaged, or records no actions or episodes where the layout needs them, or
            the output exists or cannot be written.
    """
    fix = remedy(source)
    refuse_existing(output)
    with open_frames(source, fix) as file:
        info = check_open_file(file, source, fix)
        actions, episode = read_actions(file, source, fix), episode_of_frames(file)
        missing = {"minigrid": {"actions": actions, "episode": episode}, "videos": {"actions": actions}}.get(layout, {})
        absent = [name for name, values in missing.items() if values is None]
        if absent:
            raise DataError(
                f"{source} has no `{'` and no `'.join(absent)}`, which the layout {layout} needs; fix: --layout "
                "tinyworlds"
            )
        with write_lock(output):
            require_room(output, int(file["frames"].nbytes * _LEAST_COMPRESSED), f"{info.num_frames} frames")
            if layout == "videos":
                assert actions is not None
                _write_videos(file["frames"], output, info, actions, episode, progress)
            else:
                own_actions, own_episode = (None, None) if layout == "tinyworlds" else (actions, episode)
                _write_hdf5(file["frames"], output, info, own_actions, own_episode, progress)
        return _left_out(file, layout)


def _write_hdf5(
    frames: h5py.Dataset,
    output: Path,
    info: FramesFileInfo,
    actions: np.ndarray | None,
    episode: np.ndarray | None,
    progress: Progress | None,
) -> None:
    attrs = {key: value for key, value in info.attrs.items() if isinstance(value, int | float | str)}
    with new_frames_file(output) as writer:
        writer.set_attrs(attrs)
        for low, block in _blocks(frames, 0, info.num_frames):
            more = {} if actions is None else {"actions": actions[low : low + len(block)]}
            writer.append(block, **more)
            if progress is not None:
                progress(writer.num_frames, info.num_frames)
        if episode is not None:
            starts = run_starts(episode)
            writer.add_table("episode_starts", starts)
            writer.add_table("episode_lengths", np.diff(np.append(starts, info.num_frames)))


def _write_videos(
    frames: h5py.Dataset,
    output: Path,
    info: FramesFileInfo,
    actions: np.ndarray,
    episode: np.ndarray | None,
    progress: Progress | None,
) -> None:
    import av

    starts = run_starts(np.zeros(info.num_frames, int) if episode is None else episode)
    ends = np.append(starts[1:], info.num_frames)
    digits = max(4, len(str(len(starts) - 1)))
    table: dict[str, np.ndarray] = {}
    try:
        with published_folder(output) as folder:
            for number, (low, high) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
                name = f"episode_{number:0{digits}}.mp4"
                _write_video(folder / name, _blocks(frames, low, high), info)
                table[name] = actions[low:high]
                if progress is not None:
                    progress(high, info.num_frames)
            write_actions_csv(folder / FILE, table)
            refuse_existing(output)
    except OSError as error:
        raise write_fault(output, error) from error
    except av.error.FFmpegError as error:
        raise DataError(f"{output} was not written: the videos cannot be encoded ({error.strerror})") from error


def _write_video(path: Path, blocks: Iterator[tuple[int, np.ndarray]], info: FramesFileInfo) -> None:
    import av

    if CODEC not in av.codecs_available:
        raise DataError(f"this build of PyAV has no {CODEC}, which writes lossless MP4; fix: --layout minigrid")
    rate = Fraction(info.attrs.get("fps", DEFAULT_FPS)).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(CODEC, rate=rate, options={"crf": "0", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = info.height, info.width, PIXELS
        for _, block in blocks:
            for frame in block:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=PIXELS)))
        container.mux(stream.encode(None))


def _blocks(frames: h5py.Dataset, low: int, high: int) -> Iterator[tuple[int, np.ndarray]]:
    for first in range(low, high, _BLOCK):
        yield first, read_rows(frames, first, min(first + _BLOCK, high))


def _left_out(file: h5py.File, layout: Layout) -> list[str]:
    kept = (
        {"frames"} if layout == "tinyworlds" else {"frames", "actions", "episode", "episode_starts", "episode_lengths"}
    )
    return sorted(str(name) for name in file if name not in kept)
