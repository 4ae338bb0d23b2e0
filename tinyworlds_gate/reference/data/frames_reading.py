"""Frames out of an HDF5 dataset, its compressed chunks unpacked by several threads.

HDF5 unpacks one chunk after the other, and a training stage waits for it at every start. Here the chunks of a block are
read as they are stored, and zlib, which lets other threads run, unpacks them side by side. Whatever is not plainly
gzip in chunks of whole frames, and whatever is damaged, HDF5 reads itself: it says what is wrong.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np

MOST_THREADS = 16
BLOCK_FRAMES = 512


def read_all(frames: h5py.Dataset, *, threads: int | None = None) -> np.ndarray:
    """All frames, uint8 [N, H, W, 3]. Raises OSError where HDF5 cannot read them."""
    whole = np.empty(frames.shape, np.uint8)
    with ThreadPoolExecutor(threads or threads_of_rank()) as pool:
        for low, high in _spans(frames):
            _read_span(frames, low, whole[low:high], pool)
    return whole


def blocks_of(frames: h5py.Dataset, *, threads: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """All frames in blocks of 512 (the last may be shorter): the first one's index, and uint8 [n, H, W, 3].

    A block is overwritten by the next one. Raises OSError where HDF5 cannot read a block.
    """
    block = np.empty((min(BLOCK_FRAMES, frames.shape[0]), *frames.shape[1:]), np.uint8)
    with ThreadPoolExecutor(threads or threads_of_rank()) as pool:
        for low, high in _spans(frames):
            _read_span(frames, low, block[: high - low], pool)
            yield low, block[: high - low]


def threads_of_rank() -> int:
    """As many as this process may use processors, shared with the other ranks of its machine."""
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_THREADS, cpus // (int(ranks) if ranks.isdigit() and int(ranks) else 1)))


def _spans(frames: h5py.Dataset) -> Iterator[tuple[int, int]]:
    count = frames.shape[0]
    return ((low, min(low + BLOCK_FRAMES, count)) for low in range(0, count, BLOCK_FRAMES))


def _read_span(frames: h5py.Dataset, low: int, into: np.ndarray, pool: ThreadPoolExecutor) -> None:
    """The frames from low on, as many as fit."""
    if not (_plain_gzip(frames) and _unpack(frames, low, into, pool)):
        into[:] = frames[low : low + len(into)]


def _plain_gzip(frames: h5py.Dataset) -> bool:
    """gzip and no other filter, on chunks of whole frames of bytes, in the file itself."""
    filters = frames.id.get_create_plist().get_nfilters()
    whole = frames.chunks is not None and frames.chunks[1:] == frames.shape[1:]
    return filters == 1 and frames.compression == "gzip" and whole and frames.dtype == np.uint8


def _unpack(frames: h5py.Dataset, low: int, into: np.ndarray, pool: ThreadPoolExecutor) -> bool:
    """Whether all of it could be: no chunk is missing, stored otherwise, or damaged."""
    high, size = low + len(into), frames.chunks[0]
    # A buffer that zlib must enlarge is copied and handed back to the kernel again and again: three times as slow.
    unpacked_bytes = math.prod(frames.chunks)

    def unpack(start: int, stored: bytes) -> None:
        # The last chunk is stored whole, although the frames end within it.
        chunk = np.frombuffer(zlib.decompress(stored, bufsize=unpacked_bytes), np.uint8).reshape(frames.chunks)
        first, last = max(low, start), min(high, start + size)
        into[first - low : last - low] = chunk[first - start : last - start]

    waiting = []
    try:
        for start in range(low - low % size, high, size):
            mask, stored = frames.id.read_direct_chunk((start, 0, 0, 0))
            if mask != 0:
                return False
            waiting.append(pool.submit(unpack, start, stored))
        for one in waiting:
            one.result()
    except (OSError, RuntimeError, ValueError, zlib.error):
        return False
    return True
