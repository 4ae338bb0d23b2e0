"""What the allowed names of a pickle build: tensors, arrays and scalars of every element type, and no objects.

pytest tests/unit/checkpoints/test_builders.py
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.checkpoint_files import rewrite_pickle
from tinyworlds_gate.checkpoints.builders import DtypeName, builders
from tinyworlds_gate.checkpoints.read import read_state
from tinyworlds_gate.errors import CheckpointError

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def saved_and_read(value: Any, folder: Path) -> Any:
    torch.save({"value": value}, folder / "state.pt")
    return read_state(folder)["value"]


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=str)
def test_a_tensor_of_every_element_type_reads_back(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.tensor([[0, 1, 5], [7, 100, 3]]).to(dtype)
    read = saved_and_read(tensor, tmp_path)
    assert (read.dtype, read.device.type) == (dtype, "cpu")
    assert torch.equal(read, tensor)
    assert saved_and_read(dtype, tmp_path) == str(dtype)


@pytest.mark.parametrize(
    "array",
    [
        np.array([True, False]),
        np.array([[1, -2], [3, 4]], dtype=np.int8),
        np.array([1, 2], dtype=np.uint64),
        np.array([0.5, np.inf], dtype=np.float16),
        np.array([1 + 2j]),
        np.array([b"ab", b"c"]),
        np.array(["Zürich", ""]),
        np.array([1, 2], dtype=">i4"),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.empty((0, 3)),
    ],
    ids=lambda array: str(array.dtype),
)
def test_an_array_reads_back_with_its_type_shape_and_order(array: np.ndarray, tmp_path: Path) -> None:
    read = saved_and_read(array, tmp_path)
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    assert np.array_equal(read, array)
    read[...] = array  # its own memory, which may be written to


@pytest.mark.parametrize("scalar", [np.float64(0.25), np.int32(-3), np.bool_(True), np.complex128(1j)])
def test_a_numpy_scalar_reads_back_as_a_number_of_python(scalar: np.generic, tmp_path: Path) -> None:
    read = saved_and_read(scalar, tmp_path)
    assert (read, type(read)) == (scalar.item(), type(scalar.item()))


@pytest.mark.parametrize(("device", "text"), [("cpu", "cpu"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1")])
def test_a_device_reads_back_as_its_name(device: str, text: str, tmp_path: Path) -> None:
    assert saved_and_read(torch.device(device), tmp_path) == text


@pytest.mark.parametrize("code", ["O8", "V8", "M8", "f", "fx", "", 8])
def test_an_array_of_objects_is_refused(code: Any) -> None:
    with pytest.raises(TypeError, match=r"numpy dtype .* is not read"):
        DtypeName(code)


def test_an_array_that_holds_objects_makes_a_damaged_file(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "state.pt")
    rewrite_pickle(tmp_path / "state.pt", lambda _: pickle.dumps({"x": np.array([{}], dtype=object)}, protocol=2))
    with pytest.raises(CheckpointError, match=r"state\.pt is damaged: .* numpy dtype 'O8' is not read"):
        read_state(tmp_path)


def test_empty_bytes_read_back_and_bytes_of_a_size_do_not(tmp_path: Path) -> None:
    assert saved_and_read(b"", tmp_path) == b""
    with pytest.raises(TypeError):
        builders()["builtins", "bytes"](10**9)


def test_bytes_that_are_not_encoded_as_latin1_are_refused() -> None:
    encode = builders()["_codecs", "encode"]
    assert encode("\x80", "latin1") == b"\x80"
    with pytest.raises(ValueError, match="bytes encoded as 'utf-8'"):
        encode("\x80", "utf-8")


@pytest.mark.parametrize("name", [("torch", "FloatStorage"), ("collections", "OrderedDict"), ("torch", "Size")])
def test_a_pickle_cannot_change_what_an_allowed_name_means(name: tuple[str, str]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        builders()[name].__setstate__((None, {"_build": print, "dtype": "int8"}))
    with pytest.raises(TypeError, match="is no data"):
        builders()[name].plain()
