"""What the options of a run request: stages, the inference gate, and requirements that they leave out (pure).

Options are name → value as a person gave them, or as the journal's `run_started` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyworlds_gate.names import SHORT_NAMES, STAGES

STAGE_GATES = {"video_tokenizer": ("S1",), "latent_actions": ("S2",), "dynamics": ("S3",)}
OF_TRAINING = (
    *("L2", "L3", "L5", "S4", "S5", "P1", "P2", "M1", "M2", "M3"),
    *("T1", "T2", "T3", "T4", "T5", "T6", "T7", "L8", "H5", "H6", "H7", "H8", "H9"),
)
"""Requirements on training, besides the gates of the stages."""
OF_INFERENCE = ("C4", "L6", "L7", "L8", "T5", "T7", "G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "H3", "A7")
OF_ANALYSIS = ("L9", "A3", "A4")

NO_TRAINING = "no training"

LEFT_OUT_BY: tuple[tuple[str, object, tuple[str, ...]], ...] = (
    ("checkpoint_policy", "latest", ("H2",)),
    ("nproc_per_node", 1, ("H6",)),
    ("enforce_dual_gpu_check", False, ("H6",)),
    ("allow_cpu_longrun", True, ("L3", "H6")),
    ("cleanup_extra_processes", False, ("L1",)),
    ("enable_wandb_analysis", False, OF_ANALYSIS),
)
"""Option, its value, and the requirements that it leaves out."""


def inference_requested(options: Mapping[str, Any]) -> bool:
    """Return whether the run has, or makes, a checkpoint of every stage, so that the inference gate is part of it.

    ``--checkpoint-policy latest`` looks for the other stages' checkpoints where dynamics or nothing is trained.
    """
    stage = str(options.get("train_stage") or "all")
    if stage == "all" or (stage in ("none", "dynamics") and options.get("checkpoint_policy") == "latest"):
        return True
    return all(options.get(f"{short}_checkpoint") for short, name in SHORT_NAMES.items() if name != stage)


def left_out(options: Mapping[str, Any]) -> dict[str, str]:
    """Return requirement → the option that leaves it out, as a person wrote it."""
    found: dict[str, str] = {}
    for name, value, ids in LEFT_OUT_BY:
        if name in options and options[name] == value:
            found |= dict.fromkeys(ids, f"--{name.replace('_', '-')} {_shown(value)}")
    starts = [short for short in SHORT_NAMES if options.get(f"{short}_checkpoint")]
    if starts:
        found["H2"] = f"--{starts[0]}-checkpoint {options[f'{starts[0]}_checkpoint']}"
    stage = str(options.get("train_stage") or "all")
    if stage == "all":
        return found
    others = [id for other in STAGES if other != stage for id in STAGE_GATES[other]]
    training = (*OF_TRAINING, *OF_ANALYSIS) if stage == "none" else ()
    inference = () if inference_requested(options) else OF_INFERENCE
    return found | dict.fromkeys(("H1", *others, *training, *inference), f"--train-stage {stage}")


def scope(options: Mapping[str, Any]) -> str:
    """Return what a run was limited to, for its headline: `stage dynamics` or `no training`; empty for the whole."""
    stage = str(options.get("train_stage") or "all")
    return {"all": "", "none": NO_TRAINING}.get(stage, f"stage {stage}")


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
