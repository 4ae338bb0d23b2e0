"""Defects of the log: lines that are missing, made up, or of another run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tinyworlds_gate.power.broken.registry import defect
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
