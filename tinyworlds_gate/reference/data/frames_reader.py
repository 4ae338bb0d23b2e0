"""Read frames from an HDF5 dataset and decompress its chunks in several threads.

HDF5 decompresses one chunk after the other, which delays every start of a training stage. Here the raw chunks of a
block are read first, and zlib, which releases the interpreter lock, decompresses them in parallel. Datasets with other
filters or chunk shapes, and damaged chunks, are read by HDF5 itself, which reports what is wrong. A chunk that
decompresses to less than its size is refused first: HDF5 would show uninitialised memory.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np

from tinyworlds_gate.reference.data.hdf5_chunks import check_chunks, require_chunk_size
from tinyworlds_gate.run.machine import usable_cpus

ForEach = Callable[[Callable[[tuple[int, bytes]], None], Iterable[tuple[int, bytes]]], Iterable[None]]
"""``map``, or that of a pool of threads."""

MOST_THREADS = 16
BLOCK_FRAMES = 512
SMALL_CHUNK = 2**20
"""Bytes of a chunk; zlib makes at most 1032 times as many of what is stored."""


def read_all(frames: h5py.Dataset, *, threads: int | None = None) -> np.ndarray:
    """Return all frames, uint8 [N, H, W, 3]. Raises OSError when HDF5 cannot read them."""
    whole = np.empty(frames.shape, np.uint8)
    with ThreadPoolExecutor(threads or reader_threads()) as pool:
        for low, high in _spans(frames):
            _read_span(frames, low, whole[low:high], pool)
    return whole


def read_rows(dataset: h5py.Dataset, low: int = 0, high: int | None = None) -> np.ndarray:
    """Return rows ``low`` to ``high`` of a dataset (default: all). Raises OSError when a chunk is not whole."""
    low, high, _ = slice(low, high).indices(dataset.shape[0])
    if _plain_gzip(dataset):
        whole = np.empty((max(0, high - low), *dataset.shape[1:]), np.uint8)
        if _unpack(dataset, low, whole, map):
            return whole
    check_chunks(dataset, low, high)
    rows: np.ndarray = dataset[low:high]
    return rows


def read_each(frames: h5py.Dataset, index: np.ndarray) -> np.ndarray:
    """Return the rows at these ascending indices [K]; each chunk is decompressed once.

    Raises OSError when a chunk is not whole.
    """
    size = (frames.chunks or (BLOCK_FRAMES,))[0]
    chunks, begins = np.unique(index // size, return_index=True)
    rows = np.empty((len(index), *frames.shape[1:]), frames.dtype)
    for chunk, begin, end in zip(chunks.tolist(), begins, [*begins[1:], len(index)], strict=True):
        within = index[begin:end] - chunk * size
        low = int(within[0])
        rows[begin:end] = read_rows(frames, chunk * size + low, chunk * size + int(within[-1]) + 1)[within - low]
    return rows


def iter_blocks(frames: h5py.Dataset, *, threads: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield blocks of up to 512 frames, each as the index of its first frame and uint8 [n, H, W, 3].

    A block is overwritten by the next one. Raises OSError when HDF5 cannot read a block.
    """
    block = np.empty((min(BLOCK_FRAMES, frames.shape[0]), *frames.shape[1:]), np.uint8)
    with ThreadPoolExecutor(threads or reader_threads()) as pool:
        for low, high in _spans(frames):
            _read_span(frames, low, block[: high - low], pool)
            yield low, block[: high - low]


def reader_threads() -> int:
    """Return the number of threads: the CPUs this process may use, divided by the ranks on this machine."""
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    cpus = usable_cpus()
    return max(1, min(MOST_THREADS, cpus // (int(ranks) if ranks.isdigit() and int(ranks) else 1)))


def _spans(frames: h5py.Dataset) -> Iterator[tuple[int, int]]:
    count = frames.shape[0]
    return ((low, min(low + BLOCK_FRAMES, count)) for low in range(0, count, BLOCK_FRAMES))


def _read_span(frames: h5py.Dataset, low: int, into: np.ndarray, pool: ThreadPoolExecutor) -> None:
    """Fill ``into`` with the frames from index ``low`` on."""
    if not (_plain_gzip(frames) and _unpack(frames, low, into, pool.map)):
        into[:] = read_rows(frames, low, low + len(into))


def _plain_gzip(frames: h5py.Dataset) -> bool:
    """Whether the dataset is uint8 in chunks of whole frames, with gzip as its only filter."""
    filters = frames.id.get_create_plist().get_nfilters()
    whole = frames.chunks is not None and frames.chunks[1:] == frames.shape[1:]
    return filters == 1 and frames.compression == "gzip" and whole and frames.dtype == np.uint8


def _unpack(frames: h5py.Dataset, low: int, into: np.ndarray, for_each: ForEach) -> bool:
    """Fill ``into``; False if a chunk is missing, stored differently or damaged, so that HDF5 has to read the span."""
    high, size, others = low + len(into), frames.chunks[0], (0,) * (frames.ndim - 1)
    # With a buffer that zlib has to enlarge repeatedly, decompression is twice as slow.
    unpacked_bytes = math.prod(frames.chunks)

    def unpack(chunk: tuple[int, bytes]) -> None:
        start, stored = chunk
        # The last chunk is stored in full size, although the frames end within it.
        # A small chunk cannot decompress to much; that of a large one is stopped at its size.
        if unpacked_bytes <= SMALL_CHUNK:
            unpacked = zlib.decompress(stored, bufsize=unpacked_bytes)
        else:
            unpacked = zlib.decompressobj().decompress(stored, unpacked_bytes + 1)
        require_chunk_size(frames, (start, *others), len(unpacked))
        values = np.frombuffer(unpacked, np.uint8).reshape(frames.chunks)
        first, last = max(low, start), min(high, start + size)
        into[first - low : last - low] = values[first - start : last - start]

    def stored_chunks() -> Iterator[tuple[int, bytes]]:
        for start in range(low - low % size, high, size):
            mask, stored = frames.id.read_direct_chunk((start, *others))
            if mask != 0:
                raise ValueError("stored without its filter")
            yield start, stored

    try:
        for _ in for_each(unpack, stored_chunks()):
            pass
    except (OSError, RuntimeError, ValueError, zlib.error):
        return False
    return True
