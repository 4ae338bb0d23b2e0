"""Small frames files and videos for the tests of reference/data."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tinyworlds_gate.reference.data.frames_file import FramesData


def numbered_frames(count: int, size: int = 8) -> np.ndarray:
    """Return uint8 [N, S, S, 3]; frame i has i modulo 256 in every red value and i // 256 in every green one."""
    frames = np.zeros((count, size, size, 3), np.uint8)
    frames[..., 0] = (np.arange(count) % 256)[:, None, None]
    frames[..., 1] = (np.arange(count) // 256)[:, None, None]
    return frames


def frame_numbers(frames: np.ndarray) -> np.ndarray:
    """Return the frame numbers that ``numbered_frames`` wrote, of shape frames.shape[:-3]."""
    return frames[..., 0, 0, 1].astype(int) * 256 + frames[..., 0, 0, 0]


def write_h5(path: Path, **datasets: Any) -> Path:
    """Write datasets to a new HDF5 file, without checking them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values)
    return path


def frames_data(episode: list[int] | np.ndarray, size: int = 8) -> FramesData:
    """Return numbered frames in memory with these episode IDs."""
    ids = np.asarray(episode, np.int64)
    return FramesData(Path("made_up.h5"), numbered_frames(len(ids), size), ids, None, None, 1, True)


def write_video(path: Path, frames: np.ndarray, fps: int, codec: str = "mpeg4", pixels: str = "yuv420p") -> Path:
    """Encode uint8 [N, H, W, 3] as a video of nearly the same pixels."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.bit_rate = 8_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path
