"""Defects of the picture and of the end of the process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tinyworlds_gate.power.broken.registry import defect, patched
from tinyworlds_gate.reference.rollout import inference


def _picture_is(name: str, change: Callable[[Path], Path]) -> None:
    @defect(name)
    def _other_picture() -> Iterator[None]:
        def make(old: Any) -> Any:
            return lambda *arguments: change(old(*arguments))

        with patched(inference, "save_rollout_picture", make):
            yield


def _only_older(path: Path) -> Path:
    """Delete the new picture and return that of an earlier run."""
    path.unlink()
    return next(path.parent.glob("inference_results_gt_vs_pred_*.png"))


def _emptied(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:300])
    return path


def _text(path: Path) -> Path:
    path.write_text("the rollout looks fine\n")
    return path


def _misnamed(path: Path) -> Path:
    return path.rename(path.with_name("rollout.png"))


_picture_is("stale-picture", _only_older)
_picture_is("empty-picture", _emptied)
_picture_is("cut-picture", _cut)
_picture_is("text-as-picture", _text)
_picture_is("picture-of-another-name", _misnamed)


@defect("exit-1-at-the-end")
def _exit_1_at_the_end() -> Iterator[None]:
    yield
    sys.exit(1)


@defect("exception-at-the-end")
def _exception_at_the_end() -> Iterator[None]:
    yield
    raise RuntimeError("the device was lost while the caches were freed")


@defect("exit-0-at-the-start")
def _exit_0_at_the_start() -> Iterator[None]:
    sys.exit(0)
    yield
