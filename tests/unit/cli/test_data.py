"""`tinyworlds-gate data …`: the contact sheet, the numbers and the four subcommands."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.data_files import frames_data, numbered_frames, write_h5, write_video
from tests.helpers.data_hub_server import Hub, serving
from tinyworlds_gate.cli import data as cli
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.contact_sheet import contact_sheet, describe, measure, write_contact_sheet
from tinyworlds_gate.reference.data.progress import console_progress


def _data(*words: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(words))


def test_a_contact_sheet_has_a_row_of_twelve_frames_for_each_of_eight_episodes() -> None:
    data = frames_data(np.repeat(np.arange(20), 23), size=10)
    sheet = contact_sheet(data)
    assert sheet.shape == (8 * 12, 12 * 12, 3)
    first_row = sheet[0, ::12, 0].tolist()
    assert first_row == np.linspace(0, 22, 12).astype(int).tolist()
    assert sheet[-12, 0].tolist() == data.frames[19 * 23, 0, 0].tolist()
    assert (sheet[10:12] == 255).all()


def test_the_numbers_count_frames_and_episodes_and_measure_copying_the_last_frame() -> None:
    numbers = measure(frames_data([0] * 20 + [1] * 16))
    assert (numbers.frames, numbers.height, numbers.width, numbers.episodes) == (36, 8, 8, 2)
    assert (numbers.shortest_episode, numbers.longest_episode, numbers.clips) == (16, 20, 8)
    np.testing.assert_allclose(numbers.copy_last_mse, [(step / 255) ** 2 / 3 for step in range(1, 13)])
    assert "copy-last MSE     mean 0.0003 over 8 clips, by step ahead:" in describe(numbers)


def test_episodes_too_short_to_measure_say_so() -> None:
    text = describe(measure(frames_data([0, 0, 0, 1, 1])))
    assert "not measured: every episode is shorter than 4 frames" in text


def test_a_picture_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"the picture .*sheet.png cannot be written .*fix: choose another --output"):
        write_contact_sheet(frames_data([0, 0]), tmp_path / "file" / "sheet.png")


def test_make_then_show_by_name_writes_a_picture_and_prints_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ("--project-root", str(tmp_path))
    made = _data("make", "crafter", "--frame-size", "18", "--num-frames", "40", "--episode-length", "20", *root)
    assert made == 0
    assert "Crafter frames: 40/40 (100 %)" in capsys.readouterr().err
    assert _data("show", "CRAFTER", *root) == 0
    printed = capsys.readouterr().out
    assert "frames            40\nsize              18 x 18 px\nepisodes          2 episodes" in printed
    with Image.open(tmp_path / "data" / "crafter_18px_frames_contact_sheet.png") as picture:
        assert picture.size == (12 * 20, 2 * 20)


def test_show_takes_a_file_a_size_a_stride_and_an_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = write_h5(tmp_path / "x.h5", frames=numbered_frames(400)), tmp_path / "pictures" / "x.png"
    assert _data("show", str(path), "--frame-size", "4", "--stride", "4", "--output", str(output)) == 0
    printed = capsys.readouterr().out
    assert (
        "frames            100\nsize              4 x 4 px\nepisodes          9 blocks (the file does not record"
        in printed
    )
    with Image.open(output) as picture:
        assert picture.size == (12 * 6, 8 * 6)


def test_show_of_a_name_with_several_files_is_an_error_that_lists_them(tmp_path: Path) -> None:
    for size in (18, 27):
        write_h5(tmp_path / "data" / f"crafter_{size}px_frames.h5", frames=numbered_frames(4, size))
    with pytest.raises(DataError, match=r"CRAFTER names several files \(crafter_18px_frames.h5, crafter_27px"):
        _data("show", "crafter", "--project-root", str(tmp_path))


@pytest.mark.parametrize("name", ["ZELDA", "CRAFTER", "nowhere/x.h5"])
def test_show_of_a_missing_file_is_one_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="there is no such file; a frames file"):
        _data("show", name, "--project-root", str(tmp_path))


def test_import_prints_how_to_use_the_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_video(tmp_path / "v.mp4", np.full((30, 32, 32, 3), 90, np.uint8), fps=30)
    assert _data("import", str(video), "--name", "foo", "--frame-size", "16", "--project-root", str(tmp_path)) == 0
    assert "foo_frames.h5: 15 frames at 15 a second; use `--dataset FOO`" in capsys.readouterr().out


def test_fetch_prints_path_and_size_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = write_h5(tmp_path / "source.h5", frames=numbered_frames(9)).read_bytes()
    with serving(Hub(body)) as hub:
        assert _data("fetch", "zelda", "--endpoint", hub.endpoint, "--project-root", str(tmp_path)) == 0
    assert "zelda_frames.h5: 9 frames of 8 x 8 px" in capsys.readouterr().out


def test_progress_is_plain_lines_away_from_a_terminal() -> None:
    out = io.StringIO()
    with console_progress("Frames", out) as progress:
        for done in range(0, 101, 5):
            progress(done, 100)
    lines = out.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[3].startswith("Frames: 30/100 (30 %) after ")


def test_progress_is_a_bar_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with console_progress("Frames", out) as progress:
        progress(40, 100)
    assert "Frames" in out.getvalue()
    assert "40/100" in out.getvalue()
    assert "━" in out.getvalue()
