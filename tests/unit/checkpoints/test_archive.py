"""The directory of a torch zip file, byte by byte. ``pytest tests/unit/checkpoints/test_archive.py``"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tinyworlds_gate.checkpoints import archive
from tinyworlds_gate.checkpoints.archive import Archive, open_archive
from tinyworlds_gate.errors import CheckpointError

END64, LOCATOR = "<4sQ2H2I4Q", "<4sIQI"
FULL_32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Entry:
    """A record and what the file says about it; None: the truth."""

    name: bytes
    data: bytes = b""
    flags: int = 0
    method: int = 0
    comment: bytes = b""
    extra: bytes = b""
    local_extra: bytes = b""
    local_name: bytes | None = None
    local_mark: bytes = b"PK\3\4"
    mark: bytes = b"PK\1\2"
    size: int | None = None
    packed: int | None = None
    crc: int | None = None
    header: int | None = None


def directory(entries: Sequence[Entry], start: int = 0) -> tuple[bytes, bytes]:
    """Return the records and the central directory of a file in which the records begin at ``start``."""
    records, central = b"", b""
    for one in entries:
        local = one.name if one.local_name is None else one.local_name
        at = start + len(records) if one.header is None else one.header
        records += struct.pack("<4s5H3I2H", one.local_mark, *[0] * 8, len(local), len(one.local_extra))
        records += local + one.local_extra + one.data
        sizes = [len(one.data) if size is None else size for size in (one.packed, one.size)]
        crc = zlib.crc32(one.data) if one.crc is None else one.crc
        lengths = (len(one.name), len(one.extra), len(one.comment))
        central += struct.pack(
            "<4s6H3I5H2I", one.mark, 0, 0, one.flags, one.method, 0, 0, crc, *sizes, *lengths, 0, 0, 0, at
        )
        central += one.name + one.extra + one.comment
    return records, central


def end(
    count: int, length: int, start: int, disk: int = 0, first: int = 0, here: int | None = None, comment: int = 0
) -> bytes:
    return struct.pack(
        "<4s4H2IH", b"PK\5\6", disk, first, count if here is None else here, count, length, start, comment
    )


def end64(count: int, length: int, start: int, mark: bytes = b"PK\6\6", here: int | None = None) -> bytes:
    return struct.pack(END64, mark, 44, 45, 45, 0, 0, count if here is None else here, count, length, start)


def locator(at: int) -> bytes:
    return struct.pack(LOCATOR, b"PK\6\7", 0, at, 1)


PICKLE, OTHER = Entry(b"archive/data.pkl", b"pickled"), Entry(b"archive/data/0", b"0123456789")


def write(path: Path, *entries: Entry) -> Path:
    records, central = directory(entries)
    path.write_bytes(records + central + end(len(entries), len(central), len(records)))
    return path


def contents(path: Path) -> dict[str, bytes]:
    with open_archive(path) as opened:
        assert opened.damaged() is None
        return {name: opened.read(name) for name in opened.records}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as error, open_archive(path):
        pass
    whole = f"{path} is no whole torch file ({path.stat().st_size} bytes): "
    return str(error.value).removeprefix(whole).removesuffix("; it is truncated or was not written by torch.save")


def test_records_are_read_by_their_names_in_the_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "a", PICKLE, OTHER, Entry(b"version", b"3"))
    assert contents(path) == {"data.pkl": b"pickled", "data/0": b"0123456789", "version": b"3"}
    assert contents(write(path, replace(PICKLE, name=b"data.pkl"))) == {"data.pkl": b"pickled"}
    with open_archive(path) as opened:
        assert opened.pickle() == b"pickled"
        assert Path(opened.name()).read_bytes() == path.read_bytes()
        assert Path(opened.name()) != path, "another file may have this name by now"


def test_an_archive_is_closed_at_the_end(tmp_path: Path) -> None:
    with open_archive(write(tmp_path / "a", PICKLE)) as opened:
        assert opened.name() != str(tmp_path / "a")
    assert opened.name() == str(tmp_path / "a"), "the descriptor is closed"


def test_the_directory_may_list_the_records_in_any_order(tmp_path: Path) -> None:
    records, _ = directory([PICKLE, OTHER])
    start = len(directory([PICKLE])[0])
    _, central = directory([replace(OTHER, header=start), replace(PICKLE, header=0)])
    (tmp_path / "a").write_bytes(records + central + end(2, len(central), len(records)))
    assert contents(tmp_path / "a") == {"data/0": b"0123456789", "data.pkl": b"pickled"}


def test_long_names_are_cut_in_the_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "a", PICKLE, replace(OTHER, name=b"n" * 81, flags=1))
    assert refusal(path) == f"its record {'n' * 80} is encrypted"


def test_comments_and_extra_fields_are_skipped(tmp_path: Path) -> None:
    noted = [replace(one, comment=b"note", extra=b"xx", local_extra=b"yyy") for one in (PICKLE, OTHER)]
    assert contents(write(tmp_path / "a", *noted)) == {"data.pkl": b"pickled", "data/0": b"0123456789"}


def test_a_record_whose_checksum_does_not_hold_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_BLOCK", 4)
    path = write(tmp_path / "a", PICKLE, replace(OTHER, crc=zlib.crc32(b"0123456780")))
    with open_archive(path) as opened:
        assert opened.damaged() == "data/0"
        with pytest.raises(CheckpointError, match="is damaged: the checksum of data/0 does not hold"):
            opened.read("data/0")
        assert opened.pickle() == b"pickled"


def test_a_file_cut_off_after_it_was_opened_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a", PICKLE, OTHER)
    with open_archive(path) as opened:
        os.truncate(path, opened.records["data/0"].offset + 3)
        assert opened.damaged() == "data/0"
        with pytest.raises(CheckpointError, match="the checksum of data/0 does not hold"):
            opened.read("data/0")


def test_records_are_read_whole_where_one_call_returns_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, whole = write(tmp_path / "a", PICKLE, OTHER), os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, at: whole(descriptor, min(size, 3), at))
    assert contents(path) == {"data.pkl": b"pickled", "data/0": b"0123456789"}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (replace(OTHER, mark=b"PK\1\1"), "its directory is broken"),
        (replace(OTHER, name=b"archive/\0"), "its directory is broken"),
        (replace(OTHER, method=8), "its record archive/data/0 is compressed, which torch.save never does"),
        (replace(OTHER, packed=9), "its record archive/data/0 is compressed, which torch.save never does"),
        (replace(OTHER, size=9), "its record archive/data/0 is compressed, which torch.save never does"),
        (replace(OTHER, flags=1), "its record archive/data/0 is encrypted"),
        (replace(OTHER, flags=0x40), "its record archive/data/0 is encrypted"),
        (replace(OTHER, flags=0x2000), "its record archive/data/0 is encrypted"),
        (replace(OTHER, local_mark=b"PK\3\3"), "its record archive/data/0 is not in the file"),
        (replace(OTHER, local_name=b"data/0"), "its record archive/data/0 is not in the file"),
        (replace(OTHER, size=11, packed=11), "its record archive/data/0 is not in the file"),
        (replace(OTHER, size=10_000, packed=10_000), "its record archive/data/0 is not in the file"),
        (replace(OTHER, header=0), "its record archive/data/0 is not in the file"),
        (replace(OTHER, size=FULL_32, packed=FULL_32), "its directory is broken"),
    ],
)
def test_a_record_that_torch_does_not_write_is_refused(entry: Entry, reason: str, tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "a", PICKLE, entry)) == reason


def test_flags_that_do_not_encrypt_are_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "a", PICKLE, replace(OTHER, flags=0xFFFF & ~0x2041))
    assert contents(path)["data/0"] == OTHER.data


def test_records_may_touch_but_not_overlap(tmp_path: Path) -> None:
    inner = Entry(b"archive/data/1", b"inside")
    hidden, _ = directory([inner])
    outer = replace(OTHER, data=hidden)
    start = len(directory([PICKLE, outer])[0]) - len(hidden)
    records, _ = directory([PICKLE, outer])
    _, central = directory([PICKLE, outer, replace(inner, header=start)])
    (tmp_path / "a").write_bytes(records + central + end(3, len(central), len(records)))
    assert refusal(tmp_path / "a") == "its record archive/data/0 overlaps another"


def test_nothing_lies_before_the_records_or_after_the_directory(tmp_path: Path) -> None:
    records, central = directory([PICKLE], start=5)
    path = tmp_path / "a"
    path.write_bytes(b"x" * 5 + records + central + end(1, len(central), 5 + len(records)))
    assert refusal(path) == "there is something before its records or after its directory"
    records, central = directory([PICKLE])
    path.write_bytes(records + central + b"x" + end(1, len(central) + 1, len(records)))
    assert refusal(path) == "there is something before its records or after its directory"
    path.write_bytes(records + central[:-1] + end(1, len(central) - 1, len(records)))
    assert refusal(path) == "its directory is broken"


@pytest.mark.parametrize("changes", [{"comment": 1}, {"disk": 1}, {"first": 1}, {"here": 2}, {"start": -1}])
def test_the_end_of_a_file_describes_one_directory_before_it(changes: dict[str, int], tmp_path: Path) -> None:
    records, central = directory([PICKLE])
    start = len(records) + changes.pop("start", 0)
    (tmp_path / "a").write_bytes(records + central + end(1, len(central), start, **changes))
    assert refusal(tmp_path / "a") == "its directory does not end where the file ends"


def test_a_file_without_records_holds_no_pickle(tmp_path: Path) -> None:
    assert "holds 0 pickles named data.pkl" in refusal(write(tmp_path / "a"))
    for text in (b"", b"PK\5\6", b"PK\5\6" + b"\0" * 17, b"x" * 22):
        (tmp_path / "b").write_bytes(text)
        assert refusal(tmp_path / "b") == "it does not end with the directory of a zip file"


def write64(path: Path, short: tuple[int | None, ...], at: int = 0, **changes: Any) -> Path:
    """Write a file with a zip64 directory; count, length and start at its end are ``short``, None: the truth."""
    records, central = directory([PICKLE, OTHER])
    long = end64(2, len(central), len(records), **changes)
    place = len(records) + len(central)
    truth = (2, len(central), len(records))
    last = end(*[there if one is None else one for one, there in zip(short, truth, strict=True)])
    path.write_bytes(records + central + long + locator(place + at) + last)
    return path


@pytest.mark.parametrize("short", [(None, None, None), (0xFFFF, FULL_32, FULL_32), (None, FULL_32, None)])
def test_a_zip64_directory_is_read(short: tuple[int | None, ...], tmp_path: Path) -> None:
    assert contents(write64(tmp_path / "a", short)) == {"data.pkl": b"pickled", "data/0": b"0123456789"}


@pytest.mark.parametrize("short", [(1, None, None), (None, 1, None), (None, None, 1), (FULL_32 & 0xFFFE, None, None)])
def test_two_directories_that_differ_are_refused(short: tuple[int | None, ...], tmp_path: Path) -> None:
    assert refusal(write64(tmp_path / "a", short)) == "its two directories differ"


def test_a_zip64_directory_is_where_the_end_says(tmp_path: Path) -> None:
    whole = (None, None, None)
    assert refusal(write64(tmp_path / "a", whole, at=1)) == "its zip64 directory is not where its end says"
    assert refusal(write64(tmp_path / "a", whole, mark=b"PK\6\5")) == "its zip64 directory is not where its end says"
    assert refusal(write64(tmp_path / "a", whole, here=1)) == "its directory does not end where the file ends"
    (tmp_path / "b").write_bytes(locator(0) + end(0, 0, 0))
    assert refusal(tmp_path / "b") == "its zip64 directory is not where its end says"


def field(code: int, *numbers: int) -> bytes:
    return struct.pack(f"<2H{len(numbers)}Q", code, 8 * len(numbers), *numbers)


@pytest.mark.parametrize("before", [b"", field(7, 1), struct.pack("<2H", 9, 0)])
def test_long_sizes_are_read_from_the_extra_field(before: bytes, tmp_path: Path) -> None:
    start = len(directory([PICKLE])[0])
    full: dict[str, Any] = {"size": FULL_32, "packed": FULL_32}
    path = tmp_path / "a"
    expected = {"data.pkl": b"pickled", "data/0": b"0123456789"}
    assert contents(write(path, PICKLE, replace(OTHER, **full, extra=before + field(1, 10, 10)))) == expected
    every = replace(OTHER, **full, header=FULL_32, extra=before + field(1, 10, 10, start))
    assert contents(write(path, PICKLE, every)) == expected
    assert contents(write(path, PICKLE, replace(OTHER, header=FULL_32, extra=before + field(1, start)))) == expected
    assert contents(write(path, PICKLE, replace(OTHER, size=FULL_32, extra=before + field(1, 10)))) == expected


def test_names_differ_by_more_than_their_case_and_there_is_one_pickle(tmp_path: Path) -> None:
    for more in (replace(OTHER, name=b"archive/DATA.PKL"), replace(OTHER, name=b"other/data.pkl")):
        assert "holds 2 pickles named data.pkl or a name twice" in refusal(write(tmp_path / "a", PICKLE, more))
    twice = [PICKLE, OTHER, replace(OTHER, name=b"archive/DATA/0")]
    assert "holds 1 pickles named data.pkl or a name twice" in refusal(write(tmp_path / "a", *twice))
    assert contents(write(tmp_path / "a", PICKLE, replace(OTHER, name=b"archive/mydata.pkl"))).keys() == {
        "data.pkl",
        "mydata.pkl",
    }


def test_the_number_of_records_and_the_length_of_the_directory_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (archive.MOST_RECORDS, archive._DIRECTORY_BYTES) == (100_000, 32 * 2**20)
    assert archive.MAX_PICKLE_BYTES == 256 * 2**20
    path, length = write(tmp_path / "a", PICKLE, OTHER), len(directory([PICKLE, OTHER])[1])
    for name, limit in (("MOST_RECORDS", 2), ("_DIRECTORY_BYTES", length), ("MAX_PICKLE_BYTES", 7)):
        with monkeypatch.context() as context:
            context.setattr(archive, name, limit)
            assert len(contents(path)) == 2
            context.setattr(archive, name, limit - 1)
            assert refusal(path)


def test_a_file_larger_than_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a", PICKLE)
    size = path.stat().st_size
    monkeypatch.setattr(archive, "GIB", size - 1)
    monkeypatch.setattr(archive, "total_memory_gib", lambda: size / (size - 1))
    assert len(contents(path)) == 1
    monkeypatch.setattr(archive, "total_memory_gib", lambda: 1.0)
    assert "this machine has 1 GiB of memory. Use a checkpoint of a smaller model" in refusal(path)
    monkeypatch.setattr(archive, "GIB", size)
    monkeypatch.setattr(archive, "total_memory_gib", lambda: pytest.fail("not needed for a small file"))
    assert len(contents(path)) == 1


def test_a_path_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    assert refusal(Path(tmp_path / "a").parent) == f"{tmp_path} is a folder; a file that torch.save wrote is needed"


def test_an_archive_whose_descriptor_has_no_name_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive.os.path, "exists", lambda path: False)
    assert Archive(tmp_path / "a", 99, {}).name() == str(tmp_path / "a")
