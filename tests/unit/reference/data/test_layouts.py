"""Layouts of other programs: each one written and read again, and bad input as one sentence without half a file.

pytest tests/unit/reference/data/test_layouts.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.helpers.data_files import numbered_frames, write_h5, write_video
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.actions_csv import read_actions_csv
from tinyworlds_gate.reference.data.clip_reader import read_clips
from tinyworlds_gate.reference.data.datasets import dataset_stride
from tinyworlds_gate.reference.data.export_frames import LAYOUTS, Layout, export_frames
from tinyworlds_gate.reference.data.frame_objects import OBJECT_IN_FRAME
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.import_folder import import_folder
from tinyworlds_gate.reference.data.import_hdf5 import import_hdf5

LENGTHS = (7, 90, 3)
COUNT = sum(LENGTHS)
EPISODE = np.repeat(np.arange(3), LENGTHS).astype(np.int32)
ACTIONS = (np.arange(COUNT) * 7 % 256).astype(np.uint8)
STARTS = np.array([0, 7, 97])


def noise(count: int, height: int = 16, width: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def recording(path: Path, **more: Any) -> Path:
    """A file of three episodes as `data make` writes it."""
    objects = np.array([(0, b"ball", 4.0, 6.0), (50, b"ball", 15.0, 2.0)], OBJECT_IN_FRAME)
    values = {"frames": noise(COUNT), "actions": ACTIONS, "episode": EPISODE, "objects": objects, **more}
    write_h5(path, **{name: value for name, value in values.items() if value is not None})
    with h5py.File(path, "a") as file:
        file.attrs["game"] = "bars"
    return path


def minigrid(path: Path, **more: Any) -> Path:
    """A file of MiniGrid's author: episodes as their first frames and lengths."""
    values = {
        "frames": noise(COUNT),
        "actions": ACTIONS.astype(np.int64),
        "episode_starts": STARTS,
        "episode_lengths": np.array(LENGTHS),
        **more,
    }
    return write_h5(path, **{name: value for name, value in values.items() if value is not None})


def videos(folder: Path, rows: str | None = None, **counts: int) -> Path:
    """A folder with a video for each name, and its CSV; frame i of a video has action i."""
    counts = counts or {"a": 5, "b": 4}
    folder.mkdir()
    for name, count in counts.items():
        write_video(folder / f"{name}.mp4", np.full((count, 32, 48, 3), 90, np.uint8), fps=10)
    full = [f"{name}.mp4,{frame},{frame}" for name, count in counts.items() for frame in range(count)]
    (folder / "actions.csv").write_text("\n".join(["video,frame,action", *full]) + "\n" if rows is None else rows)
    return folder


