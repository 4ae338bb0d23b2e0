"""Defects of the measured data: other clips, other settings, changed frames."""

from __future__ import annotations

from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.rows.build import NOT_CLIPS, NOT_ERRORS, SCALED, child, data, setting

CLIPS = (
    data(
        "one-lucky-clip",
        "only one, easy clip is measured",
        "INVALID",
        "G5.clips",
        "1 clips were measured instead of the 64",
    ),
    Defect(
        "one-clip-asked",
        "the settings ask for one clip only",
        "files",
        "FAIL",
        "G5.sample",
        "1 clip was measured in 1 episode, at least 5 episodes are required",
        project=setting("inference", clips=1),
    ),
    data("easiest-clips", "the easiest quarter of the clips is measured", "INVALID", "G5.clips", NOT_CLIPS),
    data(
        "training-clips", "clips of training episodes are measured", "INVALID", "G5.clips", "were not drawn", quick=True
    ),
    data("repeated-clip", "one clip is measured 64 times", "INVALID", "G5.clips", "clips were measured instead"),
    data("shifted-clips", "the clips start one frame early", "INVALID", "G5.clips", "were not drawn"),
    child(
        "fewer-steps",
        "clips are truncated after 2 of 6 steps",
        "INVALID",
        "G5.settings",
        "generation_steps=2 instead of 6",
        quick=True,
    ),
    child("one-decode-step", "one decoding step instead of 4", "INVALID", "G5.settings", "decode_steps=1 instead of 4"),
    child(
        "temperature-stated",
        "tokens are sampled, and the run reports it",
        "INVALID",
        "G5.settings",
        "temperature=1.0 instead",
    ),
    child(
        "teacher-forced-stated",
        "teacher forcing, and the run reports it",
        "INVALID",
        "G5.settings",
        "teacher_forced=True instead",
    ),
    child(
        "pixels-instead-of-tokens",
        "pixels are fed back, not tokens",
        "INVALID",
        "G5.settings",
        "rollout='pixels' instead",
    ),
)
FRAMES = (
    data("scaled-twice", "frames are scaled to [-1, 1] twice", "INVALID", "G5.baseline", SCALED),
    data("range-0-255", "frames in [0, 255]", "INVALID", "G5.baseline", SCALED, quick=True),
    data("range-0-1", "frames in [0, 1]", "INVALID", "G5.baseline", SCALED),
    data("little-contrast", "frames with half the contrast", "INVALID", "G5.baseline", SCALED),
    data("channels-swapped", "red and blue are swapped", "INVALID", "G5.recomputed", NOT_ERRORS, quick=True),
    data("upside-down", "frames are flipped vertically", "INVALID", "G5.recomputed", NOT_ERRORS),
    data("other-file", "frames of an easier file, in which nothing moves", "INVALID", "G5.frames", "another digest"),
    data("file-changes-meanwhile", "the frames file changes during the run", "INVALID", "G5.frames", "another digest"),
)
