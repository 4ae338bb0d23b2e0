"""What an inference run leaves behind: its log, read line by line, and its picture, decoded for real."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.helpers.commands import TEST_DATA
from tinyworlds_gate.gate.evidence import check_new_picture, existing_pictures
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.log_lines import InferenceLines, inference_lines, read_log

REAL_LOG = TEST_DATA / "foreign_run" / "logs" / "inference.log"
NAME = "inference_results_gt_vs_pred_2026_01_02_03_04_05.png"


@pytest.mark.requirement("G2", "G3", "G5")
def test_the_log_of_a_tinyworlds_fork_is_read_through_its_progress_bars() -> None:
    assert b"\r" in REAL_LOG.read_bytes()
    steps = {"video_tokenizer": 1099, "latent_actions": 299, "dynamics": 899}
    expected = {stage: f"results/tinyworlds_fork/{stage}/checkpoints/{stage}_step_{steps[stage]}" for stage in STAGES}
    found = inference_lines(read_log(REAL_LOG))
    assert (found.checkpoints, found.frames_inferred, found.has_stats, found.mse) == (expected, 4, True, 0.035746)


def test_a_log_with_bytes_that_are_no_text_is_read_around_them(tmp_path: Path) -> None:
    log = tmp_path / "inference.log"
    log.write_bytes(b"\xff\xfe\x80 noise\n" + REAL_LOG.read_bytes().replace(b"A/B Test", b"A\xc3\x28B"))
    assert inference_lines(read_log(log)) == inference_lines(read_log(REAL_LOG))


@pytest.mark.parametrize("content", [None, b"", b"Traceback (most recent call last):\nKeyError: 'x'\n"])
def test_a_log_without_markers_states_nothing(tmp_path: Path, content: bytes | None) -> None:
    log = tmp_path / "inference.log"
    if content is not None:
        log.write_bytes(content)
    assert inference_lines(read_log(log)) == InferenceLines()


def test_a_marker_behind_a_carriage_return_counts_as_a_line_of_its_own() -> None:
    found = inference_lines("loading 10%\rloading 100%\rInferring frame 1/2\r\nInference stats:\r\n")
    assert (found.frames_inferred, found.has_stats) == (1, True)


def test_markers_in_the_middle_of_a_line_are_prose() -> None:
    text = "see 'Using dynamics checkpoint: x' and 'Inferring frame 1/2' and 'Mean Squared Error (GT vs Pred): 0.01'\n"
    assert inference_lines(text) == InferenceLines()


def test_the_error_with_context_of_the_fork_is_never_taken_for_the_gates() -> None:
    line = "Mean Squared Error (GT vs Pred, full_with_context): 0.001\n"
    assert inference_lines(line).mse is None
    assert inference_lines("Mean Squared Error (GT vs Pred): 0.05\n" + line).mse == 0.05


@pytest.mark.parametrize(
    ("text", "expected"), [("1e-3", 1e-3), ("inf", math.inf), ("nan", math.nan), ("tensor(0.02)", math.nan)]
)
def test_the_error_is_a_number_or_nan(text: str, expected: float) -> None:
    found = inference_lines(f"Mean Squared Error (GT vs Pred): {text}\n").mse
    assert found == pytest.approx(expected, nan_ok=True)


def test_the_last_of_several_errors_and_checkpoints_counts() -> None:
    text = "".join(
        f"Using dynamics checkpoint: {path}\nMean Squared Error (GT vs Pred): {mse}\n"
        for path, mse in (("a b/dynamics_step_1", 0.5), ("c/dynamics_step_2", 0.25))
    )
    found = inference_lines(text)
    assert (found.checkpoints, found.mse) == ({"dynamics": "c/dynamics_step_2"}, 0.25)


def test_a_path_with_spaces_is_kept_whole() -> None:
    text = "Using dynamics checkpoint: my runs/dynamics_step_1  \n"
    assert inference_lines(text).checkpoints == {"dynamics": "my runs/dynamics_step_1"}


def write_picture(path: Path) -> Path:
    """A real PNG of a few kilobytes."""
    figure = Figure(figsize=(2, 2))
    figure.subplots().imshow(np.random.default_rng(0).random((32, 32, 3)))
    figure.savefig(path, format="png")
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "inference_results"
    folder.mkdir()
    return folder


@pytest.mark.requirement("G4", "A7")
def test_a_picture_that_appeared_and_decodes_is_found(results: Path) -> None:
    write_picture(results / "inference_results_gt_vs_pred_2026_01_01_00_00_00.png")
    before = existing_pictures(results)
    new = write_picture(results / NAME)
    found = check_new_picture(results, before)
    assert (found.path, found.problem) == (new, "")


@pytest.mark.requirement("G4")
def test_a_picture_that_lay_there_before_is_stale_even_when_it_was_written_again(results: Path) -> None:
    write_picture(results / NAME)
    before = existing_pictures(results)
    write_picture(results / NAME)
    found = check_new_picture(results, before)
    assert found.path is None
    assert found.problem == (
        "no new inference_results_gt_vs_pred_*.png appeared in inference_results/ (1 older ones lie there)"
    )


@pytest.mark.requirement("G4")
def test_no_picture_at_all_is_reported(results: Path) -> None:
    write_picture(results / "tokenizer_recon_gt_vs_recon_A.png")
    assert existing_pictures(results) == frozenset()
    assert check_new_picture(results, frozenset()).problem.endswith("(the folder holds none)")


def test_a_folder_that_does_not_exist_holds_no_pictures(tmp_path: Path) -> None:
    assert existing_pictures(tmp_path / "none") == frozenset()
    assert check_new_picture(tmp_path / "none", frozenset()).path is None


def damaged(whole: bytes, how: str) -> bytes:
    header, data = whole[:8], whole.index(b"IDAT")
    return {
        "empty": b"",
        "signature only": header,
        "truncated in the header": whole[:20],
        "truncated in the pixels": whole[: len(whole) // 2],
        "cut before its end": whole[: data + 600],
        "text": b"not a picture at all\n" * 20,
        "flipped bits in the pixels": whole[: data + 40]
        + bytes(255 - byte for byte in whole[data + 40 : data + 80])
        + whole[data + 80 :],
        "zeros after the header": header + bytes(len(whole) - 8),
    }[how]


@pytest.mark.requirement("G4")
@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "signature only",
        "truncated in the header",
        "truncated in the pixels",
        "cut before its end",
        "text",
        "flipped bits in the pixels",
        "zeros after the header",
    ],
)
def test_a_damaged_picture_is_no_picture(results: Path, tmp_path: Path, how: str) -> None:
    whole = write_picture(tmp_path / "whole.png").read_bytes()
    (results / NAME).write_bytes(damaged(whole, how))
    found = check_new_picture(results, frozenset())
    assert found.path is None
    assert found.problem.startswith(f"{NAME} does not decode as an image (")


def test_a_picture_truncated_anywhere_is_never_taken(results: Path, tmp_path: Path) -> None:
    whole = write_picture(tmp_path / "whole.png").read_bytes()
    taken = []
    for length in range(0, len(whole) - 12, max(1, len(whole) // 60)):
        (results / NAME).write_bytes(whole[:length])
        if check_new_picture(results, frozenset()).path is not None:
            taken.append(length)
    assert taken == []


def test_of_several_new_pictures_the_newest_counts(results: Path) -> None:
    write_picture(results / NAME)
    newest = results / NAME.replace(".png", "_2.png")
    shutil.copy(results / NAME, newest)
    assert check_new_picture(results, frozenset()).path == newest
