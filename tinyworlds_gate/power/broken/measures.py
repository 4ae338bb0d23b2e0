"""Defects of the metric, the measurements file, the settings and the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.power.broken.clips import of_another_file
from tinyworlds_gate.power.broken.registry import changes_result, defect, patched, replaces
from tinyworlds_gate.reference.rollout import errors_by_step, inference, measure

# Average each step's error with that of the copied context frame, as upstream TinyWorlds does.
changes_result("context-in-the-metric", errors_by_step, "mse_by_clip_and_step", lambda errors: errors / 2)


def _measures_are(name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Register a defect that changes the raw measurements before they are printed and written."""

    def changed(found: measure.Measurement) -> measure.Measurement:
        change(found.raw)
        return found

    changes_result(name, inference, "measure_clips", changed)


def _errors_are(name: str, change: Callable[[list[float]], list[float]]) -> None:
    """Register a defect that changes the stated errors of every clip."""

    def changed(raw: dict[str, Any]) -> None:
        for clip in raw["clips"]:
            clip["rollout_mse"] = change(clip["rollout_mse"])

    _measures_are(name, changed)


def _best_clip_everywhere(raw: dict[str, Any]) -> None:
    best = min(raw["clips"], key=lambda clip: sum(clip["rollout_mse"]))["rollout_mse"]
    for clip in raw["clips"]:
        clip["rollout_mse"] = list(best)


_errors_are("error-not-computed", lambda errors: [0.004 for _ in errors])
_errors_are("error-squared", lambda errors: [value**2 for value in errors])
_measures_are("best-clip-for-all", _best_clip_everywhere)
_measures_are("no-clips", lambda raw: raw["clips"].clear())


def _settings_are(name: str, **changes: Any) -> None:
    """Register a defect that uses another setting than the configured one and reports it."""
    replaces(
        name,
        inference,
        "measure_clips",
        lambda old, models, clips, settings, *rest: old(models, clips, replace(settings, **changes), *rest),
    )


_settings_are("fewer-steps", generation_steps=2)
_settings_are("one-decode-step", decode_steps=1)
_settings_are("temperature-stated", temperature=1.0)
_settings_are("teacher-forced-stated", teacher_forced=True)
_settings_are("pixels-instead-of-tokens", space="pixels")


def _dynamics_is(name: str, folder: str) -> None:
    """Register a defect that loads another dynamics model, while the log names the run's checkpoint."""

    def broken(old: Any, paths: dict[str, Path]) -> Any:
        beside = next(Path(folder).glob("dynamics_step_*"))
        found = old(paths | {"dynamics": beside.resolve()})
        shown = {**found.references, "dynamics": replace(found.references["dynamics"], path=paths["dynamics"])}
        return replace(found, references=shown)

    replaces(name, inference, "load_trained", broken)


_dynamics_is("other-weights", "earlier_dynamics")
_dynamics_is("other-runs-weights", "other_dynamics")
replaces("no-measures", inference, "_write_measures", lambda old, path, measures: None)


@defect("measures-of-another-run")
def _measures_of_another_run() -> Iterator[None]:
    """Write the measurements of a run on other clips; log and picture are this run's."""
    others: list[measure.Measurement] = []

    def measured_twice(old: Any) -> Any:
        def broken(models: Any, clips: Any, *rest: Any) -> Any:
            others.append(old(models, of_another_file(clips), *rest))
            return old(models, clips, *rest)

        return broken

    def written(old: Any) -> Any:
        return lambda path, measures: old(path, measures | others[0].raw)

    with patched(inference, "measure_clips", measured_twice), patched(inference, "_write_measures", written):
        yield
