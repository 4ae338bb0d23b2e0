"""Before training, in a run that names a fixed evaluation set: it can be measured, and no training has seen it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.errors import CheckpointError, ConfigError
from tinyworlds_gate.names import EVALUATION
from tinyworlds_gate.reference.data.evaluation_set import open_evaluation_set, require_unseen
from tinyworlds_gate.reference.data.frames_file import FramesData
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.stages.context import RunContext
from tinyworlds_gate.stages.controller import StageResult


def prepare_evaluation(context: RunContext, path: Path, data: FramesData, length: int) -> dict[str, Any] | None:
    """Check the evaluation set against the training data, and note its clips for the final verdict.

    Args:
        context: the run; its ``evaluation_path`` and ``clip_draws`` are set.
        path: the frames file that is trained on, and ``data`` what it holds.
        data: as above.
        length: frames of a clip, context and generated ones.

    Returns:
        ``evaluation`` of the journal's ``dataset_ready``; None in a run without an evaluation set.

    Raises:
        ConfigError: it is the file that is trained on.
        DataError: it cannot be measured, or shares clips or worlds with the training data.
    """
    settings = context.settings
    named = settings.inference.evaluation_file
    if named is None:
        return None
    given = settings.project_root / named
    if given.exists() and given.samefile(path):
        raise ConfigError(
            f"evaluation_file={named} ({settings.provenance['inference.evaluation_file']}) is the file that the models "
            "are trained on; name frames that no training sees, or leave it out"
        )
    evaluation = open_evaluation_set(given, frame_size=settings.training.frame_size, length=length)
    shared = require_unseen(evaluation, data, length=length)
    clips, episodes = len(evaluation.starts), len(set(evaluation.episodes.tolist()))
    context.evaluation_path = given
    context.clip_draws[EVALUATION] = tuple(evaluation.starts.tolist())
    also = f"; {shared} of their frames occur in the training data too" if shared else ""
    context.say(
        f"the final verdict is taken on the evaluation set {context.layout.relative(given)}: {clips} clips of "
        f"{episodes} episodes{also}"
    )
    return {
        "path": given,
        "sha256": sha256_of(given),
        "clips": clips,
        "episodes": episodes,
        "shared_frames": shared,
    }


def require_untrained(given: Mapping[str, StageResult], ready: Event | None) -> None:
    """No checkpoint that a person named was trained on the evaluation set of ``dataset_ready``.

    Raises:
        CheckpointError: one records that it was.
    """
    evaluation = (ready or {}).get("evaluation")
    if evaluation is None:
        return
    for stage, result in given.items():
        reference = result.checkpoint
        if reference is not None and (reference.manifest or {}).get("data_sha256") == evaluation["sha256"]:
            raise CheckpointError(
                f"--{stage.split('_')[0]}-checkpoint {reference.path}: it was trained on the evaluation set "
                f"{evaluation['path']}; nothing that is measured there may have seen it. Give another checkpoint, or "
                "another evaluation_file"
            )
