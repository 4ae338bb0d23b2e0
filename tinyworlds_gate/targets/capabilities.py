"""Capabilities of a target, and each kind's defaults; the loop reads them, never the kind (docs/external-checkouts.md).

``code_reading.py`` reads them from a checkout's source, ``--target-file`` can override them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

EMBEDDED = "embedded"
ORIGINAL = "tinyworlds"
FORK = "tinyworlds-fork"
KINDS = (EMBEDDED, ORIGINAL, FORK)


@dataclass(frozen=True)
class Capabilities:
    """True: the target supports it. False: the harness works around it or reports it (``limits``)."""

    resumes: bool
    """`checkpoint=` continues at the next step, with optimizer and schedule, up to the absolute `n_updates` (H7)."""
    saves_last_update: bool
    """The last update is saved; otherwise only steps divisible by `log_interval` (hazard 5)."""
    schedule_has_its_own_end: bool
    """The end of the learning-rate schedule is independent of the chunk's `n_updates` (hazard 10)."""
    heartbeats: bool
    """Workers report their step and GPU; otherwise the watchdog uses log growth and GPU activity."""
    stack_dumps: bool
    """Workers print their stacks on a signal; otherwise only SIGTERM and SIGKILL are sent."""
    writes_history: bool
    """The stage writes `Logs/<stage>_history_<run>.csv`; otherwise the history comes from its W&B files."""
    trains_without_wandb: bool
    """`use_wandb=false` works (hazard 4)."""
    prunes_checkpoints: bool
    """`keep_checkpoints` is supported."""
    holds_out_clips: bool
    """The stages do not train on held-out episodes; otherwise held-out clips need a separate file."""
    seeds_inference: bool
    """Inference accepts `seed`, `sample_index` and `decode_steps` (hazard 6)."""
    infers_actions: bool
    """Inference uses the true frames' actions; otherwise they are random, and it runs without actions (hazard 6)."""
    states_generated_error: bool
    """`Mean Squared Error (GT vs Pred)` excludes the copied context; otherwise it is corrected for it (hazard 6)."""
    takes_checkpoint_folders: bool
    """Inference accepts checkpoint folders, which its stages save; otherwise its own gate cannot pass."""
    saves_on_one_rank: bool
    """One rank writes a checkpoint; otherwise every rank writes the same path (hazard 2)."""
    distributes_on_cpu: bool
    """Several workers can train without a GPU."""

    def limits(self) -> tuple[str, ...]:
        """Return one sentence per missing capability: what is missing and what the harness does instead."""
        return tuple(LIMITS[field.name] for field in fields(self) if not getattr(self, field.name))


LIMITS: Mapping[str, str] = {
    "resumes": "a checkpoint restores weights only and training restarts at step 0: each training is one chunk from "
    "new weights to its target (H7 is emulated so, never claimed), and a retry trains dynamics from new weights",
    "saves_last_update": "checkpoints are written only where log_interval divides the step: the log interval is "
    "adapted to the chunk, so that its last update is saved",
    "schedule_has_its_own_end": "the learning-rate schedule spans n_updates and would anneal again in every chunk: a "
    "stage is one chunk unless --video-chunk, --latent-chunk or --dynamics-chunk divides it, and the report says so",
    "heartbeats": "no heartbeats: the watchdog reads log growth and GPU activity, and where NVML cannot attribute the "
    "GPUs to the workers H6 is unknown",
    "stack_dumps": "no stack dumps: workers that hang get SIGTERM and SIGKILL, no other signal",
    "writes_history": "the history is read from the stage's own offline W&B files after each chunk",
    "trains_without_wandb": "a stage without W&B dies after step 0: use_wandb stays true, in offline mode",
    "prunes_checkpoints": "old checkpoints are never removed",
    "holds_out_clips": "the stages train on the whole frames file: held-out clips come from a separate file",
    "seeds_inference": "its inference accepts no seed and no clip: its own error is that of one random clip of the "
    "training data",
    "infers_actions": "its inference would follow random actions: it runs without actions",
    "states_generated_error": "its error includes the copied context frames, whose error is zero: it is corrected for "
    "them",
    "takes_checkpoint_folders": "its inference accepts no checkpoint folder, which is what its stages save: its own "
    "gate fails with that reason, and the trusted gate alone measures the model",
    "saves_on_one_rank": "with several workers every rank writes the same checkpoint path: every rank but 0 gets a run "
    "folder of its own, `other_ranks/rank<N>`",
    "distributes_on_cpu": "it refuses several workers without a GPU: on the CPU it trains with one",
}
"""Capability → the sentence if it is missing."""

CAPABILITIES: Mapping[str, Capabilities] = {
    EMBEDDED: Capabilities(**dict.fromkeys(LIMITS, True)),
    ORIGINAL: Capabilities(**dict.fromkeys(LIMITS, False) | {"takes_checkpoint_folders": True}),
    FORK: Capabilities(
        **dict.fromkeys(LIMITS, False)
        | dict.fromkeys(
            (
                "resumes",
                "saves_last_update",
                "seeds_inference",
                "infers_actions",
                "states_generated_error",
                "takes_checkpoint_folders",
            ),
            True,
        )
    ),
}
"""Kind → capabilities, where the code shows nothing else; docs/external-checkouts.md shows this table."""


@dataclass(frozen=True)
class Reading:
    """A fact of the source: ``value``, the place (``scripts/train_dynamics.py:201``) and its line of code."""

    name: str
    value: bool
    place: str
    line: str

    def as_record(self) -> dict[str, object]:
        """Return the journal's form."""
        return {"name": self.name, "value": self.value, "place": self.place, "line": self.line}
