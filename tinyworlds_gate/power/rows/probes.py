"""Frames that the model did not generate from context and actions as requested; only a fresh process shows it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.rows.build import DYNAMICS, NOT_INFERRED, NOT_STRICT, child, rollout
from tinyworlds_gate.power.weight_changes import changed, initialised

OTHER_CODES = "the measures state the action codes .*, but the step followed"
OTHER_FLOOR = "states a reconstruction error of the tokenizer of .* clips, these weights give"
REPLAYED = "replayed"
NOT_RANDOM = "of the frames of random actions are others than these weights generate"


def _untrained(root: Path) -> None:
    """Give dynamics new random weights; its trained ones are left elsewhere in the project."""
    shutil.copytree(root / "results" / "healthy" / DYNAMICS / "checkpoints", root / REPLAYED)
    changed(DYNAMICS, initialised)(root)


PROBES = (
    rollout(
        "truth-from-second-batch", "from the second batch on, true frames leak in", "INVALID", "G5.blind", NOT_STRICT
    ),
    rollout(
        "truth-cached",
        "true frames leak in, cached by context",
        "INVALID",
        "G5.blind",
        NOT_STRICT,
    ),
    rollout("decode-steps", "one decoding step, reported as 4", "INVALID", "G5.blind", NOT_STRICT),
    rollout("pixels-fed-back", "pixels are fed back, reported as tokens", "INVALID", "G5.blind", NOT_STRICT),
    rollout("context-of-noise", "the rollout starts from noise", "INVALID", "G5.blind", NOT_STRICT),
    rollout("context-ignored", "a model that ignores its context", "FAIL", "G7", "times the own one"),
    Defect(
        "frames-replayed",
        "the frames of a trained model are presented as those of an untrained one",
        "child",
        "INVALID",
        "G5.blind",
        NOT_STRICT,
        project=_untrained,
        in_child="frames-replayed",
    ),
    rollout(
        "random-rollouts-of-noise",
        "noise is presented as the frames that random actions generate, with its errors",
        "INVALID",
        "G5.random",
        NOT_RANDOM,
    ),
    rollout("actions-drawn", "random actions are followed, not inferred ones", "INVALID", "G5.actions", NOT_INFERRED),
    child("floor-understated", "the tokenizer's own error is stated as 0", "INVALID", "G5.floor", OTHER_FLOOR),
    child("codes-made-up", "other action codes are reported than were followed", "INVALID", "G5.blind", OTHER_CODES),
)
