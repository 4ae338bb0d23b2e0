"""The names of the stages; importable at pytest's start without a schema library."""

from __future__ import annotations

STAGES: tuple[str, ...] = ("video_tokenizer", "latent_actions", "dynamics")
"""The three stages in training order (L5)."""

SHORT_NAMES: dict[str, str] = {"video": "video_tokenizer", "latent": "latent_actions", "dynamics": "dynamics"}
"""The prefix of a stage's options (``--video-chunk``) → the stage."""
