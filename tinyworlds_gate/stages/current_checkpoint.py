"""The checkpoint on which a stage stands: verified once, held to the journal's hash, or the newest valid one (S4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import CheckpointRef, checkpoint_event
from tinyworlds_gate.checkpoints.resolve import newest_of_run
from tinyworlds_gate.checkpoints.retention import keep_gated
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.names import SHARED_KEYS

Recorded = Mapping[str, Any]
"""A checkpoint in the journal's form: path, step, sha256, parameters."""

LINEAGE = {"tokenizer_sha256": "video_tokenizer", "latent_actions_sha256": "latent_actions"}
"""Manifest entry of a dynamics checkpoint → the stage whose weights it names (C4)."""


class Standing:
    """The checkpoints of one stage that this run may continue."""

    def __init__(
        self, context: RunContext, stage: str, inputs: Mapping[str, CheckpointRef], given: CheckpointRef | None
    ) -> None:
        """``given`` is where the stage starts when the run itself has no valid checkpoint; None for new weights."""
        self.context, self.stage, self.inputs, self.given = context, stage, inputs, given
        self._verified: dict[str, CheckpointRef] = {}

    def record(self, reference: CheckpointRef | None) -> Recorded | None:
        """The journal's form of a checkpoint that has just been verified."""
        event = checkpoint_event(self.context.layout, reference)
        if event is not None and reference is not None:
            self._verified[str(event["path"])] = reference
        return event

    def keep_for_gate(self, recorded: Recorded | None) -> None:
        """No later chunk of this stage prunes the checkpoint that the stage gate judges now."""
        if recorded is not None:
            layout = self.context.layout
            keep_gated([layout.project_root / str(recorded["path"])], "stage", run_root=layout.root)

    def resolve(self, recorded: Recorded | None) -> CheckpointRef | None:
        """The verified checkpoint that the journal recorded.

        Raises:
            CheckpointError: it is damaged, or was replaced since.
        """
        if recorded is None:
            return None
        path = str(recorded["path"])
        if path not in self._verified:
            self._verified[path] = verify_recorded(self.context, self.stage, recorded)
        return self._verified[path]

    def resolve_or_older(self, recorded: Recorded | None) -> CheckpointRef | None:
        """The recorded checkpoint, or this run's newest valid one where it is damaged or was pruned."""
        try:
            return self.resolve(recorded)
        except CheckpointError as error:
            assert recorded is not None
            used, _ = self.newest_below(int(recorded["step"]) + 1)
            told = f"update {used['step']} is used instead" if used else "the run has no other"
            self.context.say(f"{self.stage}: {error}; {told}")
            return self.resolve(used)

    def newest_below(self, step: int) -> tuple[Recorded | None, list[dict[str, str]]]:
        """Where the stage goes on before the 0-based update ``step``: this run's newest valid checkpoint, else its
        start; and every newer one that was refused, with its reason."""
        layout = self.context.layout
        lineage = {key: self.inputs[stage].model_sha256 for key, stage in LINEAGE.items() if stage in self.inputs}
        found, skipped = newest_of_run(
            layout.checkpoints(self.stage),
            self.stage,
            run=layout.run,
            below_step=step,
            # What a checkout saved in this run's own folder is of its own configs, in whatever architecture.
            sizes=None
            if self.context.target.is_checkout
            else {name: getattr(self.context.settings.training, name) for name in SHARED_KEYS},
            lineage=lineage if self.stage == "dynamics" else None,
        )
        for one in skipped:
            self.context.say(f"{self.stage}: checkpoint {one.path.name} was refused: {one.reason}")
        refused = [{"path": layout.relative(one.path), "reason": one.reason} for one in skipped]
        return self.record(found or self.given), refused


def verify_recorded(context: RunContext, stage: str, recorded: Recorded) -> CheckpointRef:
    """The checkpoint that a journal recorded, whole and with the same weights.

    Raises:
        CheckpointError: it is damaged, or was replaced since.
    """
    reference = verify_checkpoint(
        context.layout.project_root / str(recorded["path"]), expected_stage=stage, expected_step=recorded["step"]
    )
    if reference.model_sha256 != recorded["sha256"]:
        raise CheckpointError(
            f"{reference.path} has weights of SHA-256 {reference.model_sha256[:12]}…, the journal recorded "
            f"{str(recorded['sha256'])[:12]}…: it was replaced. Put the old folder back, or start a new run"
        )
    return reference
