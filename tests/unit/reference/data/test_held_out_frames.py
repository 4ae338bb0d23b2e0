"""Held-out frames of a checkout: cutting them from a file, and detecting clips that were trained on.

pytest tests/unit/reference/data/test_held_out_frames.py
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.stand_in import write_bars
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.errors import ConfigError, DataError
from tinyworlds_gate.loop.checkout_data import held_out_file, refuse_evaluation_set
from tinyworlds_gate.reference.data.cut_held_out import hold_out, seen_clips
from tinyworlds_gate.reference.data.frame_objects import OBJECT_IN_FRAME
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.split import split_episodes


def frames_of(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return np.asarray(file["frames"][:])


def plain_frames(path: Path, count: int = 400) -> Path:
    """Write a file without episodes whose frames all differ."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=rng.integers(0, 256, (count, 4, 4, 3), np.uint8))
    return path


def test_a_file_is_cut_by_its_episodes_and_stays_as_it_is(tmp_path: Path) -> None:
    source = write_bars(tmp_path / "all.h5", episodes=12)
    before = source.read_bytes()
    cut = hold_out(source, tmp_path / "train.h5", tmp_path / "out.h5", fraction=0.25)
    assert (cut.train_frames, cut.held_out_frames, cut.held_out_episodes) == (144, 48, 3)
    assert source.read_bytes() == before
    held_out = load_frames(tmp_path / "out.h5")
    assert len(np.unique(held_out.episode)) == 3
    assert held_out.attrs["fps"] == 60


def test_a_side_without_objects_is_written_with_an_empty_table(tmp_path: Path) -> None:
    source = write_bars(tmp_path / "all.h5", episodes=4)
    held_out = split_episodes(np.repeat(np.arange(4), 16), 0.25, 0).held_out[0]
    for side in (0, 1):
        at = 16 * held_out + 3 if side else (16 * held_out + 19) % 64
        with h5py.File(source, "r+") as file:
            file.pop("objects", None)
            file["objects"] = np.array([(at, b"ball", 1, 2)], OBJECT_IN_FRAME)
        paths = tmp_path / f"train{side}.h5", tmp_path / f"out{side}.h5"
        hold_out(source, *paths, fraction=0.25)
        counts = []
        for path in paths:
            with h5py.File(path) as file:
                counts.append(len(file["objects"]))
        assert counts == [1 - side, side]


def test_a_file_without_episodes_is_cut_at_the_ends_of_spans_which_become_episodes(tmp_path: Path) -> None:
    source = plain_frames(tmp_path / "all.h5")
    cut = hold_out(source, tmp_path / "train.h5", tmp_path / "out.h5", fraction=0.2, spans=10)
    assert (cut.train_frames, cut.held_out_frames, cut.held_out_episodes) == (320, 80, 10)
    everything = frames_of(source).reshape(10, 40, 4, 4, 3)
    assert np.array_equal(frames_of(tmp_path / "out.h5"), everything[:, 32:].reshape(-1, 4, 4, 3))
    assert np.array_equal(frames_of(tmp_path / "train.h5"), everything[:, :32].reshape(-1, 4, 4, 3))


@pytest.mark.parametrize("renamed", [0, 1])
def test_a_cut_that_was_killed_between_its_files_is_completed_by_the_next_call(tmp_path: Path, renamed: int) -> None:
    source, outputs = plain_frames(tmp_path / "all.h5"), (tmp_path / "train.h5", tmp_path / "out.h5")
    child = os.fork()
    if child == 0:
        replace, done = os.replace, list[Path]()

        def killed(old: Path, new: Path) -> None:
            if Path(new) in outputs:
                if len(done) == renamed:
                    os.kill(os.getpid(), signal.SIGKILL)
                done.append(Path(new))
            replace(old, new)

        setattr(os, "replace", killed)  # noqa: B010
        hold_out(source, *outputs)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [path.exists() for path in outputs] == [renamed > 0, False]
    cut = hold_out(source, *outputs)
    assert cut.train_frames == len(frames_of(outputs[0]))
    assert cut.held_out_frames == len(frames_of(outputs[1]))
    left = {path.name for path in tmp_path.iterdir()} - {"all.h5", "train.h5", "out.h5"}
    assert left == {".train.h5.lock", ".out.h5.lock"}
    with pytest.raises(DataError, match=r"train\.h5 exists already and is never overwritten"):
        hold_out(source, *outputs)


