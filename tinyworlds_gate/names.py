"""Names that all packages share: stages, draws of clips, verdicts, setting keys."""

from __future__ import annotations

STAGES: tuple[str, ...] = ("video_tokenizer", "latent_actions", "dynamics")
"""The three stages in training order (L5)."""

EVERYTHING, ATTEMPTS, FINAL, EVALUATION = 0, 1, 2, 3
"""Draws of clips: all held-out episodes; every attempt at the gate; the final verdict of a run that retried; the final
verdict of a run that names a fixed evaluation set (reference/data/held_out.py, evaluation_set.py)."""

FINALS = (FINAL, EVALUATION)
"""The draws of final verdicts: clips that no retry has seen."""

PASS, FAIL, DEGRADED, INVALID, NOT_RUN = "PASS", "FAIL", "DEGRADED", "INVALID", "NOT-RUN"

VERDICTS: tuple[str, ...] = (PASS, FAIL, DEGRADED, INVALID, NOT_RUN)
"""DEGRADED: passed, but a stage fell to one clip per GPU. INVALID: evidence is missing or contradicts itself."""

SHORT_NAMES: dict[str, str] = {"video": "video_tokenizer", "latent": "latent_actions", "dynamics": "dynamics"}
"""The prefix of a stage's options (``--video-chunk``) → the stage."""

SIZE_KEYS: tuple[str, ...] = ("patch_size", "context_length", "frame_size", "latent_dim", "num_bins", "n_actions")
"""C1: these come from training.yaml for every stage."""

BACKBONE_KEYS: tuple[str, ...] = ("embed_dim", "num_heads", "hidden_dim", "num_blocks")
"""C2: the shared backbone, the same for the three stages."""

SHARED_KEYS: tuple[str, ...] = SIZE_KEYS + BACKBONE_KEYS
"""C1 and C2."""

LAUNCH_VARIABLE = "TINYWORLDS_GATE_LAUNCH"
"""Environment variable that marks every process of one launch."""
