"""Constructor options that the weights do not show, read from the checkpoint's config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyworlds_gate.errors import CheckpointError

MODEL_OPTIONS: Mapping[str, Mapping[str, bool | int]] = {
    "video_tokenizer": {"frame_by_frame": False},
    "latent_actions": {"frame_pairs": False, "antisymmetric_dims": 0, "match_patches": False},
    "dynamics": {},
}
"""Stage → config keys that are keyword arguments of its model, with their value in TinyWorlds."""


def model_options(stage: str, config: Mapping[str, object]) -> dict[str, Any]:
    """Return the keyword arguments of the stage's model; keys that the config lacks get TinyWorlds' value.

    Raises:
        CheckpointError: a recorded value has the wrong type or is negative.
    """
    options = {key: config.get(key, default) for key, default in MODEL_OPTIONS[stage].items()}
    for key, value in options.items():
        expected = type(MODEL_OPTIONS[stage][key])
        if type(value) is not expected or (expected is int and int(str(value)) < 0):
            kind = "true or false" if expected is bool else "an integer of at least 0"
            raise CheckpointError(
                f"The {stage} checkpoint records {key}: {value!r}; it must be {kind}. Use the checkpoint as training "
                "wrote it."
            )
    return options
