"""Runs the checkout's own inference on this run's checkpoints and gathers what it left (L6, G1–G5)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tinyworlds_gate.checkpoints.describe import why_unreadable
from tinyworlds_gate.checkpoints.layout import CheckpointRef, checkpoint_event
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import CheckpointError, ConfigError
from tinyworlds_gate.gate.attempt_record import InferenceAttempt, attempt_from_journal, bind_attempt
from tinyworlds_gate.gate.checkout_gate import TargetEvidence, both_gates, gates_event, of_one_code
from tinyworlds_gate.gate.evidence import PictureCheck, check_picture
from tinyworlds_gate.gate.inference_job import InferenceJob, Subject
from tinyworlds_gate.gate.inference_process import run_inference
from tinyworlds_gate.gate.verdict import GateVerdict
from tinyworlds_gate.launch.cause import KILLED
from tinyworlds_gate.launch.command import inference_command
from tinyworlds_gate.launch.failure_text import failure_text
from tinyworlds_gate.launch.raised import raised_in
from tinyworlds_gate.run.journal import last_event
from tinyworlds_gate.run.paths import unused_path
from tinyworlds_gate.targets.arguments import inference_arguments
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.checkout import contract_stage
from tinyworlds_gate.targets.fingerprint import changed_files, fingerprint
from tinyworlds_gate.targets.log_lines import inference_lines, read_log


def run_target_inference(job: InferenceJob, subject: Subject) -> TargetEvidence:
    """Run it to its end, journalled before and after; a process that was ended from outside is run again.

    Raises:
        LaunchError: it cannot be started.
    """
    target, layout = job.target, job.layout
    command = inference_command(target, target_arguments(job.settings, target, subject.paths, on_cpu=job.on_cpu))
    kills = 0
    while True:
        log = unused_path(layout.logs, f"target_inference_{subject.suffix}", ".log")
        before = pictures_in(target)
        job.journal.append(
            "target_inference_started",
            attempt=subject.number,
            draw=subject.draw,
            command=command,
            log=log,
            checkpoints=subject.paths,
        )
        ended = run_inference(job, target, command, log)
        if ended.cause != KILLED or kills >= job.settings.profile.max_train_retries:
            break
        kills += 1
        job.say(f"the checkout's inference was ended from outside and is run again: {failure_text(ended.child)}")
    picture = _new_picture(target, layout.inference_results, before)
    if not ended.child.ok:
        job.say(f"the checkout's inference: {failure_text(ended.child)}")
    job.journal.append(
        "target_inference_finished",
        attempt=subject.number,
        draw=subject.draw,
        **ended.journal_fields(),
        log=log,
        picture=picture.path,
        picture_problem=picture.problem,
    )
    paths = {stage: str(path) for stage, path in subject.paths.items()}
    return evidence_of(job.settings, target, ended.child.exit_code, log, picture, paths)


def evidence_of(
    settings: Settings,
    target: Target,
    exit_code: int | None,
    log: Path,
    picture: PictureCheck,
    checkpoints: Mapping[str, str],
) -> TargetEvidence:
    """Read the files of an inference run; ``checkpoints``: stage → the path that it had to use."""
    inference, training = settings.inference, settings.training
    text = read_log(log)
    lines, exceptions = inference_lines(text, target.patterns), raised_in(text)
    horizon = inference.prediction_horizon
    return TargetEvidence(
        exit_code=exit_code,
        lines=lines,
        shown_checkpoints={
            contract_stage(target, own): _absolute(target, path) for own, path in lines.checkpoints.items()
        },
        expected_checkpoints={stage: _absolute(target, path) for stage, path in checkpoints.items()},
        picture=picture.path.name if picture.path else None,
        picture_problem=picture.problem,
        context_frames=inference.context_window or training.context_length - horizon,
        generated_frames=inference.generation_steps * horizon,
        error=exceptions[-1].sentence() if exceptions else "",
    )


def target_arguments(
    settings: Settings, target: Target, checkpoints: Mapping[str, Path], *, on_cpu: bool
) -> dict[str, object]:
    """The arguments of the checkout's own inference on three checkpoints, with the settings of the gate."""
    inference, training = settings.inference, settings.training
    return inference_arguments(
        target,
        checkpoints,
        dataset=training.dataset,
        on_cpu=on_cpu,
        teacher_forced=inference.teacher_forced,
        context_window=inference.context_window or training.context_length - inference.prediction_horizon,
        prediction_horizon=inference.prediction_horizon,
        generation_steps=inference.generation_steps,
        decode_steps=inference.decode_steps,
        temperature=inference.temperature,
        seed=inference.seed,
    )


