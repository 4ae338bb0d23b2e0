"""What a chunk left behind: its checkpoint, its history and its picture, judged for S4, M1–M3 and P1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import CheckpointRef, list_checkpoints
from tinyworlds_gate.errors import CheckpointError, DivergedWeightsError
from tinyworlds_gate.names import INVALID, NOT_RUN, PASS
from tinyworlds_gate.reference.training.schedule import Schedule
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.paths import set_aside
from tinyworlds_gate.stages.chunk_history import ChunkHistory, missing_updates, read_chunk_history

RATE_TOLERANCE = 1e-6
"""Relative; the history holds the full precision of a float."""

PNG_BEGIN, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


@dataclass(frozen=True)
class ChunkEvidence:
    """The artifacts of one chunk, and the sentences on what is wrong with them (none when all is well)."""

    checkpoint: CheckpointRef | None
    history: ChunkHistory
    visualization: Path | None
    channels: Mapping[str, Mapping[str, str]]
    problems: tuple[str, ...]
    non_finite_weights: bool = False
    """Whether the chunk's checkpoint was refused since its weights are NaN or infinite."""
    checkpoint_refused: bool = False
    """Whether the checkpoint of the last update is there and cannot be used."""
    notes: tuple[str, ...] = ()
    """Remarks that are no fault of the chunk; one about the learning rate counts for P1."""

    @property
    def diverged(self) -> bool:
        """Whether a loss of the chunk or the weights that it left are NaN or infinite: the training's own failure."""
        return self.non_finite_weights or any(not math.isfinite(loss) for loss in self.history.losses)


def pictures_in(folder: Path) -> dict[Path, int]:
    """A stage's pictures with their modification times (ns); taken before a chunk starts."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("*.png")}


def set_aside_earlier_tries(layout: RunLayout, stage: str, start_update: int) -> list[Path]:
    """Rename the checkpoints of updates from ``start_update`` on: a try that did not count wrote them (S4).

    The next try writes its own under the same names, and none of an earlier one can be taken for them. Nothing is
    deleted.
    """
    checkpoints = list_checkpoints(layout.checkpoints(stage), stage)
    return [set_aside(folder, "superseded") for step, folder in checkpoints if step >= start_update]


def gather_evidence(
    layout: RunLayout,
    stage: str,
    *,
    start_update: int,
    end_update: int,
    schedule: Schedule,
    pictures_before: Mapping[Path, int],
) -> ChunkEvidence:
    """Read what the chunk over the updates ``[start_update, end_update)`` left and name every fault (S4)."""
    history = read_chunk_history(layout.history(stage), start_update, end_update)
    evidence = gather_artifacts(
        layout,
        stage,
        end_update=end_update,
        history=history,
        history_problem=missing_updates(history, start_update, end_update),
        visualizations=layout.visualizations(stage),
        pictures_before=pictures_before,
    )
    return replace(evidence, problems=(*evidence.problems, *_rate_problems(history, schedule)))


def gather_artifacts(
    layout: RunLayout,
    stage: str,
    *,
    end_update: int,
    history: ChunkHistory,
    history_problem: str | None,
    visualizations: Path,
    pictures_before: Mapping[Path, int],
    no_picture: str | None = None,
) -> ChunkEvidence:
    """The checkpoint, the history and the picture of a chunk, whatever target trained it (S4, M1–M3).

    ``no_picture``: why this target draws none in this chunk; M3 is then NOT-RUN, and the chunk counts without one.
    """
    checkpoint, refused = _expected_checkpoint(layout, stage, end_update - 1)
    checkpoint_problem = None if refused is None else str(refused)
    picture = _fresh_picture(visualizations, pictures_before)
    channels = {
        "M1": _channel(history_problem, f"{len(history.steps)} new rows in {layout.relative(layout.history(stage))}"),
        "M2": _channel(checkpoint_problem, f"checkpoint of update {end_update - 1} verified"),
        "M3": _channel(
            None if picture else "no new whole picture (PNG) appeared", f"{picture.name if picture else ''} is new"
        ),
    }
    if picture is None and no_picture is not None:
        channels["M3"] = {"verdict": NOT_RUN, "reason": no_picture}
    problems = [channel["reason"] for channel in channels.values() if channel["verdict"] == INVALID]
    problems += _loss_problems(history)
    return ChunkEvidence(
        checkpoint,
        history,
        picture,
        channels,
        tuple(problems),
        non_finite_weights=isinstance(refused, DivergedWeightsError),
        checkpoint_refused=refused is not None and layout.checkpoint(stage, end_update - 1).exists(),
    )


def _expected_checkpoint(
    layout: RunLayout, stage: str, step: int
) -> tuple[CheckpointRef | None, CheckpointError | None]:
    path = layout.checkpoint(stage, step)
    if not path.exists():
        return None, CheckpointError(f"no checkpoint {path.name} was written")
    try:
        return verify_checkpoint(path, expected_stage=stage, expected_step=step), None
    except CheckpointError as error:
        return None, error


def _fresh_picture(folder: Path, before: Mapping[Path, int]) -> Path | None:
    fresh = [path for path, stamp in pictures_in(folder).items() if before.get(path) != stamp and _is_whole_png(path)]
    return max(fresh, key=lambda path: path.stat().st_mtime_ns) if fresh else None


def _is_whole_png(path: Path) -> bool:
    content = path.read_bytes()
    return content.startswith(PNG_BEGIN) and content.endswith(PNG_END)


def _channel(problem: str | None, holds: str) -> dict[str, str]:
    return {"verdict": INVALID, "reason": problem} if problem else {"verdict": PASS, "reason": holds}


def _loss_problems(history: ChunkHistory) -> list[str]:
    bad = [(step, loss) for step, loss in zip(history.steps, history.losses, strict=True) if not math.isfinite(loss)]
    return [f"the loss of update {bad[0][0]} is {bad[0][1]}"] if bad else []


def _rate_problems(history: ChunkHistory, schedule: Schedule) -> list[str]:
    """P1: the learning rate that the stage used is the one that was resolved."""
    for step, rate in zip(history.steps, history.learning_rates, strict=True):
        expected = schedule.rate_at(step)
        if not math.isclose(rate, expected, rel_tol=RATE_TOLERANCE):
            return [f"the learning rate of update {step} was {rate:.6g}, but {expected:.6g} was resolved"]
    return []
