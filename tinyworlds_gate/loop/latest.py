"""The checkpoints that `--checkpoint-policy latest` starts from: the newest valid ones of earlier runs of the profile.

Runs on another dataset do not count.

They are chosen once, when a run is started. The journal's settings record them, so that a resumed run keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.checkpoints.resolve import Skipped, newest_of_run, resolve_checkpoint
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.loop.runs import known_runs
from tinyworlds_gate.names import SHORT_NAMES, STAGES
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.current_checkpoint import LINEAGE

LATEST = "latest"
SOURCE = f"--checkpoint-policy {LATEST}"


def latest_checkpoints(settings: Settings, recorded: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, str]:
    """Return option (`video_checkpoint`) → path in the project, for each stage that the policy finds a checkpoint for.

    A dynamics checkpoint must have been trained on the tokenizer and the latent actions that are chosen with it.

    Args:
        settings: without these checkpoints. A stage whose `--*-checkpoint` is given keeps it.
        recorded: of a resumed run, the settings of its journal.

    Raises:
        CheckpointError: a stage that is not trained has no valid checkpoint, or a given one is missing or damaged.
    """
    if recorded:
        table = {f"{short}_checkpoint": recorded.get(f"options.{short}_checkpoint") or {} for short in SHORT_NAMES}
        return {name: str(entry["value"]) for name, entry in table.items() if entry.get("source") == SOURCE}
    chosen: dict[str, CheckpointRef] = {}
    found: dict[str, str] = {}
    for short, stage in SHORT_NAMES.items():
        given = settings.checkpoint_option(stage)
        if given is not None:
            chosen[stage] = resolve_checkpoint(given, stage, require_optimizer=stage in settings.trained_stages)
        elif stage in _used(settings):
            newest, skipped = _newest(settings, stage, chosen)
            if newest is not None:
                chosen[stage] = newest
                found[f"{short}_checkpoint"] = newest.path.relative_to(settings.project_root).as_posix()
            elif stage not in settings.trained_stages:
                raise CheckpointError(_nothing_found(settings, short, stage, skipped))
    return found


def with_latest(settings: Settings, found: Mapping[str, str]) -> Settings:
    """New settings that record the policy as the source of its checkpoints, and say what each trained stage does."""
    notes = []
    for short, stage in SHORT_NAMES.items():
        path = found.get(f"{short}_checkpoint")
        if path is not None:
            notes.append(f"{SOURCE}: {stage} {'starts from' if stage in settings.trained_stages else 'is'} {path}")
        elif stage in settings.trained_stages and settings.checkpoint_option(stage) is None:
            notes.append(f"{SOURCE}: {stage} starts from new weights, no earlier run has a valid checkpoint of it")
    sources = {f"options.{name}": SOURCE for name in found}
    return replace(settings, notes=(*settings.notes, *notes), provenance={**settings.provenance, **sources})


def _used(settings: Settings) -> tuple[str, ...]:
    """The stages whose checkpoints the run uses: those that it trains, and for dynamics or inference all."""
    return STAGES if settings.options.train_stage in ("all", "none", "dynamics") else settings.trained_stages


def _newest(
    settings: Settings, stage: str, chosen: Mapping[str, CheckpointRef]
) -> tuple[CheckpointRef | None, list[Skipped]]:
    """The newest valid checkpoint of a stage in earlier runs of the profile and the dataset, and newer refused ones."""
    lineage = {key: chosen[one].model_sha256 for key, one in LINEAGE.items() if stage == "dynamics" and one in chosen}
    refused: list[Skipped] = []
    for run in known_runs(settings.project_root)[0]:
        other = run.dataset is not None and run.dataset.upper() != settings.training.dataset.upper()
        if other or run.profile != settings.profile.name:
            continue
        folder = RunLayout(settings.project_root, run.name).checkpoints(stage)
        found, skipped = newest_of_run(
            folder, stage, run=run.name, sizes=settings.sizes_of(stage), lineage=lineage or None
        )
        refused += skipped
        if found is not None:
            return found, refused
    return None, refused


def _nothing_found(settings: Settings, short: str, stage: str, refused: list[Skipped]) -> str:
    reasons = "".join(f"\n  refused: {one.path.name}: {one.reason}" for one in refused)
    return (
        f"{SOURCE} --train-stage {settings.options.train_stage}: no earlier run of profile {settings.profile.name} has "
        f"a valid checkpoint of {stage} on {settings.training.dataset}, which this run does not train. Name one with "
        f"--{short}-checkpoint, or train the stage first (--train-stage {stage}, or all).{reasons}"
    )
