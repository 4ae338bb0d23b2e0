"""How a trained model reads a clip, which its weights do not tell: from the config that its checkpoint records."""

from __future__ import annotations

from collections.abc import Mapping

from tinyworlds_gate.errors import CheckpointError

MANNERS: Mapping[str, tuple[str, ...]] = {
    "video_tokenizer": ("frame_by_frame",),
    "latent_actions": ("frame_pairs",),
    "dynamics": (),
}
"""Stage → keys of its config that are keyword arguments of its model."""


def manner_of(stage: str, config: Mapping[str, object]) -> dict[str, bool]:
    """Keyword arguments for the stage's model; a checkpoint of TinyWorlds names none of them, and all are false.

    Raises:
        CheckpointError: the recorded value is no boolean.
    """
    manner = {key: config.get(key, False) for key in MANNERS[stage]}
    for key, value in manner.items():
        if not isinstance(value, bool):
            raise CheckpointError(
                f"The {stage} checkpoint records {key}: {value!r}; it must be true or false. Use the checkpoint as it "
                "was written by training."
            )
    return {key: bool(value) for key, value in manner.items()}
