"""Hostile checkpoints whose files are whole: manifests, contents, names, single files of weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tests.hostile_files import pickles
from tests.hostile_files.case import Case
from tests.hostile_files.checkpoint_cases import (
    FILES,
    MANIFEST,
    MODEL,
    OPTIM,
    STAGE,
    STATE,
    STEP,
    file_cases,
    make,
    manifest_of,
    nothing,
    write_folder,
    write_records,
)
from tests.hostile_files.zip_cases import zip_cases


def _manifest_cases() -> Iterator[Case]:
    texts: dict[str, Callable[[dict[str, Any]], str | bytes]] = {
        "100,000 lists": lambda _: "[" * 100_000 + "]" * 100_000,
        "100,000 mappings": lambda _: '{"a":' * 100_000,
        "a number of 6,000 digits": lambda one: json.dumps(one).replace(f'"step": {STEP}', f'"step": {"9" * 6000}'),
        "a number of 4,000 digits": lambda one: json.dumps(one).replace(f'"step": {STEP}', f'"step": {"9" * 4000}'),
        "1e999": lambda one: json.dumps(one).replace('"parameters": 144', '"parameters": 1e999'),
        "NaN": lambda one: json.dumps({**one, "parameters": float("nan")}),
        "no JSON": lambda _: "step: 5",
        "no text": lambda _: b"\xff\xfe\x00\x01",
        "empty": lambda _: "",
        "UTF-16": lambda one: json.dumps(one).encode("utf-16"),
        "a list": lambda _: "[]",
        "a text": lambda _: '"x"',
        "half of a surrogate pair": lambda one: json.dumps({**one, "stage": "\ud800"}),
        "a stage of 1 MB": lambda one: json.dumps({**one, "stage": "x" * 10**6}),
        "20 MB": lambda one: json.dumps({**one, "more": "x" * 20_000_000}),
        "true as step": lambda one: json.dumps({**one, "step": True}),
        "files that are a list": lambda one: json.dumps({**one, "files": []}),
        "files that are text": lambda one: json.dumps({**one, "files": dict.fromkeys(FILES, "x")}),
        "no files": lambda one: json.dumps({**one, "files": {}}),
        "a size that is text": lambda one: json.dumps(
            {**one, "files": {name: {"sha256": 1, "size": "1"} for name in FILES}}
        ),
        "a file elsewhere": lambda one: json.dumps({**one, "files": {"../../state.pt": {"sha256": "", "size": 0}}}),
        "another schema": lambda one: json.dumps({**one, "schema": 10**18}),
        "another step": lambda one: json.dumps({**one, "step": 6}),
        "another number of parameters": lambda one: json.dumps({**one, "parameters": -1}),
        "a key twice": lambda one: json.dumps(one)[:-1] + ', "step": 7}',
    }
    for name, change in texts.items():

        def edit(path: Path, change: Callable[[dict[str, Any]], str | bytes] = change) -> None:
            text = change(manifest_of(path))
            (path / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))

        yield Case("manifests", name, partial(make, edit, signed=False), must_refuse=True)


def _content_cases() -> Iterator[Case]:
    sizes = {"embed_dim": 8, "num_heads": 2, "n_actions": 4}
    mark = {"output_mlp.weight": torch.ones(16, 8)}
    models: dict[str, Any] = {
        "a list": [torch.ones(2)],
        "a tensor": torch.ones(2),
        "nothing": {},
        "None": None,
        "numbers as names": {1: torch.ones(2)},
        "text in place of a tensor": {"output_mlp.weight": "x"},
        "NaN": {"output_mlp.weight": torch.full((16, 8), float("nan"))},
        "infinity": {"output_mlp.weight": torch.full((16, 8), float("inf"))},
        "no axis": {"output_mlp.weight": torch.tensor(1.0)},
        "no element": {"output_mlp.weight": torch.ones(0, 8)},
        "whole numbers": {"output_mlp.weight": torch.ones(16, 8, dtype=torch.int64)},
        "complex numbers": {"output_mlp.weight": torch.ones(16, 8, dtype=torch.complex64)},
        "bits of 8": {"output_mlp.weight": torch.ones(16, 8).to(torch.float8_e4m3fn)},
        "a sparse tensor": {"output_mlp.weight": torch.eye(16).to_sparse()},
        "a tensor without bytes": {"output_mlp.weight": torch.ones(16, 8, device="meta")},
        "weights of two stages": {**mark, "encoder.latent_head.1.weight": torch.ones(2, 8)},
        "a name of 1 MB": {"x" * 10**6: torch.full((1,), float("nan"))},
        "half of a surrogate pair as a name": {"\ud800": torch.full((1,), float("nan"))},
        "block 10^9": {
            "output_mlp.weight": torch.ones(16, 8),
            "transformer.blocks.999999999.ffn.w_v.weight": torch.ones(1),
        },
        "block 99,999": {
            "output_mlp.weight": torch.ones(16, 8),
            "transformer.blocks.99999.ffn.w_v.weight": torch.ones(1),
        },
        "2^20,000 actions": {**mark, "transformer.blocks.0.ffn.norm.to_gamma_beta.1.weight": torch.ones(1, 20_000)},
        "2,000 tensors": {f"weight{number}": torch.ones(1) for number in range(2_000)},
    }
    for name, content in models.items():
        yield Case("weights", name, partial(make, partial(saved, MODEL, content), signed=False))
    values = [10**18, -1, 0, True, 2**200, 0.5, float("nan"), "8", None, [8], {"a": 1}]
    for size in ("frame_size", "context_length", "num_heads", "n_actions", "num_bins", "embed_dim"):
        for value in values:
            content = {"step": STEP, "config": {**sizes, size: value}}
            yield Case("configs", f"{size} is {value!r}", partial(make, partial(saved, STATE, content), signed=False))
    states: dict[str, Any] = {
        "a list": [1],
        "no step": {"config": sizes},
        "a tensor as step": {"step": torch.tensor(STEP)},
        "a long text as step": {"step": "9" * 10**6},
        "a step of 2^200": {"step": 2**200},
        "a text as config": {"step": STEP, "config": "x" * 10**6},
    }
    for name, content in states.items():
        yield Case("states", name, partial(make, partial(saved, STATE, content), signed=True))
    for name, content in {
        "a list": [1],
        "nothing": {},
        "None": None,
        "text": {"state": "x", "param_groups": 1},
    }.items():
        yield Case("optimizers", name, partial(make, partial(saved, OPTIM, content), signed=True))


def saved(file: str, content: Any, path: Path) -> None:
    torch.save(content, path / file)


def _name_cases() -> Iterator[Case]:
    latin = os.fsdecode(b"caf\xe9")
    names = {
        "300 letters": lambda folder: folder / ("x" * 300),
        "300 letters of a step": lambda folder: folder / f"dynamics_step_{'9' * 300}",
        "300 letters in between": lambda folder: folder / ("x" * 300) / f"{STAGE}_step_{STEP}",
        "a path of 5,000 letters": lambda folder: folder.joinpath(*["x" * 50] * 100),
        "a null character": lambda folder: folder / "a\0b" / f"{STAGE}_step_{STEP}",
        "a step of 6,000 digits": lambda folder: folder / f"dynamics_step_{'9' * 6000}",
        "an absent name in Latin-1": lambda folder: folder / latin / f"{STAGE}_step_{STEP}",
        "a device": lambda _: Path("/dev/null"),
        "a folder of devices": lambda _: Path("/dev/fd"),
    }
    for name, path in names.items():
        yield Case("names", name, path, must_refuse=True)

    def in_folder(folder: Path, name: str) -> Path:
        (folder / name).mkdir()
        return write_folder(folder / name, nothing, signed=True)

    for name in (latin, "größe", "with\nline", "with space", "-dash", "\x1b[31m"):
        yield Case("names of folders", ascii(name), partial(in_folder, name=name))


def _published_cases() -> Iterator[Case]:
    """Single files of weights."""
    weights = {"output_mlp.weight": torch.ones(16, 8)}
    contents: dict[str, Any] = {
        "numbers as names": {"model": {1: torch.ones(2)}},
        "text as a tensor": {"model": {"output_mlp.weight": "x"}},
        "a negative step": {"model": weights, "step": -1},
        "a step of 2^200": {"model": weights, "step": 2**200},
        "a million keys": {f"key{number}": number for number in range(100_000)},
        "a text as config": {"model": weights, "config": "x" * 10**6},
    }
    for name, content in contents.items():

        def write(folder: Path, content: Any = content) -> Path:
            torch.save(content, folder / "dynamics_step_5.pth")
            return folder / "dynamics_step_5.pth"

        yield Case("single files", name, write)
    for kind, values in {"deep": pickles.deep, "shared": pickles.shared, "tensors": pickles.tensors}.items():
        for name, value in values():

            def made(folder: Path, value: bytes = value) -> Path:
                path = folder / "dynamics_step_5.pth"
                data = b"\x80\x02}(" + pickles.text("model") + value + b"u."
                write_records(path, [("x/data.pkl", data), ("x/version", b"3\n"), ("x/data/0", bytes(512))])
                return path

            yield Case("single files", f"{kind}: {name}", made)


def checkpoint_cases() -> Iterator[Case]:
    """Return all hostile checkpoints; the readers get a folder or a file."""
    yield from file_cases()
    yield from zip_cases()
    yield from _manifest_cases()
    yield from _content_cases()
    yield from _name_cases()
    yield from _published_cases()
