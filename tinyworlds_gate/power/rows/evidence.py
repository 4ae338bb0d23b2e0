"""Defects of the evidence: measurements, log, picture, and the end of the process."""

from __future__ import annotations

from pathlib import Path

from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.rows.build import EXIT_1, NO_ERROR, NO_IMAGE, NO_PICTURE, NOT_ERRORS, OTHER_FRAMES, child


def _an_old_picture(root: Path) -> None:
    from PIL import Image

    folder = root / "inference_results"
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), "white").save(folder / "inference_results_gt_vs_pred_2026_01_01_00_00_00.png")


METRIC = (
    child(
        "context-in-the-metric", "the errors include the copied context frames", "INVALID", "G5.recomputed", NOT_ERRORS
    ),
    child("error-not-computed", "a constant error is reported for every clip", "INVALID", "G5.recomputed", NOT_ERRORS),
    child("error-squared", "errors are squared twice", "INVALID", "G5.recomputed", NOT_ERRORS),
    child("best-clip-for-all", "all clips get the best clip's errors", "INVALID", "G5.recomputed", NOT_ERRORS),
    child("no-clips", "the measurements contain no clip", "FAIL", "G1", EXIT_1),
    child("no-measures", "no measurements are written", "INVALID", "G5.measures", "left no measures"),
    child("measures-of-another-run", "the measurements are of other clips", "INVALID", "G5.frames", OTHER_FRAMES),
)
LOG = (
    child("log-without-error", "the log has no error", "FAIL", "G5.log", NO_ERROR),
    child("log-error-made-up", "the error in the log is made up", "INVALID", "G5.log", "not of this run"),
    child("log-error-of-another-run", "the log has another run's error", "INVALID", "G5.log", "not of this run"),
    child("log-error-nan", "the error in the log is nan", "FAIL", "G5.log", "nan, not a finite number"),
    child("log-without-statistics", "the log has no statistics", "FAIL", "G3", "no line 'Inference stats'"),
    child("log-without-frames", "the log has no inference step", "FAIL", "G3", "no frame was generated"),
    child(
        "log-without-checkpoints", "the log names no checkpoint", "FAIL", "G2", "does not show which video_tokenizer"
    ),
    child(
        "log-names-other-checkpoint", "the log names another checkpoint", "FAIL", "G2", "dynamics_step_49, but this run"
    ),
)
FILES = (
    Defect(
        "stale-picture",
        "no new picture, only an old one",
        "child",
        "FAIL",
        "G4",
        NO_PICTURE,
        project=_an_old_picture,
        in_child="stale-picture",
    ),
    child("empty-picture", "the picture is empty", "FAIL", "G4", NO_IMAGE),
    child("cut-picture", "the picture is truncated", "FAIL", "G4", NO_IMAGE),
    child("text-as-picture", "the picture is a text file", "FAIL", "G4", NO_IMAGE),
    child("picture-of-another-name", "the picture has another name", "FAIL", "G4", NO_PICTURE),
    child("exit-1-at-the-end", "the process exits with code 1 after its last line", "FAIL", "G1", EXIT_1),
    child("exception-at-the-end", "an exception after the last line", "FAIL", "G1", EXIT_1),
    child("exit-0-at-the-start", "the process ends at once with exit code 0", "FAIL", "G5.log", NO_ERROR),
)
