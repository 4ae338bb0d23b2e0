"""Files that are refused before or while their pickle is read. ``pytest tests/unit/checkpoints/test_unpickle.py``"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tinyworlds_gate.checkpoints import archive
from tinyworlds_gate.checkpoints.unpickle import load_plain
from tinyworlds_gate.errors import CheckpointError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save({"x": torch.arange(3)}, tmp_path / "state.pt")
    return tmp_path / "state.pt"


def refusal(file: Path) -> str:
    """Return why the file is refused, without its path."""
    with pytest.raises(CheckpointError) as error:
        load_plain(file)
    return str(error.value).removeprefix(f"{file} ")


def rewrite(file: Path, edit: Callable[[str, bytes], list[tuple[str, bytes]]]) -> None:
    """Replace each record of a torch zip file, named without its folder, by the records that ``edit`` returns."""
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as before:
        records = [(info.filename, before.read(info)) for info in before.infolist()]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as after:
        for path, data in records:
            folder, _, name = path.partition("/")
            for new_name, content in edit(name, data):
                after.writestr(f"{folder}/{new_name}", content)


def test_a_path_that_is_no_file_says_why(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent") == "does not exist; a file that torch.save wrote is needed"
    assert refusal(tmp_path) == "is a folder; a file that torch.save wrote is needed"


def test_a_file_that_is_no_zip_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    assert refusal(tmp_path / "a") == (
        "is no whole torch file (4 bytes): it does not end with the directory of a zip file; it is truncated or was "
        "not written by torch.save"
    )


def test_a_file_has_exactly_one_pickle(file: Path) -> None:
    rewrite(file, lambda name, data: [] if name == "data.pkl" else [(name, data)])
    assert refusal(file) == "holds 0 pickles named data.pkl or a name twice; expected exactly one"
    rewrite(file, lambda name, data: [(name, data)] if name != "version" else [("data.pkl", b""), ("a/data.pkl", b"")])
    assert refusal(file) == "holds 2 pickles named data.pkl or a name twice; expected exactly one"


def test_only_files_of_a_little_endian_machine_are_read(file: Path) -> None:
    assert load_plain(file)["x"].tolist() == [0, 1, 2]
    rewrite(file, lambda name, data: [] if name == "byteorder" else [(name, data)])
    assert load_plain(file)["x"].tolist() == [0, 1, 2], "older files name no byte order"
    rewrite(file, lambda name, data: [(name, data), ("byteorder", b"big")] if name == "data.pkl" else [(name, data)])
    assert refusal(file) == "was written on a big-endian machine; only little-endian files are read"


def test_a_pickle_may_be_as_long_as_the_limit(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(file) as whole:
        (size,) = (info.file_size for info in whole.infolist() if info.filename.endswith("data.pkl"))
    monkeypatch.setattr(archive, "MAX_PICKLE_BYTES", size)
    assert load_plain(file)["x"].tolist() == [0, 1, 2]
    monkeypatch.setattr(archive, "MAX_PICKLE_BYTES", size - 1)
    assert refusal(file) == f"has a pickle of more than {size - 1} bytes; such a file is not read"


@pytest.mark.parametrize(("size", "kind"), [(0, "8 bytes"), (23, "8 bytes"), (25, "int64")])
def test_a_storage_has_the_bytes_of_its_elements(file: Path, size: int, kind: str) -> None:
    rewrite(file, lambda name, data: [(name, b"\0" * size if name == "data/0" else data)])
    said = f"is damaged: its pickle cannot be read (ValueError: storage 0 has {size} bytes for 3 elements of {kind})"
    assert refusal(file) == said


def test_a_storage_that_two_tensors_share_stays_shared(tmp_path: Path) -> None:
    base = torch.arange(6)
    torch.save({"whole": base, "part": base[2:4], "other": torch.arange(2)}, tmp_path / "state.pt")
    read = load_plain(tmp_path / "state.pt")
    read["whole"][2] = 50
    assert (read["part"].tolist(), read["other"].tolist()) == ([50, 3], [0, 1])
