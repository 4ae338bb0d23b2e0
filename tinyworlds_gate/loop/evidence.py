"""The evidence steps of the loop: the git audit before training (L4), the metric analysis after it (L9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinyworlds_gate.context import RunContext
from tinyworlds_gate.evidence.git_audit.audit import audit
from tinyworlds_gate.evidence.git_audit.result import GitEvidence
from tinyworlds_gate.evidence.metrics.analysis import WandbAnalysis, analyse, analysis_path
from tinyworlds_gate.evidence.metrics.inputs import StageInput, stage_inputs
from tinyworlds_gate.evidence.metrics.local import local_histories, origin_of_checkpoint
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.journal import read_journal


def audit_history(context: RunContext) -> GitEvidence:
    """L4: read the project's git history and write the findings to `git_evidence.json` in the run's folder."""
    options, layout = context.settings.options, context.layout
    evidence = audit(context.target.root, options.history_audit_year, options.history_audit_mode)
    path = layout.root / "git_evidence.json"
    atomic_write(path, evidence.to_json())
    context.journal.append("git_evidence", **evidence.event(layout.relative(path)))
    context.say(f"git history of {evidence.year}: {evidence.verdict}: {evidence.reason}")
    return evidence


def analyse_metrics(context: RunContext, stamp: str, trained: Sequence[str]) -> WandbAnalysis | None:
    """L9: analyse the histories of the trained stages, or of the runs that supplied checkpoints came from.

    The event names the source of each: W&B's API, this run's files in `Logs/`, or its own `.wandb` files.

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
    if trained:
        histories = local_histories(layout.project_root, layout.run, tuple(trained))
        inputs = stage_inputs(context.journal.events(), histories)
    else:
        inputs = _given_inputs(context)
    if context.checkout is not None:
        # A checkout may log fewer rows than updates; that each chunk's reach its end was judged when it ended (M1).
        inputs = [replace(one, updates=None) for one in inputs]
    analysis = analyse(layout, stamp, options.wandb_source, inputs)
    path = analysis_path(layout, stamp)
    context.journal.append("wandb_analysis", **analysis.event(layout.relative(path)))
    context.say(f"analysis of the stages' metrics: {analysis.verdict}: {analysis.reason}")
    return analysis


def _given_inputs(context: RunContext) -> list[StageInput]:
    """`--train-stage none`: the histories and W&B runs of the runs that the supplied checkpoints came from.

    A checkpoint may be older than the end of its stage, so no range of updates is required.
    """
    found: list[StageInput] = []
    for stage in context.settings.stages:
        given = context.settings.checkpoint_option(stage)
        origin = origin_of_checkpoint(given.resolve()) if given else None
        if origin is None:
            continue
        run, trained = origin
        local = local_histories(context.layout.project_root, run.name, (trained,))
        journal = run / "journal.jsonl"
        inputs = stage_inputs(read_journal(journal) if journal.is_file() else (), local)
        found += [replace(one, updates=None) for one in inputs if one.logged or one.local.is_file()]
    return found
