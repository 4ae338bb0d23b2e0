"""What each kind of target can do, as data: the loop asks these fields, not the kind's name (tinyworlds.md §2, §3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

EMBEDDED = "embedded"
ORIGINAL = "tinyworlds"
FORK = "tinyworlds-fork"
KINDS = (EMBEDDED, ORIGINAL, FORK)


@dataclass(frozen=True)
class Capabilities:
    """True: the target does it by itself. What is False is worked around or told; ``limits`` has the sentences."""

    resumes: bool
    """`checkpoint=` goes on at the step after it, with optimizer and schedule, up to the absolute `n_updates` (H7)."""
    saves_last_update: bool
    """The last update is saved; else only steps that `log_interval` divides (hazard 5)."""
    schedule_has_its_own_end: bool
    """The learning-rate schedule ends where the harness says, not with the chunk's `n_updates` (hazard 10)."""
    heartbeats: bool
    """Workers tell their steps and their GPU; else the watchdog reads log growth and GPU activity."""
    stack_dumps: bool
    """Workers print their stacks on a signal; else no signal is sent but SIGTERM and SIGKILL."""
    writes_history: bool
    """`Logs/<stage>_history_<run>.csv` is written by the stage; else it is read from the stage's W&B files."""
    trains_without_wandb: bool
    """`use_wandb=false` does no harm (hazard 4)."""
    prunes_checkpoints: bool
    """`keep_checkpoints` is honoured."""
    holds_out_clips: bool
    """The stages leave held-out episodes of the frames file alone; else held-out clips need a file of their own."""
    seeds_inference: bool
    """Inference takes `seed`, `sample_index` and `decode_steps` (hazard 6)."""
    infers_actions: bool
    """Inference follows the actions of the true frames; else they are random, and it is run without any (hazard 6)."""
    states_generated_error: bool
    """`Mean Squared Error (GT vs Pred)` leaves the copied context out; else it is corrected for it (hazard 6)."""

    def limits(self) -> tuple[str, ...]:
        """What this target cannot do and what is done instead, a sentence each."""
        return tuple(LIMITS[field.name] for field in fields(self) if not getattr(self, field.name))


LIMITS: Mapping[str, str] = {
    "resumes": "a checkpoint restores weights only and training restarts at step 0: each training is one chunk from "
    "new "
    "weights to its target (H7 is emulated so, never claimed), and a retry trains dynamics anew",
    "saves_last_update": "checkpoints are written only where log_interval divides the step: the log interval is fitted "
    "to the chunk, so that its last update is saved",
    "schedule_has_its_own_end": "the learning-rate schedule spans n_updates and would anneal anew in every chunk: a "
    "stage "
    "is one chunk unless --video-chunk, --latent-chunk or --dynamics-chunk cuts it, and then the report says so",
    "heartbeats": "no heartbeats: the watchdog reads log growth and GPU activity, and where NVML cannot tie the GPUs "
    "to "
    "the workers H6 is unknown",
    "stack_dumps": "no stack dumps: workers that hang get SIGTERM and SIGKILL, no other signal",
    "writes_history": "the history is read from the stage's own offline W&B files after each chunk",
    "trains_without_wandb": "a stage without W&B dies after step 0: use_wandb stays true, in offline mode",
    "prunes_checkpoints": "old checkpoints are never removed",
    "holds_out_clips": "the stages train on the whole frames file: held-out clips come from a file of their own",
    "seeds_inference": "its inference takes no seed and no clip: its own error is that of one random clip of the "
    "training data",
    "infers_actions": "its inference would follow random actions: it is run without actions",
    "states_generated_error": "its error averages in the copied context frames, which have none: it is corrected for "
    "them",
}
"""Field that is False → its sentence."""

CAPABILITIES: Mapping[str, Capabilities] = {
    EMBEDDED: Capabilities(**dict.fromkeys(LIMITS, True)),
    ORIGINAL: Capabilities(**dict.fromkeys(LIMITS, False)),
    FORK: Capabilities(
        **dict.fromkeys(LIMITS, False)
        | dict.fromkeys(
            ("resumes", "saves_last_update", "seeds_inference", "infers_actions", "states_generated_error"), True
        )
    ),
}
"""Kind → what it can do; docs/external-checkouts.md shows this table."""


def capability_table() -> str:
    """The table of docs/external-checkouts.md: one row a field, one column a kind."""
    told = {field: doc for field, doc in _QUESTIONS.items()}
    rows = ["| what | " + " | ".join(f"`{kind}`" for kind in KINDS) + " |", "| --- |" + " --- |" * len(KINDS)]
    for field, question in told.items():
        answers = ["yes" if getattr(CAPABILITIES[kind], field) else "no" for kind in KINDS]
        rows.append(f"| {question} (`{field}`) | " + " | ".join(answers) + " |")
    return "\n".join(rows)


_QUESTIONS: Mapping[str, str] = {
    "resumes": "goes on at the absolute step of a checkpoint, with its optimizer",
    "saves_last_update": "saves the last update whatever `log_interval` is",
    "schedule_has_its_own_end": "schedule ends at the stage's target, whatever the chunks are",
    "heartbeats": "workers tell their steps and GPUs",
    "stack_dumps": "a worker that hangs prints its stacks",
    "writes_history": "writes the metric history itself",
    "trains_without_wandb": "trains with `use_wandb=false`",
    "prunes_checkpoints": "removes old checkpoints (`--keep-checkpoints`)",
    "holds_out_clips": "leaves held-out episodes of its frames file untouched",
    "seeds_inference": "inference takes a seed, a clip and decoding steps",
    "infers_actions": "inference follows the actions of the true frames",
    "states_generated_error": "its stated error leaves the copied context out",
}
