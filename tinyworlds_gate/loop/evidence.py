"""The evidence steps of the loop: the git audit before training (L4), the metric analysis after it (L9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tinyworlds_gate.context import RunContext
from tinyworlds_gate.evidence.git_audit.audit import GitEvidence, audit
from tinyworlds_gate.evidence.metrics.analysis import WandbAnalysis, analyse, analysis_path
from tinyworlds_gate.evidence.metrics.local import history_of_checkpoint, local_histories
from tinyworlds_gate.evidence.metrics.wanted import sought_in


def audit_history(context: RunContext) -> GitEvidence:
    """L4: read the project's git history and keep what was found beside the run."""
    options, layout = context.settings.options, context.layout
    evidence = audit(context.target.root, options.history_audit_year, options.history_audit_mode)
    path = layout.root / "git_evidence.json"
    path.write_text(evidence.to_json(), encoding="utf-8")
    context.journal.append("git_evidence", **evidence.event(layout.relative(path)))
    context.say(f"git history of {evidence.year}: {evidence.verdict}: {evidence.reason}")
    return evidence


def analyse_metrics(context: RunContext, stamp: str, trained: Sequence[str]) -> WandbAnalysis | None:
    """L9: analyse the histories of the trained stages, or of the runs that given checkpoints came from.

    Where they are read is said: W&B's API, this run's files in `Logs/`, or its own `.wandb` files.

    Returns:
        None when the analysis was switched off.
    """
    options, layout = context.settings.options, context.layout
    if not options.enable_wandb_analysis:
        context.journal.append(
            "wandb_analysis",
            verdict="NOT-RUN",
            reason="switched off with --enable-wandb-analysis false",
            source=None,
            sources={},
            not_used=[],
            json=None,
            plots=[],
        )
        return None
    histories = (
        local_histories(layout.project_root, layout.run, tuple(trained)) if trained else _given_histories(context)
    )
    sought = sought_in(context.journal.events(), histories)
    if context.checkout is not None:
        # A checkout may log fewer rows than updates; that each chunk's reach its end was judged when it ended (M1).
        sought = [replace(one, updates=None) for one in sought]
    analysis = analyse(layout, stamp, options.wandb_source, sought)
    path = analysis_path(layout, stamp)
    context.journal.append("wandb_analysis", **analysis.event(layout.relative(path)))
    context.say(f"analysis of the stages' metrics: {analysis.verdict}: {analysis.reason}")
    return analysis


def _given_histories(context: RunContext) -> dict[str, Path]:
    """`--train-stage none`: what was trained in an earlier run can still be analysed, where its history is kept."""
    found: dict[str, Path] = {}
    for stage in context.settings.stages:
        given = context.settings.checkpoint_given(stage)
        path = history_of_checkpoint(context.layout.project_root, given.resolve()) if given else None
        if path is not None:
            found[stage] = path
    return found