def content(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


def nothing_left(root: Path) -> bool:
    return {path.name for path in (root / "data").glob("*")} <= {".foo_frames.h5.lock"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_layout_holds_comes_back_from_it(tmp_path: Path, layout: Layout) -> None:
    source, output = recording(tmp_path / "s.h5"), tmp_path / "new" / ("v" if layout == "videos" else "o.h5")
    left_out = export_frames(source, output, layout)
    if layout == "videos":
        path = import_folder(output, "Foo", project_root=tmp_path, frame_size=16).path
    else:
        path = import_hdf5(output, "Foo", project_root=tmp_path).path
    was, found = content(source), content(path)
    kept = {"tinyworlds": {"frames"}}.get(layout, {"frames", "actions", "episode"})
    assert set(found) == kept
    assert set(left_out) == set(was) - kept
    for name in kept:
        assert found[name].dtype == was[name].dtype
        np.testing.assert_array_equal(found[name], was[name])
    assert path == tmp_path / "data" / "foo_frames.h5"
    assert dataset_stride(path, "FOO", fps=15) == 1, "a frame is a step of the game"


def test_the_layouts_are_written_as_their_programs_read_them(tmp_path: Path) -> None:
    source = recording(tmp_path / "s.h5")
    export_frames(source, tmp_path / "t.h5", "tinyworlds")
    assert set(content(tmp_path / "t.h5")) == {"frames"}
    export_frames(source, tmp_path / "m.h5", "minigrid")
    found = content(tmp_path / "m.h5")
    assert set(found) == {"frames", "actions", "episode_starts", "episode_lengths"}
    assert found["episode_starts"].tolist() == STARTS.tolist()
    assert found["episode_lengths"].tolist() == list(LENGTHS)
    np.testing.assert_array_equal(load_frames(tmp_path / "m.h5").episode, EPISODE)
    export_frames(source, tmp_path / "v", "videos")
    names = [f"episode_000{number}.mp4" for number in range(3)]
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == ["actions.csv", *names]
    lines = (tmp_path / "v" / "actions.csv").read_text().splitlines()
    assert lines[:3] == ["video,frame,action", "episode_0000.mp4,0,0", "episode_0000.mp4,1,7"]
    assert len(lines) == 1 + COUNT


def test_a_file_of_this_package_is_imported_whole_and_its_objects_are_scaled(tmp_path: Path) -> None:
    position = np.zeros((COUNT, 2), np.int16)
    source = recording(tmp_path / "s.h5", player_position=position)
    same = content(import_hdf5(source, "same", project_root=tmp_path).path)
    was = content(source)
    assert set(same) == set(was)
    for name, values in was.items():
        np.testing.assert_array_equal(same[name], values)
    half = content(import_hdf5(source, "half", project_root=tmp_path, frame_size=8).path)
    assert half["frames"].shape == (COUNT, 8, 8, 3)
    assert half["objects"][["x", "y"]].tolist() == [(2.0, 3.0), (7.5, 1.0)]


def test_wide_frames_are_cropped_with_their_objects_and_a_note_says_so(tmp_path: Path) -> None:
    frames = noise(COUNT, 16, 24)
    path, notes = import_hdf5(recording(tmp_path / "s.h5", frames=frames), "foo", project_root=tmp_path)
    found = content(path)
    np.testing.assert_array_equal(found["frames"], frames[:, :, 4:20])
    assert found["objects"].tolist() == [(0, b"ball", 0.0, 6.0), (50, b"ball", 11.0, 2.0)]
    assert notes == ["its frames are 16 x 24 px, and were cropped to their centre square"]


def test_frames_alone_are_read_as_sixty_a_second_and_a_note_says_so(tmp_path: Path) -> None:
    source = write_h5(tmp_path / "s.h5", frames=numbered_frames(40), rewards=np.zeros(40))
    path, notes = import_hdf5(source, "foo", project_root=tmp_path)
    assert dataset_stride(path, "FOO", fps=15) == 4
    assert not load_frames(path).has_true_episodes
    assert notes[0].startswith("it records neither a rate nor actions, so it is read as 60 frames per second")
    assert notes[1] == "not taken: `rewards`"


def test_a_layout_can_be_trained_on_as_it_is(tmp_path: Path) -> None:
    path = minigrid(tmp_path / "data" / "grid_frames.h5")
    data = load_frames(path)
    np.testing.assert_array_equal(data.episode, EPISODE)
    np.testing.assert_array_equal(data.actions, ACTIONS)
    clips = read_clips(path, np.array([8, 97]), 3, frame_size=16)
    assert clips.episode.tolist() == [1, 2]
    assert clips.actions is not None
    assert clips.actions.tolist() == [ACTIONS[8:11].tolist(), ACTIONS[97:100].tolist()]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"episode_lengths": np.array([7, 90, 2])}, "leave a gap: the frames 99 to 99 are in no episode"),
        ({"episode_lengths": np.array([7, 90, 4])}, "end at frame 100, but the last frame is 99"),
        ({"episode_lengths": np.array([7, 80, 3])}, "leave a gap: the frames 87 to 96 are in no episode"),
        ({"episode_lengths": np.array([9, 90, 3])}, "overlap: episode 0 has the frames 0 to 8, and episode 1 begins"),
        ({"episode_starts": np.array([0, 97, 7])}, "ascending frame indices are needed"),
        ({"episode_starts": np.array([3, 7, 97])}, "ascending frame indices are needed, the first 0"),
        (
            {"episode_lengths": np.array([7, 0, 93])},
            "episode 1 the value 0 in `episode_lengths`; 1 to 100 are possible",
        ),
        ({"episode_lengths": np.array([7, -90, 3])}, "episode 1 the value -90 in `episode_lengths`"),
        ({"episode_lengths": np.array([7, 2**63 + 90, 3], np.uint64)}, "in `episode_lengths`; 1 to 100 are possible"),
        ({"episode_lengths": np.array([7, 93])}, r"have shapes \[3\] and \[2\]; one entry each"),
        ({"episode_lengths": np.array([7.0, 90.0, 3.0])}, r"`episode_lengths` has shape \[3\] and type float64"),
        ({"episode_starts": None}, "has `episode_lengths` and no `episode_starts`"),
        ({"actions": ACTIONS[:-1]}, r"`actions` has shape \[99\]; \[100\] is needed"),
        (
            {"actions": np.where(np.arange(COUNT) == 4, 256, 0)},
            "`actions` has 256 at frame 4; whole numbers from 0 to 255",
        ),
        ({"actions": np.where(np.arange(COUNT) == 4, -1, 0)}, "`actions` has -1 at frame 4"),
        ({"actions": ACTIONS / 2}, "`actions` has shape .* and type float64; whole numbers"),
        ({"actions": np.zeros((COUNT, 4), int)}, r"`actions` has shape \[100, 4\]"),
        ({"frames": None}, "no dataset `frames`"),
        ({"frames": noise(0)}, "`frames` holds 0 frames"),
        ({"frames": noise(COUNT) / 255}, "`frames` has type float64; uint8"),
        ({"objects": np.array([(200, b"ball", 1.0, 1.0)], OBJECT_IN_FRAME)}, "`objects` must ascend from 0 to 99"),
        ({"objects": np.array([(5, b"", 1, 1), (2, b"", 1, 1)], OBJECT_IN_FRAME)}, "`objects` must ascend"),
    ],
)
def test_hdf5_that_contradicts_itself_is_one_sentence(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    source = minigrid(tmp_path / "s.h5", **change)
    with pytest.raises(DataError, match=sentence) as error:
        import_hdf5(source, "foo", project_root=tmp_path)
    assert "\n" not in str(error.value)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("frames_of", ["load_frames", "read_clips"])
def test_actions_out_of_range_are_refused_where_the_file_is_read_directly(tmp_path: Path, frames_of: str) -> None:
    path = minigrid(tmp_path / "s.h5", actions=np.full(COUNT, 300))
    with pytest.raises(DataError, match="`actions` has 300 at frame 0"):
        load_frames(path) if frames_of == "load_frames" else read_clips(path, np.array([0]), 3, frame_size=16)


def test_a_folder_becomes_an_episode_a_video_with_every_frame(tmp_path: Path) -> None:
    rows = "action,note,video,frame\n" + "".join(f"{3 - frame},x,b.mp4,{frame}\n" for frame in (3, 0, 1, 2))
    rows += "\n".join(f"{frame},y,a.mp4,{frame}" for frame in range(5))
    done: list[tuple[int, int]] = []
    path, notes = import_folder(
        videos(tmp_path / "play", "\ufeff" + rows),
        "foo",
        project_root=tmp_path,
        frame_size=16,
        progress=lambda now, all: done.append((now, all)),
    )
    found = content(path)
    assert found["frames"].shape == (9, 16, 16, 3)
    assert found["actions"].tolist() == [3, 2, 1, 0, 0, 1, 2, 3, 4], "videos in the order of the rows"
    assert found["episode"].tolist() == [0] * 4 + [1] * 5
    assert (notes, done) == ([], [(4, 9), (9, 9)])
    assert "fps" not in load_frames(path).attrs


def test_one_video_has_no_episodes_so_that_some_of_it_can_be_held_out(tmp_path: Path) -> None:
    path = import_folder(videos(tmp_path / "play", a=9), "foo", project_root=tmp_path, frame_size=16).path
    assert set(content(path)) == {"frames", "actions"}


HEADER = "video,frame,action\n"
A, B = (HEADER + "".join(f"a.mp4,{n},0\n" for n in range(5)), "".join(f"b.mp4,{n},0\n" for n in range(4)))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (A + B + "b.mp4,4,0\n", "has a row for frame 4 of b.mp4, which has only 4 frames; remove the rows"),
        (A + B.replace("b.mp4,3,0\n", ""), "frame 3 of b.mp4 has no row; add a row for each frame"),
        (A + B.replace("b.mp4,1,0\n", ""), "frame 1 of b.mp4 has no row, but frame 3 has one"),
        (A + B + "b.mp4,2,1\n", "line 11: frame 2 of b.mp4 has a row already"),
        (A, "has no row for b.mp4; add a row for each of its frames"),
        (A + B + "c.mp4,0,0\n", "has rows for c.mp4, which is not in"),
        (A + B.replace("b.mp4,0,0", "b.mp4,0,256"), "line 7: the action is '256'; a whole number from 0 to 255"),
        (A + B.replace("b.mp4,0,0", "b.mp4,0,-1"), "the action is '-1'"),
        (A + B.replace("b.mp4,0,0", "b.mp4,0,left"), "the action is 'left'"),
        (A + B.replace("b.mp4,0,0", "b.mp4,0,1.0"), r"the action is '1\.0'"),
        (A + B.replace("b.mp4,0,0", "b.mp4,x,0"), "the frame is 'x'; a whole number from 0 is needed"),
        (A + B.replace("b.mp4,0,0", "b.mp4,999999999999999999,0"), "frame 0 of b.mp4 has no row"),
        (A + B.replace("b.mp4,0,0", "b.mp4,0"), "line 7 has 2 values; 3 are needed"),
        (
            A + B.replace("b.mp4,0,0", "../b.mp4,0,0"),
            r"the video '\.\./b\.mp4' is not the name of a file in the folder",
        ),
        (A + B.replace("b.mp4,0,0", ",0,0"), "the video '' is not the name of a file"),
        (HEADER, "has no row below its header"),
        ("", "is empty; its header must be `video,frame,action`"),
        (A.removeprefix(HEADER), "its header is `a.mp4,0,0`, without one column video"),
        (A.replace("frame,", ""), "its header is `video,action`, without one column frame"),
        (A.replace("frame,", "frame,frame,"), "without one column frame;"),
        (A + '"b.mp4,0,0\n', "is not a CSV file"),
        (A + "b.mp4,0,\0\n", "is not a CSV file|the action is"),
    ],
)
def test_a_csv_file_that_does_not_fit_its_videos_is_one_sentence(tmp_path: Path, rows: str, sentence: str) -> None:
    folder = videos(tmp_path / "play", rows)
    with pytest.raises(DataError, match=sentence) as error:
        import_folder(folder, "foo", project_root=tmp_path, frame_size=16)
    assert "\n" not in str(error.value)
    assert nothing_left(tmp_path)


