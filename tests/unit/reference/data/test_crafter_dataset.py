"""The generated Crafter file: identical bytes from any process, and no partial file after a kill."""

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

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.cut_held_out import hold_out
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.game_dataset import GAMES, make_game

_GENERATE = """
import sys
from pathlib import Path
from tinyworlds_gate.reference.data.game_dataset import GAMES, make_game
path, num_frames, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
make_game(path, GAMES["crafter"], num_frames=num_frames, frame_size=27, episode_length=20, seed=4, workers=workers)
"""


def _generator(path: Path, num_frames: int, workers: int, hash_seed: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _GENERATE, str(path), str(num_frames), str(workers)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": hash_seed})


def test_two_processes_with_other_hash_seeds_and_worker_counts_write_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.h5", tmp_path / "two.h5"
    running = [_generator(one, 70, 1, "1"), _generator(two, 70, 2, "2")]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    assert one.read_bytes() == two.read_bytes()
    data = load_frames(one)
    assert data.frames.shape == (70, 27, 27, 3)
    assert np.bincount(data.episode).tolist() == [20, 20, 20, 10]
    with h5py.File(one) as file:
        objects = file["objects"][:]
    assert np.array_equal(np.unique(objects["frame"]), np.arange(70)), "the player is in every frame"
    assert (np.diff(objects["frame"]) >= 0).all()
    hold_out(one, tmp_path / "train.h5", tmp_path / "out.h5", fraction=0.25)
    held_out = load_frames(tmp_path / "out.h5")
    index = np.flatnonzero(data.episode == held_out.episode[0])
    assert data.player_position is not None
    assert held_out.player_position is not None
    np.testing.assert_array_equal(held_out.player_position, data.player_position[index])
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(np.unique(file["objects"]["frame"]), np.arange(len(index)))


def test_a_killed_generation_leaves_no_file_and_no_process_and_the_next_one_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "data" / "crafter_27px_frames.h5"
    part = path.with_name(f".{path.name}.part")
    process = _generator(path, 20_000, 2, "0")
    deadline = time.monotonic() + 60
    workers: list[psutil.Process] = []
    while len(workers) < 2 or not part.exists() or part.stat().st_size < 10_000:
        assert process.poll() is None, "the generator ended by itself"
        assert time.monotonic() < deadline, "two workers wrote nothing within 60 s"
        time.sleep(0.05)
        workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    assert not path.exists()
    make_game(path, GAMES["crafter"], num_frames=20, frame_size=27, episode_length=20, seed=4, workers=1)
    assert len(load_frames(path).frames) == 20
    assert not part.exists()


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "crafter_27px_frames.h5"
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match="exists already and is never overwritten; fix: move it away"):
        make_game(path, GAMES["crafter"], num_frames=20, frame_size=27, episode_length=20, seed=0, workers=1)
    assert path.read_bytes() == b"mine"


def test_an_early_death_starts_a_new_episode_and_the_file_still_has_every_frame(tmp_path: Path) -> None:
    path = tmp_path / "crafter_18px_frames.h5"
    seen: list[tuple[int, int]] = []
    make_game(
        path,
        GAMES["crafter"],
        num_frames=100,
        frame_size=18,
        episode_length=60,
        seed=43,  # episode 0 of this seed ends in lava after 21 frames
        workers=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    data = load_frames(path)
    assert np.bincount(data.episode).tolist() == [21, 60, 19]
    assert seen == [(21, 100), (81, 100), (100, 100)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_frames": 10}, "num_frames 10 is less than one episode of 20"),
        ({"num_frames": 10**9}, "1000000000 frames need too many worlds; at most 500000"),
        ({"episode_length": 1}, "episode length 1 is not allowed; at least 2 frames"),
        ({"frame_size": 9}, "frame size 9 px is not allowed for crafter; 18 to 10000 px are"),
        ({"seed": 50_000}, "seed: 50000 is not allowed for crafter; 0 to 49999 are"),
        ({"workers": 0}, "workers: 0 is not allowed; at least 1"),
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, int], message: str
) -> None:
    numbers: dict[str, Any] = {"num_frames": 40, "frame_size": 27, "episode_length": 20, "seed": 0} | change
    with pytest.raises(DataError, match=message):
        make_game(tmp_path / "new" / "x.h5", GAMES["crafter"], **numbers)
    assert not (tmp_path / "new").exists()


def test_a_data_folder_that_cannot_be_created_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"the data folder .*data cannot be created \(File exists\)"):
        make_game(tmp_path / "data" / "x.h5", GAMES["crafter"], num_frames=20, frame_size=27, episode_length=20, seed=0)
