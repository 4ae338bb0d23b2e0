"""Defects of the metric, the measurements file, the settings and the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.power.broken.clips import of_another_file
from tinyworlds_gate.power.broken.registry import defect, patched
from tinyworlds_gate.reference.rollout import errors_by_step, inference, measure
from tinyworlds_gate.reference.rollout.clip_set import ClipSet


@defect("context-in-the-metric")
def _context_in_the_metric() -> Iterator[None]:
    """Average each step's error with that of the copied context frame, as upstream TinyWorlds does."""

    def make(old: Any) -> Any:
        return lambda predicted, true: old(predicted, true) / 2

    with patched(errors_by_step, "mse_by_clip_and_step", make):
        yield


def _measures_are(name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Register a defect that changes the raw measurements before they are printed and written."""

    @defect(name)
    def _changed_measures() -> Iterator[None]:
        def make(old: Any) -> Any:
            def broken(*arguments: Any) -> measure.Measurement:
                found: measure.Measurement = old(*arguments)
                change(found.raw)
                return found

            return broken

        with patched(inference, "measure_clips", make):
            yield


def _constant(raw: dict[str, Any]) -> None:
    for clip in raw["clips"]:
        clip["rollout_mse"] = [0.004 for _ in clip["rollout_mse"]]


def _squared(raw: dict[str, Any]) -> None:
    for clip in raw["clips"]:
        clip["rollout_mse"] = [value**2 for value in clip["rollout_mse"]]


def _best_clip_everywhere(raw: dict[str, Any]) -> None:
    best = min(raw["clips"], key=lambda clip: sum(clip["rollout_mse"]))["rollout_mse"]
    for clip in raw["clips"]:
        clip["rollout_mse"] = list(best)


_measures_are("error-not-computed", _constant)
_measures_are("error-squared", _squared)
_measures_are("best-clip-for-all", _best_clip_everywhere)
_measures_are("no-clips", lambda raw: raw["clips"].clear())


def _settings_are(name: str, **changes: Any) -> None:
    """Register a defect that uses another setting than the configured one and reports it."""

    @defect(name)
    def _other_settings() -> Iterator[None]:
        def make(old: Any) -> Any:
            def broken(models: Any, clips: ClipSet, settings: Any, *rest: Any) -> Any:
                return old(models, clips, replace(settings, **changes), *rest)

            return broken

        with patched(inference, "measure_clips", make):
            yield


_settings_are("fewer-steps", generation_steps=2)
_settings_are("one-decode-step", decode_steps=1)
_settings_are("temperature-stated", temperature=1.0)
_settings_are("teacher-forced-stated", teacher_forced=True)
_settings_are("pixels-instead-of-tokens", space="pixels")


@defect("other-weights")
def _other_weights() -> Iterator[None]:
    """Load dynamics of an earlier step, while the log names the run's checkpoint."""
    yield from _loads("earlier_dynamics")


@defect("other-runs-weights")
def _other_runs_weights() -> Iterator[None]:
    yield from _loads("other_dynamics")


def _loads(folder: str) -> Iterator[None]:
    def make(old: Any) -> Any:
        def broken(paths: dict[str, Path]) -> Any:
            beside = next(Path(folder).glob("dynamics_step_*"))
            found = old(paths | {"dynamics": beside.resolve()})
            shown = {**found.references, "dynamics": replace(found.references["dynamics"], path=paths["dynamics"])}
            return replace(found, references=shown)

        return broken

    with patched(inference, "load_trained", make):
        yield


@defect("no-measures")
def _no_measures() -> Iterator[None]:
    with patched(inference, "_write_measures", lambda old: lambda path, measures: None):
        yield


@defect("measures-of-another-run")
def _measures_of_another_run() -> Iterator[None]:
    """Write the measurements of a run on other clips; log and picture are this run's."""
    others: list[measure.Measurement] = []

    def measured_twice(old: Any) -> Any:
        def broken(models: Any, clips: ClipSet, *rest: Any) -> measure.Measurement:
            others.append(old(models, of_another_file(clips), *rest))
            found: measure.Measurement = old(models, clips, *rest)
            return found

        return broken

    def written(old: Any) -> Any:
        return lambda path, measures: old(path, measures | others[0].raw)

    with patched(inference, "measure_clips", measured_twice), patched(inference, "_write_measures", written):
        yield
