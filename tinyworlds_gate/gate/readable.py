"""Whether the trusted gate can compute three checkpoints at all: their models are built and every tensor is placed."""

from __future__ import annotations

from collections.abc import Mapping

from tinyworlds_gate.checkpoints.architecture import why_unreadable
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.errors import CheckpointError, ConfigError


def why_not_computable(checkpoints: Mapping[str, CheckpointRef]) -> str | None:
    """Why the embedded reference cannot run these checkpoints of the three stages; None when it can.

    Mixture-of-experts blocks, unknown or missing tensors, and sizes that nothing tells are named.
    """
    from tinyworlds_gate.reference.rollout.trained import load_trained

    reason = why_unreadable(checkpoints)
    if reason is not None:
        return reason
    try:
        load_trained({stage: one.path for stage, one in checkpoints.items()})
    except (CheckpointError, ConfigError) as error:
        return f"ours does not compute this architecture: {error}"
    return None
