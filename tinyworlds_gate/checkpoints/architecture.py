"""Whether checkpoints are of the TinyWorlds architecture that the embedded reference computes (tinyworlds.md §1)."""

from __future__ import annotations

from collections.abc import Mapping

from tinyworlds_gate.checkpoints.describe import describe_checkpoint
from tinyworlds_gate.checkpoints.integrity import stage_of_names
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.checkpoints.read import read_model_state
from tinyworlds_gate.errors import CheckpointError

SHOWN = 3


def why_unreadable(checkpoints: Mapping[str, CheckpointRef]) -> str | None:
    """Why the embedded reference cannot run these weights, or None when it can.

    Mixture-of-experts blocks and weights of another model are named; whether every single tensor has its place is seen
    when the three models are built (``gate/readable.py``).
    """
    for stage, reference in checkpoints.items():
        weights = read_model_state(reference.path)
        experts = [name for name in weights if "expert" in name or "router" in name or ".moe." in name]
        if experts:
            return (
                f"{reference.path.name} has mixture-of-experts blocks ({_some(experts)}), which ours does not compute"
            )
        if stage_of_names(weights) != stage:
            named = _some(list(weights))
            return f"{reference.path.name} is of no TinyWorlds architecture that ours knows (tensors {named})"
        try:
            describe_checkpoint(reference)
        except CheckpointError as error:
            return str(error)
    return None


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
