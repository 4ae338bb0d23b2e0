"""Resolve the checkpoint that a stage resumes from and verify it against the journal's hash (S4).

Where it is damaged, the newest valid checkpoint of the run is used instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import CheckpointRef, checkpoint_event
from tinyworlds_gate.checkpoints.resolve import newest_of_run
from tinyworlds_gate.checkpoints.retention import keep_gated
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.run.layout import RunLayout

Recorded = Mapping[str, Any]
"""A checkpoint in the journal's form: path, step, sha256, parameters."""

LINEAGE = {"tokenizer_sha256": "video_tokenizer", "latent_actions_sha256": "latent_actions"}
"""Manifest entry of a dynamics checkpoint → the stage whose weights it names (C4)."""


class StageCheckpoints:
    """The checkpoints of one stage that this run may continue from."""

    def __init__(
        self,
        layout: RunLayout,
        stage: str,
        *,
        inputs: Mapping[str, CheckpointRef],
        start: CheckpointRef | None,
        sizes: Mapping[str, Any] | None,
        say: Callable[[str], None],
    ) -> None:
        """Nothing is read yet.

        Args:
            inputs: the checkpoints that dynamics is trained on; its own must name their weights (C4).
            start: where the stage starts when the run has no valid checkpoint of it; None for new weights.
            sizes: setting → value that a checkpoint must have; None accepts any (a checkout has its own configs).
            say: receives a sentence about each checkpoint that is refused.
        """
        self.layout, self.stage, self.inputs, self.start = layout, stage, inputs, start
        self.sizes, self.say = sizes, say
        self._verified: dict[str, CheckpointRef] = {}

    def record(self, reference: CheckpointRef | None) -> Recorded | None:
        """The journal's form of a checkpoint that has just been verified."""
        if reference is not None:
            self._verified[self.layout.relative(reference.path)] = reference
        return checkpoint_event(self.layout, reference)

    def keep_for_gate(self, recorded: Recorded | None) -> None:
        """Protect the checkpoint that the stage gate judges from being pruned by a later chunk."""
        if recorded is not None:
            keep_gated([self.layout.project_root / str(recorded["path"])], "stage", run_root=self.layout.root)

    def resolve(self, recorded: Recorded | None) -> CheckpointRef | None:
        """The verified checkpoint that the journal recorded.

        Raises:
            CheckpointError: it is damaged, or was replaced since.
        """
        if recorded is None:
            return None
        path = str(recorded["path"])
        if path not in self._verified:
            self._verified[path] = verify_recorded(self.layout.project_root, self.stage, recorded)
        return self._verified[path]

    def resolve_or_older(self, recorded: Recorded | None) -> CheckpointRef | None:
        """The recorded checkpoint, or this run's newest valid one where it is damaged or was pruned."""
        try:
            return self.resolve(recorded)
        except CheckpointError as error:
            assert recorded is not None
            used, _ = self.newest_below(int(recorded["step"]) + 1)
            next_choice = f"update {used['step']} is used instead" if used else "the run has no other"
            self.say(f"{self.stage}: {error}; {next_choice}")
            return self.resolve(used)

    def newest_below(self, step: int) -> tuple[Recorded | None, list[dict[str, str]]]:
        """Where the stage goes on before the 0-based update ``step``: this run's newest valid checkpoint, else its
        start; and every newer one that was refused, with its reason."""
        lineage = {key: self.inputs[stage].model_sha256 for key, stage in LINEAGE.items() if stage in self.inputs}
        found, skipped = newest_of_run(
            self.layout.checkpoints(self.stage),
            self.stage,
            run=self.layout.run,
            below_step=step,
            sizes=self.sizes,
            lineage=lineage if self.stage == "dynamics" else None,
        )
        for one in skipped:
            self.say(f"{self.stage}: checkpoint {one.path.name} was refused: {one.reason}")
        refused = [{"path": self.layout.relative(one.path), "reason": one.reason} for one in skipped]
        return self.record(found or self.start), refused


def verify_recorded(project_root: Path, stage: str, recorded: Recorded) -> CheckpointRef:
    """The checkpoint that a journal recorded, whole and with the same weights.

    Raises:
        CheckpointError: it is damaged, or was replaced since.
    """
    reference = verify_checkpoint(
        project_root / str(recorded["path"]), expected_stage=stage, expected_step=recorded["step"]
    )
    if reference.model_sha256 != recorded["sha256"]:
        raise CheckpointError(
            f"{reference.path} has weights of SHA-256 {reference.model_sha256[:12]}…, the journal recorded "
            f"{str(recorded['sha256'])[:12]}…: it was replaced. Put the old folder back, or start a new run"
        )
    return reference
