"""One attempt at the inference gate: start the inference run, gather its evidence, judge it (L6, L7, G1–G5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.layout import CheckpointRef, checkpoint_event
from tinyworlds_gate.checkpoints.retention import keep_gated
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import DiskError, LaunchError
from tinyworlds_gate.gate.attempt_record import InferenceAttempt, Subject, gate_thresholds
from tinyworlds_gate.gate.binding import MEASURING_KEYS, SPLIT_KEYS, bind
from tinyworlds_gate.gate.checkout_attempt import (
    attempt_without_trusted_gate,
    run_target_inference,
    same_checkout,
    why_not_computable,
)
from tinyworlds_gate.gate.checkout_gate import both_gates, gates_event, judge_target
from tinyworlds_gate.gate.evidence import (
    PictureCheck,
    agreement_conditions,
    asked_settings,
    check_new_picture,
    dataset_sha256,
    evaluation_sha256,
    existing_pictures,
    measured,
    read_inference_log,
)
from tinyworlds_gate.gate.inference_process import InferenceChild, next_try, run_inference
from tinyworlds_gate.gate.verdict import InferenceEvidence, judge_inference
from tinyworlds_gate.launch.cause import OUT_OF_MEMORY
from tinyworlds_gate.launch.command import inference_command
from tinyworlds_gate.launch.failure_text import failure_text
from tinyworlds_gate.names import ATTEMPTS, EVALUATION, FINAL
from tinyworlds_gate.run.disk import telling_full_disk
from tinyworlds_gate.run.source_state import SourceState
from tinyworlds_gate.stages.run_inputs import check_inputs

__all__ = ["InferenceAttempt", "Subject", "gate_thresholds", "run_attempt", "trusted_words"]


@telling_full_disk()
def run_attempt(
    context: RunContext,
    number: int,
    checkpoints: Mapping[str, CheckpointRef],
    *,
    draw: int = ATTEMPTS,
    source: SourceState | None = None,
) -> InferenceAttempt:
    """Run inference on these checkpoints and judge it; journalled before and after.

    A process that somebody ended from outside, or that ran out of memory, says nothing of the model: it is run again,
    up to the profile's ``max_train_retries`` times, or with half the clips at once.

    Args:
        context: the run.
        number: of the attempt, from 1; a final verdict has that of the attempt that passed.
        checkpoints: the three checkpoints, verified.
        draw: ``ATTEMPTS``; ``FINAL``: held-out clips that no attempt has seen; ``EVALUATION``: the evaluation set.
        source: commit and versions that the verdict is bound to.

    Raises:
        DataError: the frames are not those that the run was started with.
        DiskError: the disk is full; nothing is judged, the run can be resumed.
        LaunchError: the command cannot be started, or one clip alone takes more memory than there is.
    """
    subject = Subject(number, draw, dict(checkpoints), source or SourceState())
    if context.checkout is not None:
        check_inputs(context)
        own = run_target_inference(context, number, draw, subject.suffix, checkpoints)
        subject = replace(
            subject,
            own=judge_target(own, context.target.can, context.settings.profile.thresholds.max_mse),
            no_trusted_gate=context.checkout.no_trusted_gate or why_not_computable(checkpoints),
        )
        context.say(f"the checkout's own gate, {subject.name}: {subject.own.sentence if subject.own else ''}")
        if subject.no_trusted_gate is not None:
            return attempt_without_trusted_gate(context, subject)
    settings, kills = context.settings, 0
    batch_size = settings.inference.batch_size
    while True:
        tried = _try(context, subject, batch_size)
        cause = tried.ended.cause
        further = next_try(cause, batch_size, kills, settings.profile.max_train_retries)
        if further is None:
            break
        context.journal.append(
            "inference_retry",
            attempt=number,
            draw=draw,
            cause=cause,
            batch_size=[batch_size, further.batch_size],
            reason=further.reason,
        )
        context.say(f"inference, {subject.name}: {failure_text(tried.ended.child)}")
        context.say(f"inference, {subject.name}: {further.reason}")
        batch_size, kills = further.batch_size, further.kills
    if cause == OUT_OF_MEMORY:
        raise LaunchError(
            f"Inference ran out of memory with a single clip at a time (batch_size 1; its log: {tried.log}). Nothing "
            "is judged: free memory, or take a machine with more, then go on with --resume-run "
            f"results/{context.layout.run}. All checkpoints are untouched."
        )
    return _judge(context, subject, tried)


@dataclass(frozen=True)
class _Try:
    """One life of the inference process and what it left."""

    ended: InferenceChild
    log: Path
    measures_file: Path
    picture: PictureCheck


def _try(context: RunContext, subject: Subject, batch_size: int) -> _Try:
    check_inputs(context)
    layout, checkpoints = context.layout, subject.checkpoints
    log = _free(layout.logs / f"inference_{subject.suffix}.log")
    measures_file = _free(layout.root / f"measures_{subject.suffix}.json")
    command = inference_command(
        context.gate_target,
        trusted_words(
            context, subject.draw, {stage: one.path for stage, one in checkpoints.items()}, measures_file, batch_size
        ),
    )
    context.journal.append(
        "inference_started",
        attempt=subject.number,
        draw=subject.draw,
        batch_size=batch_size,
        command=command,
        log=log,
        checkpoints={stage: reference.path for stage, reference in checkpoints.items()},
    )
    keep_gated((one.path for one in checkpoints.values()), f"inference-{subject.number}", run_root=layout.root)
    drawn = context.clip_draws.get(subject.draw)
    clips = len(drawn) if drawn is not None else context.settings.inference.clips
    which = {FINAL: " that no attempt has seen", EVALUATION: " of the evaluation set"}.get(subject.draw, "")
    held_out = "" if subject.draw == EVALUATION else "held-out "
    context.say(f"inference, {subject.name}: rolling out {clips} {held_out}clips{which}")
    pictures = existing_pictures(layout.inference_results)
    ended = run_inference(context, command, log, context.gate_target)
    child, picture = ended.child, check_new_picture(layout.inference_results, pictures)
    context.journal.append(
        "inference_finished",
        attempt=subject.number,
        draw=subject.draw,
        exit_code=child.exit_code,
        signal=child.signal,
        cause=ended.cause,
        wall_s=child.wall_s,
        log=log,
        picture=picture.path,
        measures_file=measures_file,
        checkpoints={stage: checkpoint_event(layout, reference) for stage, reference in checkpoints.items()},
        extra_launchers=[record.as_record() for record in child.extra],
        ended=[record.as_record() for record in child.ended],
        log_tail=None if child.ok else list(child.log_tail),
    )
    if ended.disk_problem is not None:
        raise DiskError(
            f"The inference run stopped: {ended.disk_problem} (its log: {log}). The disk is full: free some space, "
            f"then go on with --resume-run results/{layout.run}. All checkpoints are untouched."
        )
    return _Try(ended, log, measures_file, picture)


def _judge(context: RunContext, subject: Subject, tried: _Try) -> InferenceAttempt:
    child, picture = tried.ended.child, tried.picture
    weights = {stage: reference.model_sha256 for stage, reference in subject.checkpoints.items()}
    found = measured(
        tried.measures_file,
        context.layout.project_root,
        context.frames_of(subject.draw),
        asked=asked_settings(context.settings, subject.draw),
        weights=weights,
    )
    evidence = InferenceEvidence(
        exit_code=child.exit_code,
        log=read_inference_log(tried.log),
        expected_checkpoints={stage: str(reference.path) for stage, reference in subject.checkpoints.items()},
        picture=picture.path.name if picture.path else None,
        picture_problem=picture.problem,
        measures=found.measures,
        measures_problem=found.problem,
        draw=subject.draw,
        measured_starts=found.starts,
        drawn_starts=context.clip_draws.get(subject.draw),
        claims=found.claims,
        agreement=agreement_conditions(subject.checkpoints),
    )
    thresholds = gate_thresholds(context.settings.profile.thresholds)
    verdict, gates = judge_inference(evidence, thresholds), dict[str, Any]()
    if subject.own is not None:
        gates = gates_event(subject.own, verdict, None)
        verdict = both_gates(subject.own, verdict, None, thresholds)
        verdict = same_checkout(context, verdict)
    binding = bind(
        context.settings,
        subject.draw,
        weights,
        clip_digest=found.measures.clip_digest if found.measures else None,
        dataset_sha256=dataset_sha256(context.journal.events()),
        evaluation_sha256=evaluation_sha256(context.journal.events(), subject.draw),
        source=subject.source,
    ).as_event()
    context.journal.append(
        "gate_verdict",
        attempt=subject.number,
        draw=subject.draw,
        measures=found.measures.as_dict() if found.measures else None,
        binding=binding,
        **verdict.as_event(),
        **gates,
    )
    return InferenceAttempt(
        number=subject.number,
        verdict=verdict,
        measures=found.measures,
        checkpoints=subject.checkpoints,
        log=tried.log,
        picture=picture.path,
        log_tail=child.log_tail,
        draw=subject.draw,
        binding=binding,
        evidence=evidence,
    )


def _free(path: Path) -> Path:
    """A name that no file has: an earlier process of the same attempt keeps its log, and must not speak for the new."""
    name, number = path, 2
    while name.exists():
        name, number = path.with_name(f"{path.stem}_{number}{path.suffix}"), number + 1
    return name


def trusted_words(
    context: RunContext, draw: int, checkpoints: Mapping[str, Path], measures_file: Path, batch_size: int
) -> dict[str, Any]:
    """The words of the embedded reference's inference: the trusted gate on three checkpoint folders, by stage."""
    inference, training = context.settings.inference, context.settings.training
    values: dict[str, Any] = {key: getattr(inference, key) for key in MEASURING_KEYS}
    values |= {key: getattr(training, key) for key in SPLIT_KEYS}
    values |= {
        "clip_draw": draw,
        "batch_size": batch_size,
        "device": "cpu" if context.on_cpu else "cuda",
        "data_path": context.data_path,
        "measures_path": measures_file,
        "use_latest_checkpoints": False,
    }
    if draw == EVALUATION:
        values["evaluation_file"] = context.evaluation_path
    return values | {f"{stage}_path": path for stage, path in checkpoints.items()}
