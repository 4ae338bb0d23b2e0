"""`tinyworlds-gate score --frames`: the verdict on frames of any model, and one sentence for every bad file."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.helpers.object_games import FAULTS, STEPS, games, generated, rollouts
from tinyworlds_gate.cli.main import main

PLENTY = 20
"""Clips, each an episode: as many as the long-run rule asks."""


@cache
def clips() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Context, true frames, and frames without objects."""
    played = games(5, clips=PLENTY, scroll=False)
    return *rollouts(played), generated(played, FAULTS["no objects"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    context, true, lost = clips()
    path = tmp_path / "frames.h5"
    with h5py.File(path, "w") as out:
        out["context"], out["true"] = context, true
        out["generated/exact"], out["generated/lost"] = true, lost
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["score", *map(str, arguments)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.mark.requirement("G6")
def test_exact_frames_pass_and_lost_objects_fail_by_the_exit_code(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "--frames", f"{file}::generated/exact", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["verdict"]["verdict"] == "PASS"
    conditions = {one["id"]: one["verdict"] for one in result["verdict"]["conditions"]}
    assert (conditions["G5.control"], conditions["G5.codes"], conditions["G6"]) == ("NOT-RUN", "NOT-RUN", "PASS")
    code, out, _ = run(capsys, "--frames", f"{file}::generated/lost")
    assert code == 1
    assert "FAIL: objects: 0 % of" in out.splitlines()[-1]


def test_floats_in_0_to_1_give_the_verdict_of_bytes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(file, "r+") as out:
        out["generated/floats"] = out["generated/exact"][:].astype(np.float32) / 255
    code, out_text, _ = run(capsys, "--frames", f"{file}::generated/floats", "--json")
    assert (code, json.loads(out_text)["summary"]["mse"]) == (0, 0.0)


def test_the_picture_is_drawn_where_it_is_named(file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "verdict.png"
    run(capsys, "--frames", f"{file}::generated/lost", "--picture", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def _set(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        values = change(file[name][:])
        del file[name]
        file[name] = values

    return edit


def _spoilt(values: np.ndarray) -> np.ndarray:
    floats = values.astype(np.float32) / 255
    floats[0, 0, 0, 0, 0] = np.nan
    return floats


BAD: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "no true frames": (lambda file: file.__delitem__("true"), "no dataset true"),
    "another number of steps": (_set("generated", lambda one: one[:, :-1]), "they must be equal"),
    "another number of contexts": (_set("context", lambda one: one[:-1]), f"context has {PLENTY - 1} clips"),
    "grey frames": (_set("generated", lambda one: one[..., 0]), "[clips, frames, height, width, 3] is needed"),
    "no clip": (_set("true", lambda one: one[:0]), "there is nothing to judge"),
    "wide integers": (_set("generated", lambda one: one.astype(np.int32)), "has the type int32"),
    "floats up to 255": (_set("generated", lambda one: one.astype(np.float32)), "floats must be in [0, 1]"),
    "NaN": (_set("generated", _spoilt), "holds NaN or infinity"),
    "an episode too few": (lambda file: file.__setitem__("episode", np.arange(3)), "one whole number for each"),
    "objects without fields": (lambda file: file.__setitem__("objects", np.zeros(3)), "a table with the fields clip"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_ends_with_one_sentence(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit, sentence = BAD[fault]
    path = tmp_path / "frames.h5"
    context, true, _ = clips()
    with h5py.File(path, "w") as file:
        file["context"], file["true"], file["generated"] = context, true, true
        edit(file)
    code, out, err = run(capsys, "--frames", path)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


def test_an_unknown_group_lists_those_that_there_are(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (f"{file}::generated/other", str(file)):
        code, _, err = run(capsys, "--frames", name)
        assert code == 2
        assert "choose one of ::generated/exact, ::generated/lost" in err


def test_a_missing_or_damaged_file_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such file" in run(capsys, "--frames", tmp_path / "none.h5")[2]
    broken = tmp_path / "broken.h5"
    broken.write_bytes(b"no HDF5")
    assert "no readable HDF5 file" in run(capsys, "--frames", broken)[2]


def test_options_of_checkpoints_are_refused_beside_frames(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--frames", file, "--steps", STEPS, "--data", file)
    assert code == 2
    assert "--data, --steps beside --frames" in err
