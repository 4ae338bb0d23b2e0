"""The words that every part shares: the stages in training order, and the verdicts."""

from __future__ import annotations

STAGES: tuple[str, ...] = ("video_tokenizer", "latent_actions", "dynamics")
"""The three stages in training order (L5)."""

EVERYTHING, ATTEMPTS, FINAL, EVALUATION = 0, 1, 2, 3
"""What is measured: held-out clips of all held-out episodes, of every attempt at the gate, of the final verdict of a
run that retried (reference/data/held_out.py); and the clips of a fixed evaluation set, which gives the final verdict of
a run that names one (reference/data/evaluation_set.py)."""

FINALS = (FINAL, EVALUATION)
"""The draws of final verdicts: clips that no retry has seen."""

PASS, FAIL, DEGRADED, INVALID, NOT_RUN = "PASS", "FAIL", "DEGRADED", "INVALID", "NOT-RUN"

VERDICTS: tuple[str, ...] = (PASS, FAIL, DEGRADED, INVALID, NOT_RUN)
"""DEGRADED: passed, but a stage fell to one clip per GPU. INVALID: evidence is missing or contradicts itself."""


# The names of the stages and of the keys they share; importable at pytest's start without a schema library.

SHORT_NAMES: dict[str, str] = {"video": "video_tokenizer", "latent": "latent_actions", "dynamics": "dynamics"}
"""The prefix of a stage's options (``--video-chunk``) → the stage."""

SIZE_KEYS: tuple[str, ...] = ("patch_size", "context_length", "frame_size", "latent_dim", "num_bins", "n_actions")
"""C1: these come from training.yaml for every stage."""

BACKBONE_KEYS: tuple[str, ...] = ("embed_dim", "num_heads", "hidden_dim", "num_blocks")
"""C2: the shared backbone, the same for the three stages."""

SHARED_KEYS: tuple[str, ...] = SIZE_KEYS + BACKBONE_KEYS
"""C1 and C2."""

TARGET_OPTIONS: tuple[str, ...] = (
    "target_repo",
    "target_kind",
    "target_python",
    "target_file",
    "held_out_data",
    "output_root",
    "target_dry_run",
)
"""Options that say which checkout is driven and with what; none of them is a setting (``loop_target.py``)."""
