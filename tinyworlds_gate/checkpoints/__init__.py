"""Checkpoints: layout, atomic writing, safe reading, integrity, resolution within one run, sizes, pruning.

Importing this package imports no torch; each function imports it where it is used.
"""

from tinyworlds_gate.checkpoints.agreement import check_agreement
from tinyworlds_gate.checkpoints.describe import CheckpointSizes, describe_checkpoint
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import (
    STAGES,
    CheckpointRef,
    folder_name,
    list_checkpoints,
    parse_folder_name,
)
from tinyworlds_gate.checkpoints.read import read_model_state, read_optim_state, read_state
from tinyworlds_gate.checkpoints.resolve import Resolution, Skipped, find_checkpoint, newest_of_run, resolve_checkpoint
from tinyworlds_gate.checkpoints.retention import (
    Retention,
    gated_checkpoints,
    keep_gated,
    mark_gated,
    prune_checkpoints,
)
from tinyworlds_gate.checkpoints.write import write_checkpoint

__all__ = [
    "STAGES",
    "CheckpointRef",
    "CheckpointSizes",
    "Resolution",
    "Retention",
    "Skipped",
    "check_agreement",
    "describe_checkpoint",
    "find_checkpoint",
    "folder_name",
    "gated_checkpoints",
    "keep_gated",
    "list_checkpoints",
    "mark_gated",
    "newest_of_run",
    "parse_folder_name",
    "prune_checkpoints",
    "read_model_state",
    "read_optim_state",
    "read_state",
    "resolve_checkpoint",
    "verify_checkpoint",
    "write_checkpoint",
]
