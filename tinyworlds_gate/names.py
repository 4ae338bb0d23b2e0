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
