"""One attempt at the inference gate: start the inference run, gather its evidence, judge it (L6, L7, G1–G5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.gated import keep_gated
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.profile import Thresholds
from tinyworlds_gate.errors import DiskError, LaunchError
from tinyworlds_gate.gate.clip_facts import clip_facts
from tinyworlds_gate.gate.inference_child import InferenceChild, run_inference
from tinyworlds_gate.gate.inference_log import read_inference_log
from tinyworlds_gate.gate.measures import GateMeasures, MeasuresError, read_raw, summarise
from tinyworlds_gate.gate.next_try import next_try
from tinyworlds_gate.gate.picture_check import PictureCheck, check_new_picture, existing_pictures
from tinyworlds_gate.gate.verdict import Condition, GateThresholds, GateVerdict, InferenceEvidence, judge_inference
from tinyworlds_gate.launch.cause import OUT_OF_MEMORY
from tinyworlds_gate.launch.child import failure_text
from tinyworlds_gate.launch.command import inference_command
from tinyworlds_gate.run.disk import telling_full_disk
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.stages.chunk_evidence import checkpoint_event
from tinyworlds_gate.stages.context import RunContext
from tinyworlds_gate.stages.run_inputs import check_inputs


@dataclass(frozen=True)
class InferenceAttempt:
    """One try of the gate with everything that it left."""

    number: int
    verdict: GateVerdict
    measures: GateMeasures | None
    checkpoints: Mapping[str, CheckpointRef]
    log: Path
    picture: Path | None
    log_tail: tuple[str, ...]


def gate_thresholds(thresholds: Thresholds) -> GateThresholds:
    """The profile's thresholds as the verdict takes them."""
    return GateThresholds(**{name: getattr(thresholds, name) for name in GateThresholds.__dataclass_fields__})


@telling_full_disk()
def run_attempt(context: RunContext, number: int, checkpoints: Mapping[str, CheckpointRef]) -> InferenceAttempt:
    """Run inference on these checkpoints and judge it; journalled before and after.

    A process that somebody ended from outside, or that ran out of memory, says nothing of the model: it is run again,
    up to the profile's ``max_train_retries`` times, or with half the clips at once.

    Raises:
        DataError: the frames are not those that the run was started with.
        DiskError: the disk is full; nothing is judged, the run can be resumed.
        LaunchError: the command cannot be started, or one clip alone takes more memory than there is.
    """
    settings, kills = context.settings, 0
    batch_size = settings.inference.batch_size
    while True:
        tried = _try(context, number, checkpoints, batch_size)
        cause = tried.ended.cause
        further = next_try(cause, batch_size, kills, settings.profile.max_train_retries)
        if further is None:
            break
        context.journal.append(
            "inference_retry",
            attempt=number,
            cause=cause,
            batch_size=[batch_size, further.batch_size],
            reason=further.reason,
        )
        context.say(f"inference, attempt {number}: {failure_text(tried.ended.child)}")
        context.say(f"inference, attempt {number}: {further.reason}")
        batch_size, kills = further.batch_size, further.kills
    if cause == OUT_OF_MEMORY:
        raise LaunchError(
            f"Inference ran out of memory with a single clip at a time (batch_size 1; its log: {tried.log}). Nothing "
            "is judged: free memory, or take a machine with more, then go on with --resume-run "
            f"results/{context.layout.run}. All checkpoints are untouched."
        )
    return _judge(context, number, checkpoints, tried)


@dataclass(frozen=True)
class _Try:
    """One life of the inference process and what it left."""

    ended: InferenceChild
    log: Path
    measures_file: Path
    picture: PictureCheck


