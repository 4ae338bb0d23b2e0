"""What would stop a run on a checkout before anything trains; nothing is trained or written (`--target-dry-run`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.context import runs_on_cpu
from tinyworlds_gate.errors import ConfigError, GateError
from tinyworlds_gate.loop.checkout import (
    checkout_checks,
    probe_checkout,
    require_devices,
    written_folders,
)
from tinyworlds_gate.loop.checkout_data import check_training_frames, held_out_file
from tinyworlds_gate.names import FAIL
from tinyworlds_gate.reference.data.frames_file import check_frames_file
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.dependencies import require_packages


def what_stops(
    settings: Settings, gpus: int, target: Target, layout: RunLayout, held_out: Path | None
) -> Iterator[str]:
    """Yield a sentence for everything that stops the run, in the order in which the run checks it.

    C1 to C3, supplied checkpoints, packages and devices, folders, frames files. The checkout's interpreter imports its
    packages; no script of the checkout runs.
    """
    checks: list[Callable[[], None]] = [
        lambda: _check_configs(settings, target),
        lambda: _check_interpreter(settings, gpus, target, layout),
        lambda: _check_folders(target, layout.project_root),
        lambda: _check_frames(settings, target, held_out),
    ]
    for check in checks:
        try:
            check()
        except GateError as error:
            yield str(error)


def _check_configs(settings: Settings, target: Target) -> None:
    failed = [f"{one.id}: {one.reason}" for one in checkout_checks(settings, target) if one.verdict == FAIL]
    if failed:
        raise ConfigError(" ".join(failed))


def _check_interpreter(settings: Settings, gpus: int, target: Target, layout: RunLayout) -> None:
    interpreter = probe_checkout(target, layout.root, on_cpu=runs_on_cpu(settings, gpus))
    require_packages(interpreter)
    require_devices(settings, target, interpreter, gpus, layout.root)


def _check_folders(target: Target, project_root: Path) -> None:
    for folder in written_folders(target, project_root):
        existing = next(one for one in (folder, *folder.parents) if one.exists())
        if not (existing.is_dir() and os.access(existing, os.W_OK)):
            raise ConfigError(f"The checkout writes to {folder}, and {existing} is not a writable folder.")


def _check_frames(settings: Settings, target: Target, held_out: Path | None) -> None:
    check_training_frames(settings, target)
    held_out = held_out_file(held_out, target.frames_file(settings.training.dataset))
    if held_out is not None:
        check_frames_file(held_out)
