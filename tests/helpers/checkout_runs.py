"""A run on the stand-in checkout in this process: the context for the stages and gates of the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.stand_in import make_harness, make_stand_in
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.loop.checkout import chosen_target
from tinyworlds_gate.loop.stage_controller import StageController, StageResult
from tinyworlds_gate.loop.start import resolve_run, start_run
from tinyworlds_gate.run.journal import Event, events_of

STAMP = "2026_01_02_03_04_05"


def checkout_run(
    tmp_path: Path, kind: str, *hazards: str, workers: int = 1, description: str | None = None, **explicit: Any
) -> RunContext:
    """Start a run on a stand-in checkout with these hazards; ``description`` is the text of a ``--target-file``."""
    harness = make_harness(tmp_path / "harness")
    checkout = make_stand_in(tmp_path / "checkout", kind, *hazards, workers=workers)
    options: dict[str, Any] = {"target_repo": str(checkout), "max_train_retries": 0, **explicit}
    if description is not None:
        (tmp_path / "fork.yaml").write_text(description)
        options["target_file"] = str(tmp_path / "fork.yaml")
    target = chosen_target(options)
    settings, _ = resolve_run(harness / "profile", options, checkout, target)
    return start_run(
        settings,
        0,
        explicit=options,
        command=["pytest"],
        stamp=STAMP,
        say=lambda _: None,
        show_progress=lambda *_: None,
        checkout=target,
    )


def train(context: RunContext, stage: str = "latent_actions") -> StageResult:
    """Train a stage to its target, or to the end of its budget."""
    return StageController(context, stage, {}).train(context.settings.plan(stage).target_updates)


def chunks(context: RunContext) -> list[Event]:
    """Return the ended chunks."""
    return events_of(context.journal.events(), "chunk_finished")
