"""One attempt at the inference gate: start the inference run, gather its evidence, judge it (L6, L7, G1–G5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.layout import CheckpointRef, checkpoint_event
from tinyworlds_gate.checkpoints.retention import keep_gated
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import DataError, DiskError, LaunchError
from tinyworlds_gate.gate.attempt_record import InferenceAttempt, bind_attempt, inference_evidence, named_scorecard
from tinyworlds_gate.gate.binding import MEASURING_KEYS, SPLIT_KEYS, gate_config
from tinyworlds_gate.gate.checkout_attempt import (
    attempt_without_trusted_gate,
    run_target_inference,
    same_checkout,
    why_not_computable,
)
from tinyworlds_gate.gate.checkout_gate import both_gates, gates_event, judge_target
from tinyworlds_gate.gate.clip_plan import ClipPlan, training_frames
from tinyworlds_gate.gate.earlier_verdicts import Present, earlier_event, earlier_verdicts
from tinyworlds_gate.gate.evidence import (
    Measured,
    PictureCheck,
    asked_settings,
    check_new_picture,
    dataset_sha256,
    existing_pictures,
    measure_files,
    measured,
)
from tinyworlds_gate.gate.inference_job import InferenceJob, Subject
from tinyworlds_gate.gate.inference_process import InferenceChild, next_try, run_inference
from tinyworlds_gate.gate.measures.probe import Probe
from tinyworlds_gate.gate.probe_process import run_probe
from tinyworlds_gate.gate.provenance import recorded_conditions
from tinyworlds_gate.gate.scorecard import scorecard_path
from tinyworlds_gate.gate.verdict import judge_inference
from tinyworlds_gate.launch.cause import OUT_OF_MEMORY
from tinyworlds_gate.launch.command import inference_command
from tinyworlds_gate.launch.failure_text import failure_text
from tinyworlds_gate.names import ATTEMPTS, EVALUATION, FINAL
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.disk import reporting_full_disk
from tinyworlds_gate.run.paths import unused_path
from tinyworlds_gate.run.source_state import SourceState


@reporting_full_disk()
def run_attempt(
    job: InferenceJob,
    number: int,
    checkpoints: Mapping[str, CheckpointRef],
    *,
    draw: int = ATTEMPTS,
    source: SourceState | None = None,
) -> InferenceAttempt:
    """Run inference on these checkpoints and judge it; journalled before and after.

    Args:
        number: of the attempt, from 1; a final verdict has that of the attempt that passed.
        draw: ``ATTEMPTS``; ``FINAL``: held-out clips that no attempt has seen; ``EVALUATION``: the evaluation set.
        source: commit and versions that the verdict is bound to.

    Raises:
        DataError: the frames are not those that the run was started with.
        DiskError: the disk is full; nothing is judged, the run can be resumed.
        LaunchError: the command cannot be started, or one clip alone takes more memory than there is.
    """
    subject = Subject(number, draw, dict(checkpoints), source or SourceState())
    if job.tree is not None:
        job.check_inputs()
        own = judge_target(run_target_inference(job, subject), job.target.can, job.settings.profile.thresholds.max_mse)
        subject = replace(subject, own=own, no_trusted_gate=job.no_trusted_gate or why_not_computable(checkpoints))
        job.say(f"the checkout's own gate, {subject.name}: {own.sentence}")
        if subject.no_trusted_gate is not None:
            return attempt_without_trusted_gate(job, subject)
    return _judge(job, subject, _roll_out(job, subject))


@dataclass(frozen=True)
class _Rollout:
    """An inference process that has ended, and the files that it left."""

    ended: InferenceChild
    log: Path
    measures_file: Path
    picture: PictureCheck
    batch_size: int


def _roll_out(job: InferenceJob, subject: Subject) -> _Rollout:
    """Run the trusted inference until it ends for a reason of its own.

    A process that was ended from outside is run again, up to the profile's ``max_train_retries`` times; one that ran
    out of memory, with half the clips at once.
    """
    batch_size, kills = job.settings.inference.batch_size, 0
    while True:
        rollout = _roll_out_once(job, subject, batch_size)
        cause = rollout.ended.cause
        further = next_try(cause, batch_size, kills, job.settings.profile.max_train_retries)
        if further is None:
            break
        job.journal.append(
            "inference_retry",
            attempt=subject.number,
            draw=subject.draw,
            cause=cause,
            batch_size=[batch_size, further.batch_size],
            reason=further.reason,
        )
        job.say(f"inference, {subject.name}: {failure_text(rollout.ended.child)}")
        job.say(f"inference, {subject.name}: {further.reason}")
        batch_size, kills = further.batch_size, further.kills
    if cause == OUT_OF_MEMORY:
        raise LaunchError(
            f"Inference ran out of memory with a single clip at a time (batch_size 1; its log: {rollout.log}). Nothing "
            "is judged: free memory, or take a machine with more, then go on with --resume-run "
            f"results/{job.layout.run}. All checkpoints are untouched."
        )
    return rollout


def _roll_out_once(job: InferenceJob, subject: Subject, batch_size: int) -> _Rollout:
    job.check_inputs()
    layout = job.layout
    # An earlier process of the same attempt keeps its log and its measures.
    log = unused_path(layout.logs, f"inference_{subject.suffix}", ".log")
    measures_file = unused_path(layout.root, f"measures_{subject.suffix}", ".json")
    arguments = trusted_arguments(
        job.settings,
        job.clips,
        subject.paths,
        draw=subject.draw,
        measures_file=measures_file,
        batch_size=batch_size,
        on_cpu=job.on_cpu,
    )
    command = inference_command(job.trusted_target, arguments)
    job.journal.append(
        "inference_started",
        attempt=subject.number,
        draw=subject.draw,
        batch_size=batch_size,
        command=command,
        log=log,
        checkpoints=subject.paths,
    )
    keep_gated(subject.paths.values(), f"inference-{subject.number}", run_root=layout.root)
    drawn = job.clips.starts_of(subject.draw)
    clips = len(drawn) if drawn is not None else job.settings.inference.clips
    which = {FINAL: " that no attempt has seen", EVALUATION: " of the evaluation set"}.get(subject.draw, "")
    held_out = "" if subject.draw == EVALUATION else "held-out "
    job.say(f"inference, {subject.name}: rolling out {clips} {held_out}clips{which}")
    pictures = existing_pictures(layout.inference_results)
    ended = run_inference(job, job.trusted_target, command, log)
    picture = check_new_picture(layout.inference_results, pictures)
    job.journal.append(
        "inference_finished",
        attempt=subject.number,
        draw=subject.draw,
        **ended.journal_fields(),
        log=log,
        picture=picture.path,
        measures_file=measures_file,
        checkpoints={stage: checkpoint_event(layout, one) for stage, one in subject.checkpoints.items()},
    )
    if ended.disk_problem is not None:
        raise DiskError(
            f"The inference run stopped: {ended.disk_problem} (its log: {log}). The disk is full: free some space, "
            f"then go on with --resume-run results/{layout.run}. All checkpoints are untouched."
        )
    return _Rollout(ended, log, measures_file, picture, batch_size)


def _judge(job: InferenceJob, subject: Subject, rollout: _Rollout) -> InferenceAttempt:
    """Read what the process left, and journal the verdict."""
    child, draw, file = rollout.ended.child, subject.draw, rollout.measures_file
    found = _measured(
        job,
        subject,
        file,
        lambda: run_probe(job, subject, file, exit_code=child.exit_code, batch_size=rollout.batch_size),
    )
    _note_earlier(job, subject, found, file)
    evidence = inference_evidence(
        exit_code=child.exit_code,
        log=rollout.log,
        expected_checkpoints={stage: str(path) for stage, path in subject.paths.items()},
        checkpoints=subject.checkpoints,
        picture=rollout.picture,
        found=found,
        draw=draw,
        drawn_starts=job.clips.starts_of(draw),
        backbones=job.settings.backbones or None,
        recorded=recorded_conditions(job.journal.events(), subject.number, draw),
    )
    thresholds = job.settings.profile.thresholds
    verdict, gates = judge_inference(evidence, thresholds), dict[str, Any]()
    if subject.own is not None:
        gates = gates_event(subject.own, verdict, None)
        verdict = same_checkout(job, both_gates(subject.own, verdict, None, thresholds))
    _write_scorecard(job, subject, found, file)
    binding = bind_attempt(job, subject.number, draw, subject.checkpoints, found.measures, subject.source).as_event()
    job.journal.append(
        "gate_verdict",
        attempt=subject.number,
        draw=draw,
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
        log=rollout.log,
        picture=rollout.picture.path,
        log_tail=child.log_tail,
        draw=draw,
        binding=binding,
        evidence=evidence,
    )


def _write_scorecard(job: InferenceJob, subject: Subject, found: Measured, measures_file: Path) -> None:
    """Write what was found of each clip beside the measures file; nothing without generated frames."""
    if found.card is None:
        return
    key = job.layout.run, subject.number, subject.draw
    events, commit = job.journal.events(), subject.source.commit
    card = named_scorecard(found.card, events, *key, weights=subject.weights, commit=commit)
    atomic_write(scorecard_path(measures_file), card.as_text())


def _note_earlier(job: InferenceJob, subject: Subject, found: Measured, measures_file: Path) -> None:
    """Journal which earlier attempts of the project count against these weights."""
    if found.measures is None:
        return
    present = Present(
        results=job.layout.root.parent,
        run=job.layout.run,
        weights=subject.weights,
        binding={
            "config": gate_config(job.settings, subject.draw, job.custom),
            "clip_digest": found.measures.clip_digest,
            "dataset_sha256": dataset_sha256(job.journal.events()),
        },
        thresholds=job.settings.profile.thresholds,
        dynamics=subject.paths["dynamics"],
        frames=job.clips.frames_of(subject.draw),
        measures=measures_file,
    )
    event = earlier_event(earlier_verdicts(present), present)
    job.journal.append("earlier_verdicts", attempt=subject.number, draw=subject.draw, **event)


def _measured(job: InferenceJob, subject: Subject, measures_file: Path, probe: Callable[[], Probe]) -> Measured:
    """Measure what the inference process left; its frames are measured while the probe runs."""
    frames, root = job.clips.frames_of(subject.draw), job.layout.project_root
    try:
        training = training_frames(job.settings, job.clips.path, trained=job.tree is None)
        asked = asked_settings(job.settings, subject.draw, frames)
    except DataError as error:
        probe()
        return Measured(None, problem=str(error))
    with ThreadPoolExecutor(max_workers=1) as pool:
        files = pool.submit(measure_files, measures_file, root, frames, training)
        generated = probe()
    return measured(
        measures_file,
        root,
        frames,
        training=training,
        asked=asked,
        weights=subject.weights,
        custom=job.custom,
        probe=generated,
        files=files.result,
    )


def trusted_arguments(
    settings: Settings,
    clips: ClipPlan,
    checkpoints: Mapping[str, Path],
    *,
    draw: int,
    measures_file: Path,
    batch_size: int,
    on_cpu: bool,
) -> dict[str, Any]:
    """The arguments of the embedded reference's inference: the trusted gate on three checkpoint folders, by stage."""
    values: dict[str, Any] = {key: getattr(settings.inference, key) for key in MEASURING_KEYS}
    values |= {key: getattr(settings.training, key) for key in SPLIT_KEYS}
    values |= {
        "clip_draw": draw,
        "batch_size": batch_size,
        "device": "cpu" if on_cpu else "cuda",
        "data_path": clips.path,
        "measures_path": measures_file,
        "use_latest_checkpoints": False,
    }
    if draw == EVALUATION:
        values["evaluation_file"] = clips.frames_of(draw)
    if clips.left_out.get(draw):
        values["left_out_clips"] = ",".join(map(str, clips.left_out[draw]))
    return values | {f"{stage}_path": path for stage, path in checkpoints.items()}
