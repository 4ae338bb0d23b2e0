"""Runs the checkout's own inference on this run's checkpoints and gathers what it left (L6, G1–G5)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tinyworlds_gate.checkpoints.describe import why_unreadable
from tinyworlds_gate.checkpoints.layout import CheckpointRef, checkpoint_event
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import CheckpointError, ConfigError
from tinyworlds_gate.gate.attempt_record import InferenceAttempt, Subject, gate_thresholds
from tinyworlds_gate.gate.binding import bind
from tinyworlds_gate.gate.checkout_gate import TargetEvidence, both_gates, gates_event, of_one_code
from tinyworlds_gate.gate.evidence import PictureCheck, check_picture, dataset_sha256
from tinyworlds_gate.gate.inference_process import run_inference
from tinyworlds_gate.gate.verdict import GateVerdict
from tinyworlds_gate.launch.cause import KILLED
from tinyworlds_gate.launch.command import inference_command
from tinyworlds_gate.launch.failure_text import failure_text
from tinyworlds_gate.run.journal import last_event
from tinyworlds_gate.targets.arguments import inference_words
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.checkout import contract_stage
from tinyworlds_gate.targets.log_lines import inference_lines, read_log
from tinyworlds_gate.targets.tree import changed_files, fingerprint


def run_target_inference(
    context: RunContext, attempt: int, draw: int, suffix: str, checkpoints: Mapping[str, CheckpointRef]
) -> TargetEvidence:
    """Run it to its end, journalled before and after; a process that somebody ended from outside is run again.

    Raises:
        LaunchError: it cannot be started.
    """
    target, layout = context.target, context.layout
    command = inference_command(target, target_words(context, {s: one.path for s, one in checkpoints.items()}))
    kills = 0
    while True:
        log = _free(layout.logs / f"target_inference_{suffix}.log")
        before = pictures_in(target)
        context.journal.append(
            "target_inference_started",
            attempt=attempt,
            draw=draw,
            command=command,
            log=log,
            checkpoints={stage: one.path for stage, one in checkpoints.items()},
        )
        ended = run_inference(context, command, log, target)
        if ended.cause != KILLED or kills >= context.settings.profile.max_train_retries:
            break
        kills += 1
        context.say(f"the checkout's inference was ended from outside and is run again: {failure_text(ended.child)}")
    picture = _new_picture(target, layout.inference_results, before)
    if not ended.child.ok:
        context.say(f"the checkout's inference: {failure_text(ended.child)}")
    context.journal.append(
        "target_inference_finished",
        attempt=attempt,
        draw=draw,
        exit_code=ended.child.exit_code,
        signal=ended.child.signal,
        cause=ended.cause,
        wall_s=ended.child.wall_s,
        log=log,
        picture=picture.path,
        picture_problem=picture.problem,
        extra_launchers=[record.as_record() for record in ended.child.extra],
        ended=[record.as_record() for record in ended.child.ended],
        log_tail=None if ended.child.ok else list(ended.child.log_tail),
    )
    paths = {stage: str(one.path) for stage, one in checkpoints.items()}
    return evidence_of(context.settings, target, ended.child.exit_code, log, picture, paths)


def evidence_of(
    settings: Settings,
    target: Target,
    exit_code: int | None,
    log: Path,
    picture: PictureCheck,
    checkpoints: Mapping[str, str],
) -> TargetEvidence:
    """What the files of an inference run say; ``checkpoints``: stage → the path that was to be used."""
    inference, training = settings.inference, settings.training
    lines = inference_lines(read_log(log), target.patterns)
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
    )


def target_words(context: RunContext, checkpoints: Mapping[str, Path]) -> dict[str, object]:
    """The words of the checkout's own inference, with the settings of the gate."""
    inference, training = context.settings.inference, context.settings.training
    return inference_words(
        context.target,
        checkpoints,
        dataset=training.dataset,
        on_cpu=context.on_cpu,
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
    return {path: path.stat().st_mtime_ns for path in target.root.glob(target.layout.pictures)}


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


def _free(path: Path) -> Path:
    name, number = path, 2
    while name.exists():
        name, number = path.with_name(f"{path.stem}_{number}{path.suffix}"), number + 1
    return name


# Whether the trusted gate can compute three checkpoints at all: their models are built and every tensor is placed.


def why_not_computable(checkpoints: Mapping[str, CheckpointRef]) -> str | None:
    """Why the embedded reference cannot run these checkpoints of the three stages; None when it can.

    Mixture-of-experts blocks, unknown or missing tensors, and sizes that nothing tells are named.
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


# An attempt on a checkout without the trusted gate: its own inference was run, and nothing passes (docs/gate.md).


def same_checkout(context: RunContext, verdict: GateVerdict) -> GateVerdict:
    """The verdict with ``G2.checkout``: the checkout's tree is looked at once more."""
    assert context.checkout is not None
    tree = context.checkout.tree
    return of_one_code(verdict, changed_files(tree, fingerprint(context.target.root)), len(tree))


def attempt_without_trusted_gate(context: RunContext, subject: Subject) -> InferenceAttempt:
    """Only the checkout's own inference was run: the journal's attempt is that one, and it cannot pass."""
    assert subject.own is not None
    thresholds = gate_thresholds(context.settings.profile.thresholds)
    verdict = same_checkout(context, both_gates(subject.own, None, subject.no_trusted_gate, thresholds))
    events = context.journal.events()
    started, finished = (last_event(events, f"target_inference_{word}") or {} for word in ("started", "finished"))
    checkpoints = {stage: checkpoint_event(context.layout, one) for stage, one in subject.checkpoints.items()}
    shared = {"attempt": subject.number, "draw": subject.draw, "log": finished.get("log")}
    context.journal.append(
        "inference_started",
        **shared,
        batch_size=1,
        command=started.get("command"),
        checkpoints={stage: reference.path for stage, reference in subject.checkpoints.items()},
    )
    names = ("exit_code", "signal", "cause", "wall_s", "picture", "extra_launchers", "ended", "log_tail")
    context.journal.append(
        "inference_finished",
        **shared,
        **{name: finished.get(name) for name in names},
        measures_file=None,
        checkpoints=checkpoints,
    )
    binding = bind(
        context.settings,
        subject.draw,
        {stage: reference.model_sha256 for stage, reference in subject.checkpoints.items()},
        clip_digest=None,
        dataset_sha256=dataset_sha256(events),
        source=subject.source,
    ).as_event()
    context.journal.append(
        "gate_verdict",
        attempt=subject.number,
        draw=subject.draw,
        measures=None,
        binding=binding,
        **verdict.as_event(),
        **gates_event(subject.own, None, subject.no_trusted_gate),
    )
    root = context.layout.project_root
    picture = finished.get("picture")
    return InferenceAttempt(
        number=subject.number,
        verdict=verdict,
        measures=None,
        checkpoints=subject.checkpoints,
        log=root / str(finished.get("log")),
        picture=root / picture if picture else None,
        log_tail=tuple(finished.get("log_tail") or ()),
        draw=subject.draw,
        binding=binding,
    )