def _try(context: RunContext, number: int, checkpoints: Mapping[str, CheckpointRef], batch_size: int) -> _Try:
    check_inputs(context)
    layout, settings = context.layout, context.settings
    log, measures_file = _free(layout.inference_log(number)), _free(layout.root / f"measures_{number:02d}.json")
    command = inference_command(context.target, _overrides(context, checkpoints, measures_file, batch_size))
    context.journal.append(
        "inference_started",
        attempt=number,
        batch_size=batch_size,
        command=command,
        log=log,
        checkpoints={stage: reference.path for stage, reference in checkpoints.items()},
    )
    keep_gated((one.path for one in checkpoints.values()), f"inference-{number}", run_root=layout.root)
    context.say(f"inference, attempt {number}: rolling out {settings.inference.clips} held-out clips")
    pictures = existing_pictures(layout.inference_results)
    ended = run_inference(context, command, log)
    child, picture = ended.child, check_new_picture(layout.inference_results, pictures)
    context.journal.append(
        "inference_finished",
        attempt=number,
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


def _judge(context: RunContext, number: int, checkpoints: Mapping[str, CheckpointRef], tried: _Try) -> InferenceAttempt:
    child, picture = tried.ended.child, tried.picture
    measures, problem = _measures(tried.measures_file, context.layout.project_root)
    evidence = InferenceEvidence(
        exit_code=child.exit_code,
        log=read_inference_log(tried.log),
        expected_checkpoints={stage: str(reference.path) for stage, reference in checkpoints.items()},
        picture=picture.path.name if picture.path else None,
        picture_problem=picture.problem,
        measures=measures,
        measures_problem=problem,
    )
    verdict = judge_inference(evidence, gate_thresholds(context.settings.profile.thresholds))
    context.journal.append(
        "gate_verdict", attempt=number, measures=measures.as_dict() if measures else None, **verdict.as_event()
    )
    return InferenceAttempt(number, verdict, measures, dict(checkpoints), tried.log, picture.path, child.log_tail)


def restored_attempt(context: RunContext, finished: Event, verdict: Event) -> InferenceAttempt:
    """An attempt as the journal of a resumed run tells it (`inference_finished`, `gate_verdict`)."""
    root = context.layout.project_root
    measures, _ = _measures(root / finished["measures_file"], root)
    checkpoints = {
        stage: CheckpointRef(stage, one["step"], root / one["path"], one["sha256"], one["parameters"])
        for stage, one in finished["checkpoints"].items()
    }
    judged = GateVerdict(
        verdict["verdict"],
        verdict["sentence"],
        [Condition(**condition) for condition in verdict["conditions"]],
        GateThresholds(**verdict["thresholds"]),
    )
    picture = finished.get("picture")
    return InferenceAttempt(
        finished["attempt"],
        judged,
        measures,
        checkpoints,
        root / finished["log"],
        root / picture if picture else None,
        tuple(finished.get("log_tail") or ()),
    )


def _free(path: Path) -> Path:
    """A name that no file has: an earlier process of the same attempt keeps its log, and must not speak for the new."""
    name, number = path, 2
    while name.exists():
        name, number = path.with_name(f"{path.stem}_{number}{path.suffix}"), number + 1
    return name


def _overrides(
    context: RunContext, checkpoints: Mapping[str, CheckpointRef], measures_file: Path, batch_size: int
) -> dict[str, Any]:
    inference, training = context.settings.inference, context.settings.training
    values: dict[str, Any] = {
        key: getattr(inference, key)
        for key in (
            "dataset",
            "fps",
            "teacher_forced",
            "context_window",
            "prediction_horizon",
            "generation_steps",
            "decode_steps",
            "temperature",
            "rollout",
            "tf32",
            "seed",
            "clips",
            "clip_seed",
        )
    }
    values |= {
        "batch_size": batch_size,
        "device": "cpu" if context.on_cpu else "cuda",
        "held_out_fraction": training.held_out_fraction,
        "split_seed": training.split_seed,
        "data_path": context.data_path,
        "measures_path": measures_file,
        "use_latest_checkpoints": False,
    }
    return values | {f"{stage}_path": reference.path for stage, reference in checkpoints.items()}


def _measures(path: Path, root: Path) -> tuple[GateMeasures | None, str]:
    """The summary of what the process wrote, held to the clips as the harness itself reads them."""
    try:
        raw = read_raw(path)
        return summarise(raw, clip_facts(raw, root)), ""
    except MeasuresError as error:
        return None, str(error)
