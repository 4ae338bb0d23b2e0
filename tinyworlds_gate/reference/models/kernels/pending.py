"""Builds of our own GPU kernels that a background thread has not finished, and how a caller waits for them."""

from __future__ import annotations

import warnings
from concurrent.futures import Future

_trial: Future[None] | None = None
_build: Future[None] | None = None


def announce(trial: Future[None], build: Future[None]) -> None:
    """Register the two background jobs: the trial kernel, and all other kernels."""
    global _trial, _build
    _trial, _build = trial, build


def wait_for_trial() -> None:
    """Wait until the trial kernel is built: `spatial_attention.why_not` then has its answer."""
    global _trial
    if _trial is not None:
        _warn_of(_trial.exception())
        _trial = None


def wait() -> None:
    """Wait for all background builds, so that two threads never build the same kernel.

    A failed build is a warning; the model builds that kernel again when it needs it.
    """
    global _build
    wait_for_trial()
    if _build is not None:
        _warn_of(_build.exception())
        _build = None


def _warn_of(error: BaseException | None) -> None:
    if error is not None:
        warnings.warn(f"not all kernels were built ahead, so the start takes longer: {error!r}", stacklevel=3)
