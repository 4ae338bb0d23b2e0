"""Handles of the kernel builds that `build_ahead` runs in a background thread, and functions that wait for them."""

from __future__ import annotations

import warnings
from concurrent.futures import Future

_probe: Future[None] | None = None
_build: Future[None] | None = None


def register(probe: Future[None], build: Future[None]) -> None:
    """Register the two background jobs: the probe kernel, and all other kernels."""
    global _probe, _build
    _probe, _build = probe, build


def wait_for_probe() -> None:
    """Wait until the probe kernel is built, which determines `spatial_attention.unavailable_reason`."""
    global _probe
    if _probe is not None:
        _warn_of(_probe.exception())
        _probe = None


def wait() -> None:
    """Wait for all background builds, so that two threads never build the same kernel.

    A failed build causes a warning; the kernel is built again at its first use.
    """
    global _build
    wait_for_probe()
    if _build is not None:
        _warn_of(_build.exception())
        _build = None


def _warn_of(error: BaseException | None) -> None:
    if error is not None:
        warnings.warn(f"building kernels ahead failed, so the start takes longer: {error!r}", stacklevel=3)
