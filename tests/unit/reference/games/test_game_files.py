"""Frames of Pong, Doom and MiniGrid: the same bytes from any processes, objects in place, errors as sentences."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.datasets import dataset_path, dataset_stride
from tinyworlds_gate.reference.data.episode_pool import Recipe, play_in_order
from tinyworlds_gate.reference.data.frame_objects import OBJECT_IN_FRAME
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.game_dataset import GAMES, make_game

KINDS = {  # those of Crafter: tests/unit/reference/data/test_crafter_dataset.py
    "pong": {b"ball", b"player", b"opponent"},
    "doom": {b"greenarmor"},
    "minigrid": {b"agent", b"door", b"goal", b"key"},
    "takecover": {b"doomimp", b"doomimpball"},
}


def made(folder: Path, name: str, workers: int, frames: int = 90, seed: int = 3) -> Path:
    path = folder / f"{name}-{workers}-{seed}.h5"
    make_game(path, GAMES[name], num_frames=frames, frame_size=40, episode_length=30, seed=seed, workers=workers)
    return path


@pytest.fixture(scope="module", params=KINDS)
def game(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A game, and a file of it that one process made."""
    name = str(request.param)
    return name, made(tmp_path_factory.mktemp(name), name, 1)


def test_a_file_is_the_same_for_any_number_of_processes(game: tuple[str, Path], tmp_path: Path) -> None:
    name, one = game
    assert one.read_bytes() == made(tmp_path, name, 2).read_bytes()
    with h5py.File(one) as file:
        frames, actions, episode = (file[key][:] for key in ("frames", "actions", "episode"))
        objects = file["objects"][:] if "objects" in file else np.empty(0, OBJECT_IN_FRAME)
    assert frames.shape == (90, 40, 40, 3)
    assert len(np.unique(actions)) >= 3
    assert np.bincount(episode)[:-1].max() == 30
    assert set(objects["kind"]) <= KINDS[name]
    assert (np.diff(objects["frame"]) >= 0).all()
    assert ((objects["x"] >= 0) & (objects["x"] <= 40) & (objects["y"] >= 0) & (objects["y"] <= 40)).all()
    assert dataset_stride(one, name, 15) == 1
    first = [np.flatnonzero(episode == number)[0] for number in np.unique(episode)]
    assert len({frames[at].tobytes() for at in first}) == len(first), "episodes do not begin in the same place"


def test_whole_episodes_are_held_out_with_their_actions_and_objects(
    game: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = game
    sides = [tmp_path / "train.h5", tmp_path / "held_out.h5"]
    words = ["--train", str(sides[0]), "--held-out", str(sides[1]), "--fraction", "0.4"]
    assert main(["data", "hold-out", str(path), *words]) == 0
    assert "episodes, held out" in capsys.readouterr().out
    whole, parts = _content(path), [_content(side) for side in sides]
    episodes = [set(part["episode"].tolist()) for part in parts]
    assert episodes[0] | episodes[1] == set(whole["episode"].tolist())
    assert not episodes[0] & episodes[1]
    assert all(episodes)
    for part, side in zip(parts, sides, strict=True):
        index = np.flatnonzero(np.isin(whole["episode"], part["episode"]))
        for name in ("frames", "actions", "episode"):
            np.testing.assert_array_equal(part[name], whole[name][index])
        here = whole["objects"][np.isin(whole["objects"]["frame"], index)]
        np.testing.assert_array_equal(index[part["objects"]["frame"]], here["frame"])
        for field in ("kind", "x", "y"):
            np.testing.assert_array_equal(part["objects"][field], here[field])
        attrs = load_frames(side).attrs
        assert attrs["num_frames"] == len(index)
        assert attrs["game"] == game[0]
        assert dataset_stride(side, game[0], 15) == 1


def _content(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        found = {name: file[name][:] for name in file}
    return {"objects": np.empty(0, OBJECT_IN_FRAME), **found}


def test_another_seed_is_another_game(tmp_path: Path) -> None:
    assert made(tmp_path, "pong", 2).read_bytes() != made(tmp_path, "pong", 2, seed=4).read_bytes()


def test_the_ball_of_pong_is_where_its_pixels_are(tmp_path: Path) -> None:
    path = tmp_path / "pong.h5"
    make_game(path, GAMES["pong"], num_frames=60, frame_size=160, episode_length=60, seed=0, workers=1)
    with h5py.File(path) as file:
        frames, objects = file["frames"][:], file["objects"][:]
    seen = 0
    for frame, kind, x, y in objects:
        rows, columns = np.nonzero((frames[frame] == 236).all(axis=-1))
        if kind == b"ball" and len(rows):
            assert abs(columns.mean() + 0.5 - x) < 1
            assert abs(rows.mean() + 0.5 - y) < 1
            seen += 1
    assert seen >= 30


def test_the_player_of_pong_returns_most_balls(tmp_path: Path) -> None:
    path = tmp_path / "pong.h5"
    make_game(path, GAMES["pong"], num_frames=300, frame_size=40, episode_length=150, seed=1, workers=2)
    with h5py.File(path) as file:
        objects = file["objects"][:]
    x = objects["x"][objects["kind"] == b"ball"] / 40
    turns = np.flatnonzero((np.diff(x)[:-1] > 0) & (np.diff(x)[1:] < 0)) + 1
    assert len(turns) >= 2, "the ball comes back from the player's side"
    assert (x[turns] > 0.7).mean() >= 0.5


def test_the_agent_of_minigrid_fetches_its_key(tmp_path: Path) -> None:
    path = tmp_path / "minigrid.h5"
    make_game(path, GAMES["minigrid"], num_frames=600, frame_size=40, episode_length=200, seed=0, workers=2)
    with h5py.File(path) as file:
        objects, frames = file["objects"][:], len(file["frames"])
    with_key = len(np.unique(objects["frame"][objects["kind"] == b"key"]))
    assert 0.05 < with_key / frames < 0.95


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("minigrid", {"frame_size": 65}, "a multiple of 8"),
        ("pong", {"frame_size": 8}, "16 to 1024 px"),
        ("pong", {"frame_size": 100_000}, "16 to 1024 px"),
        ("doom", {"num_frames": 10}, "less than one episode of 30 frames"),
        ("doom", {"seed": -1}, "seed: -1 is not allowed"),
        ("doom", {"workers": 0}, "workers: 0 is not allowed"),
    ],
)
def test_bad_numbers_are_refused_before_anything_is_played(
    name: str, numbers: dict[str, int], message: str, tmp_path: Path
) -> None:
    usual: dict[str, Any] = {"num_frames": 60, "frame_size": 64, "episode_length": 30, "seed": 0, "workers": 1}
    with pytest.raises(DataError, match=message):
        make_game(tmp_path / "data" / "x.h5", GAMES[name], **(usual | numbers))
    assert not (tmp_path / "data").exists()


