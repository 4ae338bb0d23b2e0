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
from tests.hostile_files.hdf5_cases import hdf5_cases
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.gate.measures.clip_copies import find_copies
from tinyworlds_gate.power.world import play
from tinyworlds_gate.reference.data.frame_objects import OBJECT_IN_CLIP

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
    assert "objects: 0 % of" in out.splitlines()[-1]


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


def _future_as_context(file: h5py.File) -> None:
    future = file["true"][:]
    del file["context"]
    file["context"] = future


def _latin_kinds(file: h5py.File) -> None:
    table = np.zeros(3, OBJECT_IN_CLIP)
    table["kind"] = b"caf\xe9"
    file["objects"] = table


BAD: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "no true frames": (lambda file: file.__delitem__("true"), "no dataset true"),
    "another number of steps": (_set("generated", lambda one: one[:, :-1]), "they must be equal"),
    "another number of contexts": (_set("context", lambda one: one[:-1]), f"context has {PLENTY - 1} clips"),
    "grey frames": (_set("generated", lambda one: one[..., 0]), "[clips, frames, height, width, 3] is needed"),
    "frames of one row": (_set("true", lambda one: one[:, :, :1]), "px; 2 px a side are needed"),
    "a context that is the future": (_future_as_context, "the context holds what was to be predicted: in "),
    "no clip": (_set("true", lambda one: one[:0]), "there is nothing to judge"),
    "wide integers": (_set("generated", lambda one: one.astype(np.int32)), "has the type int32"),
    "floats up to 255": (_set("generated", lambda one: one.astype(np.float32)), "floats must be in [0, 1]"),
    "NaN": (_set("generated", _spoilt), "holds NaN or infinity"),
    "an episode too few": (lambda file: file.__setitem__("episode", np.arange(3)), "one whole number for each"),
    "kinds that are no UTF-8": (_latin_kinds, "which is no UTF-8 text; write kinds as UTF-8"),
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
    assert "is not an HDF5 file (7 bytes)" in run(capsys, "--frames", broken)[2]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("a virtual dataset in judged", "is a virtual dataset, whose frames are in other files"),
        ("a virtual dataset whose source is gone in judged", "is a virtual dataset"),
        ("external storage in judged", "is stored outside the file, in /etc/passwd"),
        ("a link to another file in judged", "has a link to another file, `true`"),
        ("never-written chunks in judged", "chunks: the others were never written"),
        ("never-written values in judged", "its values were never written"),
        ("a chunk of 10 bytes in judged", "decompresses to 10 of 576 bytes"),
        ("clips of 10^6 pixels a side in judged", "needs about"),
        ("NaN in judged", "holds NaN or infinity"),
        ("text in judged", "height, width, 3] is needed"),
        ("a group in judged", "no dataset true"),
        ("a FIFO", "it is a FIFO, socket or device"),
        ("a folder", "it is a folder"),
        ("a link to /dev/zero", "it is a FIFO, socket or device"),
        ("300 letters", "cannot be opened (File name too long)"),
    ],
)
def test_a_hostile_file_ends_with_one_sentence(
    what: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (case,) = [one for one in hdf5_cases() if one.name == what]
    code, out, err = run(capsys, "--frames", case.make(tmp_path))
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_options_of_checkpoints_are_refused_beside_frames(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--frames", file, "--steps", STEPS, "--data", file)
    assert code == 2
    assert "--data, --steps beside --frames" in err


COPIES: dict[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "the same clip": lambda context, true: (context[:1].repeat(PLENTY, 0), true[:1].repeat(PLENTY, 0)),
    "with other contexts": lambda context, true: (context, true[:1].repeat(PLENTY, 0)),
    "with noise": lambda context, true: (context[:1].repeat(PLENTY, 0), _noisy(true[:1].repeat(PLENTY, 0))),
}


def _noisy(frames: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-3, 4, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("how", COPIES)
def test_one_clip_written_many_times_counts_once(
    how: str, labelled: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context, true, _ = clips()
    with h5py.File(tmp_path / "copies.h5", "w") as file:
        file["context"], file["true"] = COPIES[how](context, true)
        file["generated"] = file["true"][:]
        if labelled:
            file["episode"] = np.arange(PLENTY)
    code, out, _ = run(capsys, "--frames", tmp_path / "copies.h5")
    assert code == 1
    assert (
        f"note: {PLENTY - 1} of {PLENTY} clips repeat the true frames of another clip (clip 1 those of clip 0)" in out
    )
    assert "1 clip was measured in 1 episode" in out.splitlines()[-1]


def test_overlapping_clips_are_no_independent_episodes_and_distinct_ones_stay(file: Path) -> None:
    context, true, _ = clips()
    whole = np.concatenate([context, true], axis=1)
    windows = np.concatenate([whole[:3, first : first + 9] for first in range(6)])
    found = find_copies(windows[:, :2], windows[:, 2:], np.arange(len(windows)))
    assert len(np.unique(found.episodes)) == 3, "six windows of each of three clips"
    found = find_copies(context, true, np.arange(PLENTY))
    assert (found.kept.tolist(), found.episodes.tolist()) == (list(range(PLENTY)), list(range(PLENTY)))


def test_the_worst_of_several_rollouts_of_one_clip_is_the_one_that_counts(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(file, "r+") as out:
        for name in ("context", "true"):
            values = out[name][:]
            del out[name]
            out[name] = np.concatenate([values, values])
        lost, exact = (out[f"generated/{name}"][:] for name in ("lost", "exact"))
        out["generated/both"] = np.concatenate([exact, lost])
    code, out_text, _ = run(capsys, "--frames", f"{file}::generated/both")
    assert code == 1
    assert "objects: 0 % of" in out_text.splitlines()[-1]


def test_no_clip_is_said_to_be_held_out(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--frames", f"{file}::generated/exact")
    assert f"on {PLENTY} clips is at most" in out.splitlines()[-1]
    assert "held-out" not in out


@pytest.mark.requirement("G8")
def test_a_blend_of_context_mean_and_a_mean_frame_of_other_data_does_not_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = play(5, episodes=120)[0][:, :9]
    context, true, mean = frames[:60, :3], frames[:60, 3:], frames[60:].mean(axis=(0, 1))
    blend = 0.3 * context.mean(axis=1, keepdims=True) + 0.7 * mean
    path = tmp_path / "frames.h5"
    with h5py.File(path, "w") as file:
        file["context"], file["true"], file["episode"] = context, true, np.arange(60)
        file["generated"] = np.rint(blend).astype(np.uint8).repeat(6, axis=1)
    code, out, _ = run(capsys, "--frames", path, "--json")
    result = json.loads(out)
    assert (code, result["verdict"]["verdict"]) == (1, "FAIL")
    assert "G8" in {one["id"] for one in result["verdict"]["conditions"] if one["verdict"] == "FAIL"}
    assert result["summary"]["baseline_mse"]["mean frame of the other episodes"] > result["summary"]["mse"]
