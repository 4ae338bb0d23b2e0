"""Parsing a checkout's logs: real logs of the fork, Windows line ends, progress bars, invalid bytes.

pytest tests/unit/targets/test_log_lines.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.commands import TEST_DATA
from tests.helpers.shared_files import shared_file
from tinyworlds_gate.targets.log_lines import GROUPS, LogPatterns, inference_lines, newest_update, read_log

REAL_INFERENCE = TEST_DATA / "foreign_run/logs/inference.log"
PATTERNS = LogPatterns()


@pytest.mark.requirement("G2", "G3", "G5")
def test_the_real_inference_log_of_the_fork_is_parsed_completely() -> None:
    lines = inference_lines(read_log(REAL_INFERENCE), PATTERNS)
    assert lines.checkpoints == {
        stage: f"results/tinyworlds_fork/{stage}/checkpoints/{stage}_step_{step}"
        for stage, step in {"video_tokenizer": 1099, "latent_actions": 299, "dynamics": 899}.items()
    }
    assert (lines.frames_inferred, lines.has_stats) == (4, True)
    assert (lines.mse, lines.mse_with_context) == (0.035746, 0.023831)
    assert lines.random_actions == 4
    assert lines.missing == ()


def test_the_copy_in_the_tests_is_the_shared_log() -> None:
    assert shared_file("foreign-run/logs/inference.log").read_bytes() == REAL_INFERENCE.read_bytes()


@pytest.mark.parametrize(
    ("name", "updates", "newest"),
    [("train_video_tokenizer", 1400, 1399), ("train_latent_actions", 500, 499), ("train_dynamics", 1200, 1199)],
)
def test_the_real_training_logs_give_the_update_by_their_progress_bar(name: str, updates: int, newest: int) -> None:
    """The loaders' own progress bars (63 blocks) do not count."""
    text = read_log(shared_file(f"foreign-run/logs/{name}.log"))
    assert newest_update(text, PATTERNS, updates) == newest
    by_its_lines = newest_update(text, PATTERNS, updates + 1)
    assert by_its_lines in (0, 1000), "a bar with another total is another bar; the log interval was 1000"


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\n\n"])
def test_line_ends_of_any_system_are_line_ends(end: str) -> None:
    text = REAL_INFERENCE.read_bytes().decode("utf-8").replace("\n", end)
    assert inference_lines(text, PATTERNS) == inference_lines(read_log(REAL_INFERENCE), PATTERNS)


def test_invalid_utf8_and_colours_do_not_hide_a_marker(tmp_path: Path) -> None:
    noisy = tmp_path / "inference.log"
    noise = b"\xff\xfe\x80\x81 caf\xe9\r\n\x1b[32m"
    noisy.write_bytes(noise.join(REAL_INFERENCE.read_bytes().splitlines(keepends=True)))
    assert inference_lines(read_log(noisy), PATTERNS) == inference_lines(read_log(REAL_INFERENCE), PATTERNS)


def test_a_progress_bar_before_a_marker_does_not_hide_it() -> None:
    text = "\r 20%|##   | 1/5 [00:00<00:01, 3.89it/s]\r100%|#####| 5/5 [00:01<00:00, 3.8it/s]\rInference stats:\n"
    assert inference_lines(text, PATTERNS).has_stats


@pytest.mark.requirement("G3")
def test_markers_that_are_missing_are_named() -> None:
    lines = inference_lines("Using dynamics checkpoint: a/dynamics_step_3\nInferring frame 1/4\n", PATTERNS)
    assert lines.missing == ("Using … checkpoint:", "Inference stats", "Mean Squared Error (GT vs Pred)")


def test_a_log_that_does_not_exist_is_an_empty_one(tmp_path: Path) -> None:
    lines = inference_lines(read_log(tmp_path / "absent.log"), PATTERNS)
    assert len(lines.missing) == 4
    assert newest_update("", PATTERNS, 9) is None


def test_an_invalid_number_is_nan_and_not_missing() -> None:
    lines = inference_lines("Mean Squared Error (GT vs Pred): oops\n", PATTERNS)
    assert lines.mse is not None
    assert lines.mse != lines.mse


def test_every_pattern_has_its_groups() -> None:
    for name in LogPatterns.model_fields:
        assert set(GROUPS.get(name, ())) <= set(PATTERNS.compiled(name).groupindex)
