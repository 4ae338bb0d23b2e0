"""Reading checkpoints: plain data comes back, code never runs. ``pytest tests/unit/checkpoints/test_reading.py``"""

from __future__ import annotations

import collections
import functools
import importlib
import operator
import os
import pathlib
import pickle
import struct
import subprocess
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.checkpoint_files import FOREIGN_STEPS, foreign_folder, rewrite_pickle
from tinyworlds_gate.checkpoints.read import read_model_state, read_optim_state, read_state
from tinyworlds_gate.errors import CheckpointError


class Calls:
    """Pickles as a call of ``function(*arguments)``, which a plain unpickler would make."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def touch(file: Path) -> str:
    return f"touch '{file}'"


def write_file(file: Path) -> str:
    return f"open({str(file)!r}, 'w').close()"


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "os.system": lambda file: Calls(os.system, touch(file)),
    "builtins.eval": lambda file: Calls(eval, write_file(file)),
    "builtins.exec": lambda file: Calls(exec, write_file(file)),
    "builtins.getattr": lambda file: Calls(getattr, Calls(importlib.import_module, "os"), "system"),
    "builtins.open": lambda file: Calls(open, str(file), "w"),
    "builtins.__import__": lambda file: Calls(__import__, "os"),
    "subprocess.Popen": lambda file: Calls(subprocess.Popen, ["touch", str(file)]),
    "subprocess.check_call": lambda file: Calls(subprocess.check_call, ["touch", str(file)]),
    "functools.partial": lambda file: Calls(functools.partial, os.mkdir, str(file)),
    "operator.methodcaller": lambda file: Calls(operator.methodcaller, "touch"),
    "torch.save": lambda file: Calls(torch.save, {}, str(file)),
    "torch.load": lambda file: Calls(torch.load, str(file)),
    "numpy.save": lambda file: Calls(np.save, str(file), 1),
    "in an ordered dictionary": lambda file: collections.OrderedDict(a=[Calls(os.system, touch(file))]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_state_is_refused_and_runs_nothing(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    torch.save({"step": 1, "config": HOSTILE[name](mark)}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"state\.pt is refused: its pickle names .*Nothing was executed"):
        read_state(tmp_path / "state.pt")
    assert not mark.exists()


def test_the_hostile_payload_would_run_in_a_plain_unpickler(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    torch.save({"config": HOSTILE["os.system"](mark)}, tmp_path / "state.pt")
    torch.load(tmp_path / "state.pt", weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",  # STACK_GLOBAL
        b"(S'true'\nios\nsystem\n.",  # INST, protocol 0
        b"\x80\x02cos\nsystem\n.",  # a name without a call
        b"\x80\x02\x82\x01.",  # a copyreg extension code
        b"\x80\x02cyaml\nunsafe_load\n.",  # a function of a package that is no standard library
        b"\x80\x02c__main__\nrun\n.",
        b"\x80\x02cos.path\nos.system\n.",
        b"\x80\x02ccollections\nOrderedDict.fromkeys\n.",
    ],
    ids=["stack-global", "inst", "bare-name", "extension", "yaml", "main", "dotted", "attribute-of-an-allowed-name"],
)
def test_every_way_of_naming_a_callable_is_refused(pickled: bytes, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "state.pt")
    rewrite_pickle(tmp_path / "state.pt", lambda _: pickled)
    with pytest.raises(CheckpointError, match="Nothing was executed"):
        read_state(tmp_path / "state.pt")


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02ccollections\nOrderedDict\n(N}X\x01\x00\x00\x00aK\x01stb.",  # BUILD with attributes to set
        b"\x80\x02ccollections\nOrderedDict\n(N}X\x06\x00\x00\x00_buildcbuiltins\nset\nstb]\x85R.",  # … one that exists
        b"\x80\x02ccollections\nOrderedDict\n.",
        b"\x80\x02ctorch\nFloatStorage\n(N}X\x01\x00\x00\x00aK\x01stb.",
        b"\x80\x02cutils.config\nThing\n(N}X\x01\x00\x00\x00aK\x01stb.",
        b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",  # a mapping that contains itself
        b"\x80\x02" + b"(" * 5 + b".",
        b"\x80\x02K\x01Q.",  # a persistent id that is no storage
        b"",
    ],
    ids=[
        "build-on-a-builder",
        "overwrite-a-builder",
        "a-builder-as-data",
        "build-on-a-storage",
        "build-on-a-class",
        "itself",
        "marks",
        "persistent-id",
        "empty",
    ],
)
def test_a_malformed_pickle_is_a_damaged_file_and_no_traceback(pickled: bytes, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "state.pt")
    rewrite_pickle(tmp_path / "state.pt", lambda _: pickled)
    with pytest.raises(CheckpointError, match=r"state\.pt is damaged"):
        read_state(tmp_path / "state.pt")


def test_a_deeply_nested_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "state.pt")
    rewrite_pickle(tmp_path / "state.pt", lambda _: b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    with pytest.raises(
        CheckpointError,
        match=r"state\.pt is refused: its pickle nests objects more than 64 deep\. Nothing was executed",
    ):
        read_state(tmp_path / "state.pt")


@pytest.mark.parametrize("file", ["model_state_dict.pt", "optim_state_dict.pt"])
def test_a_hostile_tensor_file_is_refused_and_runs_nothing(file: str, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    torch.save({"weight": Calls(os.system, touch(mark))}, tmp_path / file)
    read = read_model_state if file.startswith("model") else read_optim_state
    with pytest.raises(CheckpointError, match="is refused: it holds more than tensors"):
        read(tmp_path)
    assert not mark.exists()


def test_a_hostile_pickle_that_is_no_zip_file_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    (tmp_path / "state.pt").write_bytes(pickle.dumps(Calls(os.system, touch(mark))))
    with pytest.raises(CheckpointError, match="no whole torch file"):
        read_state(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("stage", FOREIGN_STEPS)
def test_the_state_of_a_fork_reads_as_plain_data(stage: str) -> None:
    state = read_state(foreign_folder(stage))
    assert state["step"] == FOREIGN_STEPS[stage]
    assert state["config"]["device"] == "cuda", "an enum member reads as its value"
    assert type(state["config"]["distributed"]) is dict
    assert state["config"]["distributed"]["fsdp_mixed_precision"]["param_dtype"] == "bfloat16"
    assert state["scheduler_state_dict"]["last_epoch"] == FOREIGN_STEPS[stage] + 1


def test_the_fork_s_state_is_refused_by_torch_s_own_safe_reader() -> None:
    with pytest.raises(pickle.UnpicklingError):
        torch.load(foreign_folder("dynamics") / "state.pt", weights_only=True)


@pytest.mark.parametrize("stage", FOREIGN_STEPS)
@pytest.mark.parametrize("mmap", [True, False])
def test_weights_that_were_saved_on_a_gpu_load_on_the_cpu(stage: str, mmap: bool) -> None:
    weights = read_model_state(foreign_folder(stage), mmap=mmap)
    assert {tensor.device.type for tensor in weights.values()} == {"cpu"}
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


def test_tensors_arrays_and_scalars_in_a_state_come_back_equal(tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float64).reshape(4, 6)
    saved: dict[str, Any] = {
        "view": base[1:3, ::2].t(),
        "bf16": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "rng": torch.get_rng_state(),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "loss": np.float64(0.25),
        "keys": np.arange(6, dtype=np.uint32).reshape(2, 3),
        "big_endian": np.array([1, 2], dtype=">i4"),
        "raw": b"\x00\xff",
        "unique": {1, 2},
        "size": torch.Size([2, 3]),
        "device": torch.device("cuda", 1),
        "dtype": torch.bfloat16,
        "path": pathlib.PurePosixPath("a/b"),
        "names": types.SimpleNamespace(a=1, b=[2]),
    }
    torch.save(saved, tmp_path / "state.pt")
    read = read_state(tmp_path)
    for name in ("view", "bf16", "rng", "empty", "parameter"):
        assert torch.equal(read[name], saved[name]), name
        assert read[name].dtype == saved[name].dtype
    assert (read["loss"], type(read["loss"])) == (0.25, float)
    assert np.array_equal(read["keys"], saved["keys"])
    assert np.array_equal(read["big_endian"], saved["big_endian"])
    assert (read["raw"], read["unique"], read["size"]) == (b"\x00\xff", {1, 2}, (2, 3))
    assert (read["device"], read["dtype"]) == ("cuda:1", "torch.bfloat16")
    assert list(read["path"]) == ["a", "b"]
    assert read["names"] == {"a": 1, "b": [2]}


def test_many_objects_of_an_unknown_class_keep_their_own_fields(tmp_path: Path) -> None:
    torch.save({"all": [types.SimpleNamespace(number=index) for index in range(100)]}, tmp_path / "state.pt")
    assert read_state(tmp_path)["all"] == [{"number": index} for index in range(100)]


def test_a_module_s_state_dict_inside_a_state_reads(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    torch.save({"ema": layer.state_dict()}, tmp_path / "state.pt")
    assert torch.equal(read_state(tmp_path)["ema"]["weight"], layer.weight)


def test_a_tensor_in_a_state_that_was_saved_on_a_gpu_loads_on_the_cpu(tmp_path: Path) -> None:
    torch.save({"rng": torch.arange(5)}, tmp_path / "state.pt")
    rewrite_pickle(
        tmp_path / "state.pt",
        lambda data: data.replace(b"X" + struct.pack("<I", 3) + b"cpu", b"X" + struct.pack("<I", 6) + b"cuda:0"),
    )
    assert b"cuda:0" in (tmp_path / "state.pt").read_bytes()
    assert torch.equal(read_state(tmp_path)["rng"], torch.arange(5))


def test_a_tensor_that_reaches_beyond_its_bytes_is_a_damaged_file(tmp_path: Path) -> None:
    torch.save({"x": torch.arange(5)}, tmp_path / "state.pt")
    rewrite_pickle(tmp_path / "state.pt", lambda data: data.replace(b"K\x05\x85", b"K\x09\x85"))
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(tmp_path)


@pytest.mark.parametrize("keep", [0, 10, 900, 0.5, 0.99])
@pytest.mark.parametrize("file", ["model_state_dict.pt", "state.pt"])
def test_a_truncated_file_says_so(file: str, keep: float, tmp_path: Path) -> None:
    whole = (foreign_folder("dynamics") / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    read = read_model_state if file.startswith("model") else read_state
    with pytest.raises(CheckpointError, match=f"{file} is no whole torch file"):
        read(tmp_path)


def test_an_empty_model_state_says_which_rank_writes_it(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "model_state_dict.pt")
    with pytest.raises(CheckpointError, match=r"holds no tensors: an empty state dictionary.*rank other than 0"):
        read_model_state(tmp_path)


def test_a_model_file_with_something_else_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": 3}, tmp_path / "model_state_dict.pt")
    with pytest.raises(CheckpointError, match="entry 'weight' is a int; expected named tensors"):
        read_model_state(tmp_path)
    torch.save([torch.ones(1)], tmp_path / "model_state_dict.pt")
    with pytest.raises(CheckpointError, match="holds a list; expected a mapping"):
        read_model_state(tmp_path)


def test_an_empty_optimizer_state_is_refused(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "optim_state_dict.pt")
    with pytest.raises(CheckpointError, match="holds no optimizer state"):
        read_optim_state(tmp_path)


def test_a_state_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="holds a list; expected a mapping"):
        read_state(tmp_path)


@pytest.mark.parametrize("read", [read_model_state, read_optim_state, read_state])
def test_an_absent_file_is_named(read: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist; a checkpoint folder needs its"):
        read(tmp_path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_the_names_of_a_wrapped_module_lose_their_prefix(prefix: str, tmp_path: Path) -> None:
    torch.save({f"{prefix}a.weight": torch.ones(1), f"{prefix}b": torch.ones(1)}, tmp_path / "model_state_dict.pt")
    assert set(read_model_state(tmp_path)) == {"a.weight", "b"}
