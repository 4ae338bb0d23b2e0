"""Defects of the measured data: other clips, other settings, changed frames."""

from __future__ import annotations

from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.rows.build import NOT_CLIPS, NOT_ERRORS, OTHER_FRAMES, SCALED, data, setting, stated

CLIPS = (
    data("one-lucky-clip", "only one, easy clip is measured", "G5.clips", "1 clips were measured instead of the 64"),
    Defect(
        "one-clip-asked",
        "the settings ask for one clip only",
        "files",
        "FAIL",
        "G5.sample",
        "1 clip was measured in 1 episode, at least 5 episodes are required",
        project=setting("inference", clips=1),
    ),
    data("easiest-clips", "the easiest quarter of the clips is measured", "G5.clips", NOT_CLIPS),
    data("training-clips", "clips of training episodes are measured", "G5.clips", "were not drawn"),
    data("repeated-clip", "one clip is measured 64 times", "G5.clips", "clips were measured instead"),
    data("shifted-clips", "the clips start one frame early", "G5.clips", "were not drawn"),
    stated("fewer-steps", "clips are truncated after 2 of 6 steps", "generation_steps=2 instead of 6"),
    stated("one-decode-step", "one decoding step instead of 4", "decode_steps=1 instead of 4"),
    stated("temperature-stated", "tokens are sampled, and the run reports it", "temperature=1.0 instead"),
    stated("teacher-forced-stated", "teacher forcing, and the run reports it", "teacher_forced=True instead"),
    stated("pixels-instead-of-tokens", "pixels are fed back, not tokens", "rollout='pixels' instead"),
)
FRAMES = (
    data("scaled-twice", "frames are scaled to [-1, 1] twice", "G5.baseline", SCALED),
    data("range-0-255", "frames in [0, 255]", "G5.baseline", SCALED),
    data("range-0-1", "frames in [0, 1]", "G5.baseline", SCALED),
    data("little-contrast", "frames with half the contrast", "G5.baseline", SCALED),
    data("channels-swapped", "red and blue are swapped", "G5.recomputed", NOT_ERRORS),
    data("upside-down", "frames are flipped vertically", "G5.recomputed", NOT_ERRORS),
    data("other-file", "frames of an easier file, in which nothing moves", "G5.frames", OTHER_FRAMES),
    data("file-changes-meanwhile", "the frames file changes during the run", "G5.frames", OTHER_FRAMES),
)
