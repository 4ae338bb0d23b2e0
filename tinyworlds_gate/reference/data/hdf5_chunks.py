"""Check that a dataset's values are stored in its own file, in full.

HDF5 returns zeros for chunks that were never written, the bytes of other files for external storage, and uninitialised
memory for chunks that decompress to less than their size.
"""

from __future__ import annotations

import itertools
import math
import zlib

import h5py

GZIP, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000
_FILTERS = {GZIP: "gzip", SHUFFLE: "shuffle", FLETCHER32: "fletcher32", LZF: "lzf"}
_LARGEST_CHUNK = 2**28
_MOST_RATIO = 1100
"""zlib compresses 1032 : 1 at most."""


def storage_problem(dataset: h5py.Dataset) -> str | None:
    """Return why the values of a dataset are not all in its file, for a sentence; None when they are.

    No value is read: `check_chunks` does that. Raises what h5py raises for a damaged file.
    """
    if dataset.shape is None:
        return "holds no values (a null dataspace)"
    if dataset.is_virtual:
        return "is a virtual dataset, whose frames are in other files that may be moved or changed"
    if dataset.external:
        return f"is stored outside the file, in {dataset.external[0][0]}"
    if dataset.dtype.hasobject:
        return f"has the type {dataset.dtype}, whose values have no fixed size"
    if dataset.size == 0:
        return None
    if dataset.chunks is None:
        stored = dataset.id.get_storage_size()
        whole = math.prod(dataset.shape) * dataset.id.get_type().get_size()
        return None if stored >= whole else f"has {stored} of its {whole} bytes: its values were never written"
    return _pipeline_problem(dataset) or _chunks_problem(dataset)


def _pipeline_problem(dataset: h5py.Dataset) -> str | None:
    for code in filters(dataset):
        if code not in _FILTERS:
            return f"is compressed with filter {code}, which is not read; allowed are {', '.join(_FILTERS.values())}"
    return None


def _chunks_problem(dataset: h5py.Dataset) -> str | None:
    """Compare the stored chunks with those that the shape needs."""
    size, chunk_bytes = dataset.file.id.get_filesize(), _chunk_bytes(dataset)
    if chunk_bytes > max(_LARGEST_CHUNK, dataset.nbytes):
        return f"has chunks of {chunk_bytes} bytes for {dataset.nbytes} bytes of values"
    steps = [range(0, length, step) for length, step in zip(dataset.shape, dataset.chunks, strict=True)]
    needed = math.prod(len(one) for one in steps)
    count = dataset.id.get_num_chunks()
    if count != needed:
        return f"has {count} of its {needed} chunks: the others were never written, and HDF5 shows them as zeros"
    pipeline = filters(dataset)
    found, problem = set[tuple[int, ...]](), list[str]()

    def look(chunk: h5py.h5d.StoreInfo) -> bool | None:
        place = tuple(chunk.chunk_offset)
        found.add(place)
        skipped = sum(1 for position in range(len(pipeline)) if chunk.filter_mask >> position & 1)
        if chunk.byte_offset is None or chunk.byte_offset < 0 or chunk.byte_offset + chunk.size > size:
            problem.append(f"has a chunk at {list(place)} that lies outside the file")
        elif skipped == len(pipeline) and chunk.size != chunk_bytes:
            problem.append(f"has a chunk at {list(place)} of {chunk.size} bytes; {chunk_bytes} are needed")
        elif chunk.size > chunk_bytes + chunk_bytes // 64 + 1024:
            problem.append(f"has a chunk at {list(place)} of {chunk.size} bytes for {chunk_bytes} bytes of values")
        elif chunk.size * _MOST_RATIO < chunk_bytes - 1024:
            problem.append(f"has a chunk at {list(place)} whose {chunk.size} bytes cannot hold {chunk_bytes}")
        elif any(offset not in axis for offset, axis in zip(place, steps, strict=True)):
            problem.append(f"has a chunk at {list(place)} that is outside its shape {list(dataset.shape)}")
        return True if problem else None

    dataset.id.chunk_iter(look)
    if not problem and len(found) != needed:
        problem.append("has two chunks for the same place")
    return problem[0] if problem else None


def check_chunks(dataset: h5py.Dataset, low: int = 0, high: int | None = None) -> None:
    """Check that the chunks of rows ``low`` to ``high`` decompress to their full size.

    Raises:
        OSError: one does not, or cannot be read.
    """
    if dataset.chunks is None or not dataset.size:
        return
    first, *others = zip(dataset.shape, dataset.chunks, strict=True)
    high = first[0] if high is None else min(high, first[0])
    rows = range(low - low % first[1], high, first[1])
    for place in itertools.product(rows, *(range(0, length, step) for length, step in others)):
        try:
            mask, stored = dataset.id.read_direct_chunk(place)
        except (RuntimeError, ValueError) as error:
            raise OSError(f"the chunk of `{dataset.name}` at {list(place)} is not in the file ({error})") from error
        require_chunk_size(dataset, place, _unpacked_bytes(stored, mask, dataset))


def require_chunk_size(dataset: h5py.Dataset, place: tuple[int, ...], size: int) -> None:
    """Raise OSError unless a chunk that decompressed to ``size`` bytes is whole."""
    if size != _chunk_bytes(dataset):
        raise OSError(
            f"the chunk of `{dataset.name}` at {list(place)} decompresses to {size} of {_chunk_bytes(dataset)} bytes"
        )


def filters(dataset: h5py.Dataset) -> list[int]:
    """Return the codes of a dataset's filters in the order in which they were applied."""
    plist = dataset.id.get_create_plist()
    return [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]


def _chunk_bytes(dataset: h5py.Dataset) -> int:
    return math.prod(dataset.chunks) * int(dataset.id.get_type().get_size())


def _unpacked_bytes(stored: bytes, mask: int, dataset: h5py.Dataset) -> int:
    """Return the size to which a stored chunk decompresses; HDF5 itself checks the sums of fletcher32."""
    whole = _chunk_bytes(dataset)
    data = memoryview(stored)
    for position, code in reversed(list(enumerate(filters(dataset)))):
        if mask >> position & 1:
            continue
        if code == FLETCHER32:
            data = data[:-4]
        elif code == GZIP:
            try:
                stream = zlib.decompressobj()
                data = memoryview(stream.decompress(data, whole + 8))
            except zlib.error as error:
                raise OSError(f"a chunk of `{dataset.name}` cannot be decompressed ({error})") from error
            if not stream.eof:
                raise OSError(f"a chunk of `{dataset.name}` is compressed incompletely, or to more than its size")
        elif code == LZF:
            return _lzf_bytes(data)
    return len(data)


def _lzf_bytes(data: memoryview) -> int:
    """Return the size to which LZF data decompresses: runs of literals, and copies of 3 to 264 bytes."""
    at = size = 0
    while at < len(data):
        control = data[at]
        if control < 32:
            at, size = at + control + 2, size + control + 1
        elif control >= 224 and at + 1 < len(data):
            at, size = at + 3, size + 9 + data[at + 1]
        else:
            at, size = at + 2, size + (control >> 5) + 2
    return size if at == len(data) else -1