def test_one_name_for_both_files_of_a_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--train and --held-out are both .*a\.h5; fix: name two files"):
        hold_out(plain_frames(tmp_path / "all.h5"), tmp_path / "a.h5", tmp_path / "a.h5")


def test_nothing_is_overwritten_and_numbers_are_checked(tmp_path: Path) -> None:
    source = plain_frames(tmp_path / "all.h5")
    (tmp_path / "train.h5").touch()
    with pytest.raises(DataError, match=r"train\.h5 exists already and is never overwritten"):
        hold_out(source, tmp_path / "train.h5", tmp_path / "out.h5")
    with pytest.raises(DataError, match=r"--fraction 1 is not allowed; it must lie between 0 and 1"):
        hold_out(source, tmp_path / "a.h5", tmp_path / "b.h5", fraction=1.0)
    with pytest.raises(DataError, match=r"--spans 101 is not allowed for 400 frames; give 1 to 100"):
        hold_out(source, tmp_path / "a.h5", tmp_path / "b.h5", spans=101)


def test_the_command_cuts_a_file_and_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = plain_frames(tmp_path / "all.h5")
    words = ["data", "hold-out", str(source), "--train", str(tmp_path / "t.h5"), "--held-out", str(tmp_path / "h.h5")]
    assert main([*words, "--spans", "10"]) == 0
    assert "40 frames of 10 episodes, held out" in capsys.readouterr().out
    assert main(words) == 2
    assert "never overwritten" in capsys.readouterr().err


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("stride", [1, 4])
def test_a_clip_that_was_trained_on_is_found_at_any_stride(tmp_path: Path, stride: int) -> None:
    source = plain_frames(tmp_path / "all.h5")
    hold_out(source, tmp_path / "train.h5", tmp_path / "out.h5", fraction=0.4, spans=5)
    starts = [0, 3 * (32 // stride)]
    assert seen_clips(tmp_path / "train.h5", tmp_path / "out.h5", starts, 6, stride=stride) == []
    assert seen_clips(source, tmp_path / "out.h5", starts, 6, stride=stride) == starts


@pytest.mark.requirement("G5")
def test_single_frames_that_were_seen_make_no_seen_clip(tmp_path: Path) -> None:
    """A black frame occurs in both files, but the clip around it does not."""
    frames = frames_of(plain_frames(tmp_path / "a.h5", 40))
    other = np.concatenate([frames[::2], frames[1::2]])
    with h5py.File(tmp_path / "shuffled.h5", "w") as file:
        file.create_dataset("frames", data=other)
    assert seen_clips(tmp_path / "a.h5", tmp_path / "shuffled.h5", [0, 20], 5, stride=1) == []


def test_files_of_different_sizes_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"frames of 16 x 16 px, .* of 4 x 4: it is impossible to check whether a clip was trained on"
    ):
        seen_clips(plain_frames(tmp_path / "a.h5"), write_bars(tmp_path / "b.h5", 4), [0], 4, stride=1)


def test_a_file_of_held_out_frames_alone_is_held_out_whole() -> None:
    split = split_episodes(np.array([4, 4, 7]), 1.0, 0)
    assert (split.train, split.held_out) == ((), (4, 7))


def test_the_held_out_file_is_the_given_one_or_lies_beside_the_training_file(tmp_path: Path) -> None:
    training, beside = tmp_path / "bars_frames.h5", tmp_path / "bars_held_out_frames.h5"
    training.touch()
    assert held_out_file(None, training) is None
    beside.touch()
    assert held_out_file(None, training) == beside
    with pytest.raises(DataError, match=r"--held-out-data .*absent\.h5: there is no such file; make one with"):
        held_out_file(tmp_path / "absent.h5", training)
    with pytest.raises(DataError, match=r"is the file that the checkout trains on; give frames that it never sees"):
        held_out_file(training, training)


def test_a_fixed_evaluation_set_is_refused_on_a_checkout() -> None:
    refuse_evaluation_set(resolve_settings("smoke", {}, project_root=REPOSITORY))
    named = resolve_settings("smoke", {"evaluation_file": "data/eval.h5"}, project_root=REPOSITORY)
    with pytest.raises(ConfigError, match=r"evaluation_file=data/eval\.h5 .* on a checkout give the frames"):
        refuse_evaluation_set(named)
