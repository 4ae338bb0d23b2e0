"""Defects of what the process leaves: its log, its picture and its exit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tinyworlds_gate.power.broken.registry import changes_result, defect
from tinyworlds_gate.reference.rollout import inference


def _log_lines(name: str, change: Callable[[str], str | None]) -> None:
    """Register a defect that changes log lines or drops them (None)."""

    @defect(name)
    def _changed_log() -> Iterator[None]:
        def changed_print(*words: object, **options: Any) -> None:
            lines = " ".join(map(str, words)).split("\n")
            kept = [new for line in lines if (new := change(line)) is not None]
            if kept:
                print("\n".join(kept), **options)

        inference.print = changed_print  # type: ignore[attr-defined]
        try:
            yield
        finally:
            del inference.print  # type: ignore[attr-defined]


def _without(*beginnings: str) -> Callable[[str], str | None]:
    return lambda line: None if line.startswith(beginnings) else line


MSE_LINE = "Mean Squared Error (GT vs Pred):"


def _mse_is(text: str) -> Callable[[str], str | None]:
    return lambda line: f"{MSE_LINE} {text}" if line.startswith(MSE_LINE) else line


_log_lines("log-without-error", _without(MSE_LINE))
_log_lines("log-without-statistics", _without("Inference stats"))
_log_lines("log-without-frames", _without("Inferring frame"))
_log_lines("log-without-checkpoints", _without("Using "))
_log_lines("log-error-made-up", _mse_is("0.00100000"))
_log_lines("log-error-of-another-run", _mse_is("0.01199500"))
_log_lines("log-error-nan", _mse_is("nan"))
_log_lines(
    "log-names-other-checkpoint", lambda line: line.replace("dynamics_step_799", "dynamics_step_49") if line else line
)


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


for _name, _change in {
    "stale-picture": _only_older,
    "empty-picture": _emptied,
    "cut-picture": _cut,
    "text-as-picture": _text,
    "picture-of-another-name": _misnamed,
}.items():
    changes_result(_name, inference, "save_rollout_picture", _change)


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
