"""How a trained model reads a clip, which its weights do not tell: from the config that its checkpoint records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyworlds_gate.errors import CheckpointError

MANNERS: Mapping[str, Mapping[str, bool | int]] = {
    "video_tokenizer": {"frame_by_frame": False},
    "latent_actions": {"frame_pairs": False, "antisymmetric_dims": 0},
    "dynamics": {},
}
"""Stage → keys of its config that are keyword arguments of its model, with TinyWorlds' value."""


def manner_of(stage: str, config: Mapping[str, object]) -> dict[str, Any]:
    """Keyword arguments for the stage's model; a checkpoint of TinyWorlds names none of them.

    Raises:
        CheckpointError: a recorded value is of another type, or not allowed.
    """
    manner = {key: config.get(key, default) for key, default in MANNERS[stage].items()}
    for key, value in manner.items():
        wanted = type(MANNERS[stage][key])
        if type(value) is not wanted or (wanted is int and int(str(value)) < 0):
            kind = "true or false" if wanted is bool else "a whole number of at least 0"
            raise CheckpointError(
                f"The {stage} checkpoint records {key}: {value!r}; it must be {kind}. Use the checkpoint as it was "
                "written by training."
            )
    return manner