def test_without_the_extra_one_sentence_has_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["data", "make", "pong", "--project-root", str(tmp_path)]) != 0
    shown = capsys.readouterr()
    assert "GPL-2.0" in shown.out
    assert (
        "pong needs the package ale_py, which is not installed; fix: pip install 'tinyworlds_gate[games]'" in shown.err
    )
    assert not (tmp_path / "data").exists()


def test_an_unknown_game_is_refused_with_the_names_of_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "make", "tetris"])
    assert "pong" in capsys.readouterr().err


def test_an_emulator_that_dies_is_one_sentence_and_leaves_no_file_and_no_process(tmp_path: Path) -> None:
    path = tmp_path / "data" / "doom_frames.h5"
    command = [sys.executable, "-m", "tinyworlds_gate.cli.main", "data", "make", "doom", "--num-frames", "20000"]
    command += ["--frame-size", "32", "--workers", "1", "--project-root", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        worker, engine = _worker_and_engine(psutil.Process(process.pid))
        worker.send_signal(signal.SIGKILL)
        _, shown = process.communicate(timeout=60)
    assert process.returncode == 2
    assert shown.splitlines()[-1].count("a process that plays doom was killed or crashed") == 1
    assert "Traceback" not in shown
    assert sorted(one.name for one in path.parent.iterdir()) == [".doom_frames.h5.lock"]
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE


def _worker_and_engine(parent: psutil.Process) -> tuple[psutil.Process, psutil.Process]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in parent.children(recursive=True):
            if child.name() == "vizdoom" and child.ppid() != parent.pid:
                return psutil.Process(child.ppid()), child
        time.sleep(0.05)
    raise AssertionError("the engine did not start within 60 s")


def test_the_process_that_makes_frames_never_imports_an_emulator(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from tinyworlds_gate.reference.data.frame_objects import OBJECT_IN_FRAME
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.game_dataset import GAMES, make_game
if __name__ == "__main__":
    numbers = {"num_frames": 4, "frame_size": 16, "episode_length": 4, "seed": 0, "workers": 1}
    make_game(Path(sys.argv[1]), GAMES["pong"], **numbers)
    print("ale_py" in sys.modules)
"""
    script = tmp_path / "make.py"
    script.write_text(code)
    shown = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "pong.h5")], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "False"


def test_every_episode_is_played_when_all_are_wanted() -> None:
    recipe = Recipe("tinyworlds_gate.reference.data.crafter_world", 0, 2, 27)
    assert [len(one.frames) for one in play_in_order(recipe, 3, 2, apart=True)] == [2, 2, 2]
    assert os.environ.get("TINYWORLDS_GATE_GAME_POOL") is None


def test_a_games_dataset_has_its_usual_name(tmp_path: Path) -> None:
    assert dataset_path(tmp_path, "PONG", 64) == tmp_path / "data" / "pong_frames.h5"