def pictures_in(target: Target) -> dict[Path, int]:
    """The inference pictures of a checkout with their times of change (ns)."""
    found = target.root.glob(target.layout.pictures)
    return {path: path.stat().st_mtime_ns for path in found if not path.is_symlink()}


def _new_picture(target: Target, results: Path, before: Mapping[Path, int]) -> PictureCheck:
    """The newest picture that came up or was written anew; copied to the run's own folder where that is another."""
    now = pictures_in(target)
    fresh = sorted((path for path, stamp in now.items() if before.get(path) != stamp), key=lambda path: now[path])
    if not fresh:
        stale = f"{len(before)} older ones lie there" if before else "none lies there"
        return PictureCheck(None, f"no new {target.layout.pictures} appeared ({stale})")
    found = check_picture(fresh[-1])
    if found.path is None or found.path.parent.resolve() == results.resolve():
        return found
    results.mkdir(parents=True, exist_ok=True)
    return PictureCheck(Path(shutil.copy2(found.path, results / found.path.name)), "")


def _absolute(target: Target, path: str) -> str:
    """As the process meant it: from the checkout's root; links on the way are the same place."""
    return os.path.realpath(target.root / path)


def why_not_computable(checkpoints: Mapping[str, CheckpointRef]) -> str | None:
    """Why the embedded reference cannot run these checkpoints of the three stages; None when it can.

    The reason names mixture-of-experts blocks, unknown or missing tensors, and sizes that cannot be inferred.
    """
    from tinyworlds_gate.reference.rollout.world_models import load_trained

    reason = why_unreadable(checkpoints)
    if reason is not None:
        return reason
    try:
        load_trained({stage: one.path for stage, one in checkpoints.items()})
    except (CheckpointError, ConfigError) as error:
        return f"ours does not compute this architecture: {error}"
    return None


def same_checkout(job: InferenceJob, verdict: GateVerdict) -> GateVerdict:
    """The verdict with ``G2.checkout``: the files of the checkout are compared with those before the run again."""
    assert job.tree is not None
    return of_one_code(verdict, changed_files(job.tree, fingerprint(job.target.root)), len(job.tree))


def attempt_without_trusted_gate(job: InferenceJob, subject: Subject) -> InferenceAttempt:
    """Only the checkout's own inference was run: the journal's attempt is that one, and it cannot pass."""
    assert subject.own is not None
    thresholds = job.settings.profile.thresholds
    verdict = same_checkout(job, both_gates(subject.own, None, subject.no_trusted_gate, thresholds))
    events = job.journal.events()
    started, finished = (last_event(events, f"target_inference_{word}") or {} for word in ("started", "finished"))
    shared = {"attempt": subject.number, "draw": subject.draw, "log": finished.get("log")}
    job.journal.append(
        "inference_started", **shared, batch_size=1, command=started.get("command"), checkpoints=subject.paths
    )
    names = ("exit_code", "signal", "cause", "wall_s", "picture", "extra_launchers", "ended", "log_tail")
    ended = job.journal.append(
        "inference_finished",
        **shared,
        **{name: finished.get(name) for name in names},
        measures_file=None,
        checkpoints={stage: checkpoint_event(job.layout, one) for stage, one in subject.checkpoints.items()},
    )
    binding = bind_attempt(job, subject.number, subject.draw, subject.checkpoints, None, subject.source).as_event()
    judged = job.journal.append(
        "gate_verdict",
        attempt=subject.number,
        draw=subject.draw,
        measures=None,
        binding=binding,
        **verdict.as_event(),
        **gates_event(subject.own, None, subject.no_trusted_gate),
    )
    return attempt_from_journal(job.layout.project_root, job.clips, ended, judged)