def test_a_folder_needs_one_csv_file_that_can_be_read(tmp_path: Path) -> None:
    folder = videos(tmp_path / "play")
    (folder / "more.CSV").touch()
    with pytest.raises(DataError, match=r"has 2 CSV files \(actions\.csv, more\.CSV\); one is needed"):
        import_folder(folder, "foo", project_root=tmp_path)
    (folder / "more.CSV").unlink()
    (folder / "actions.csv").write_bytes(b"video,frame,action\na\xff.mp4,0,0\n")
    with pytest.raises(DataError, match=r"is not UTF-8 text \(it has the byte 0xff\)"):
        import_folder(folder, "foo", project_root=tmp_path)
    (folder / "actions.csv").unlink()
    with pytest.raises(DataError, match=r"has no CSV file; one is needed, such as actions\.csv, with the header"):
        import_folder(folder, "foo", project_root=tmp_path)
    (folder / "actions.csv").mkdir()
    with pytest.raises(DataError, match=r"actions\.csv: it is a folder; a CSV file"):
        import_folder(folder, "foo", project_root=tmp_path)
    assert nothing_left(tmp_path)


def test_a_video_of_a_folder_that_is_none_leaves_no_file(tmp_path: Path) -> None:
    folder = videos(tmp_path / "play")
    (folder / "b.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"b\.mp4 is not a video that can be opened"):
        import_folder(folder, "foo", project_root=tmp_path, frame_size=16)
    assert nothing_left(tmp_path)


def test_a_quoted_name_with_a_comma_is_one_video(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('video, frame ,action\n"a, b.mp4", 0 , 3\n\n')
    assert {name: own.tolist() for name, own in read_actions_csv(path).items()} == {"a, b.mp4": [3]}


@pytest.mark.parametrize(
    ("layout", "change", "sentence"),
    [
        ("minigrid", {"actions": None}, "has no `actions`, which the layout minigrid needs; fix: --layout tinyworlds"),
        ("minigrid", {"actions": None, "episode": None}, "has no `actions` and no `episode`, which"),
        ("videos", {"actions": None}, "has no `actions`, which the layout videos needs"),
        ("tinyworlds", {"frames": None}, "no dataset `frames`"),
        ("videos", {"actions": np.full(COUNT, 999)}, "`actions` has 999 at frame 0"),
    ],
)
def test_a_layout_that_a_file_cannot_fill_is_not_written(
    tmp_path: Path, layout: Layout, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        export_frames(recording(tmp_path / "s.h5", **change), tmp_path / "out", layout)
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_overwritten(tmp_path: Path, layout: Layout) -> None:
    source, output = recording(tmp_path / "s.h5"), tmp_path / "mine"
    output.mkdir()
    (output / "x").touch()
    with pytest.raises(DataError, match="mine exists already and is never overwritten"):
        export_frames(source, output, layout)
    assert [path.name for path in output.iterdir()] == ["x"]
    minigrid(tmp_path / "data" / "foo_frames.h5")
    with pytest.raises(DataError, match=r"foo_frames\.h5 exists already and is never overwritten"):
        import_hdf5(source, "foo", project_root=tmp_path)


class Interrupted(Exception):
    """Ctrl-C in the middle."""


def interrupt(done: int, total: int) -> None:
    raise Interrupted


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_export_that_is_interrupted_on_the_way_leaves_nothing(tmp_path: Path, layout: Layout) -> None:
    source = recording(tmp_path / "s.h5")
    with pytest.raises(Interrupted):
        export_frames(source, tmp_path / "new" / "o", layout, progress=interrupt)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [".o.lock"]
    assert source.exists()


@pytest.mark.parametrize("importer", [import_folder, import_hdf5])
def test_an_import_that_is_interrupted_on_the_way_leaves_no_half_file(tmp_path: Path, importer: Any) -> None:
    source = videos(tmp_path / "play") if importer is import_folder else recording(tmp_path / "s.h5")
    with pytest.raises(Interrupted):
        importer(source, "foo", project_root=tmp_path, frame_size=16, progress=interrupt)
    assert nothing_left(tmp_path)


def test_a_full_disk_is_one_sentence_and_leaves_no_half_folder(tmp_path: Path) -> None:
    source, output = recording(tmp_path / "s.h5"), tmp_path / "new" / "videos"
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from tinyworlds_gate.cli.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "sys.exit(main(['data', 'export', *sys.argv[1:], '--layout', 'videos']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(source), str(output)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "videos was not written" in ended.stderr.splitlines()[-1]
    assert [path.name for path in output.parent.iterdir()] == [".videos.lock"]


def test_the_commands_write_and_read_a_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording(tmp_path / "data" / "bars_frames.h5")
    root = ["--project-root", str(tmp_path)]
    folder = str(tmp_path / "videos")
    assert main(["data", "export", "BARS", folder, "--layout", "videos", *root]) == 0
    assert f"{folder}: layout videos; it has no place for `objects`" in capsys.readouterr().out
    assert main(["data", "import", folder, "--name", "foo", "--frame-size", "16", *root]) == 0
    assert "foo_frames.h5: 100 frames; use `--dataset FOO`" in capsys.readouterr().out
    assert main(["data", "import", str(tmp_path / "data/bars_frames.h5"), "--name", "again", *root]) == 0
    assert main(["data", "import", folder, "--name", "fast", "--fps", "30", *root]) == 2
    assert "--fps 30 is for a video; every frame of" in capsys.readouterr().err
    assert main(["data", "import", str(tmp_path / "none.h5"), "--name", "none", *root]) == 2
    assert "none.h5: there is no such file" in capsys.readouterr().err
    found = content(tmp_path / "data/again_frames.h5")
    np.testing.assert_array_equal(found["frames"], content(tmp_path / "data/foo_frames.h5")["frames"])
