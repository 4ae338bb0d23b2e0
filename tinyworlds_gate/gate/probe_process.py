"""The probe of an attempt: a fresh process that generates frames again, from context and actions alone (G5.blind, G7).

It starts after the inference process ended. The harness reads the context from the frames file, draws the clips at
random, and writes both with the requested settings into the request; the journal records the choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinyworlds_gate.errors import DataError, DiskError, GateError, LaunchError
from tinyworlds_gate.gate.evidence import asked_settings
from tinyworlds_gate.gate.inference_job import InferenceJob, Subject
from tinyworlds_gate.gate.inference_process import InferenceChild, NextTry, next_try, run_inference
from tinyworlds_gate.gate.measures.probe import Probe
from tinyworlds_gate.gate.measures.probe_plan import ProbePlan, plan_probe
from tinyworlds_gate.gate.measures.raw import MeasuresError, read_raw
from tinyworlds_gate.launch.cause import OUT_OF_MEMORY, TIMEOUT
from tinyworlds_gate.launch.command import probe_command
from tinyworlds_gate.launch.failure_text import failure_sentence
from tinyworlds_gate.reference.data.clip_reader import read_clips
from tinyworlds_gate.reference.rollout.generated_frames import read_generated
from tinyworlds_gate.reference.rollout.probe_files import ProbeRequest, read_result, write_request, write_true_clips
from tinyworlds_gate.run.journal import Event, last_event
from tinyworlds_gate.run.paths import unused_path

TEACHER_FORCED = "a teacher-forced rollout reads the true frames, so no process without them can repeat it"
NOT_ENDED = "the inference command did not end with exit code 0, so its frames were not generated again"


def run_probe(
    job: InferenceJob, subject: Subject, measures_file: Path, *, exit_code: int | None, batch_size: int
) -> Probe:
    """Generate clips of an inference run again, journalled before and after.

    Args:
        measures_file: of the inference run; the generated frames lie beside it.
        exit_code: of the inference run.
        batch_size: clips that it rolled out at once.

    Raises:
        DiskError: the disk is full.
        LaunchError: the process cannot be started, or runs out of memory.
    """
    key = {"attempt": subject.number, "draw": subject.draw}
    skipped = TEACHER_FORCED if job.settings.inference.teacher_forced else NOT_ENDED if exit_code != 0 else None
    if skipped is not None:
        job.journal.append("probe_skipped", **key, reason=skipped)
        return Probe(not_run=skipped)
    try:
        plan, request, clips = _plan(job, subject, measures_file, batch_size)
    except GateError as error:
        event = job.journal.append("probe_finished", **key, exit_code=None, frames=None, problem=str(error))
        return _probe_of({}, event, job.layout.project_root)
    return _run(job, subject, key, plan, request, clips)


def recorded_probe(events: Iterable[Event], key: Mapping[str, int], root: Path) -> Probe | None:
    """Return the probe of an attempt (``key``: attempt and draw) from its files; None: an older version made none."""
    found = list(events)
    last = last_event(found, "probe_skipped", "probe_finished", **key)
    if last is None:
        return None
    if last["event"] == "probe_skipped":
        return Probe(not_run=str(last["reason"]))
    return _probe_of(last_event(found, "probe_started", **key) or {}, last, root)


def _plan(
    job: InferenceJob, subject: Subject, measures_file: Path, batch_size: int
) -> tuple[ProbePlan, ProbeRequest, np.ndarray]:
    """Return the choice of clips, the request, and the whole true clips ``[K, T, H, W, C]`` that were chosen."""
    raw = read_raw(measures_file)
    generated = read_generated(measures_file.with_name(Path(str(raw.get("generated_frames"))).name))
    frames = job.clips.frames_of(subject.draw)
    if frames is None:
        raise MeasuresError("the frames file of this run is not known")
    asked, inference = asked_settings(job.settings, subject.draw, frames), job.settings.inference
    starts, size, stride = [clip["start"] for clip in raw["clips"]], asked["frame_size"], asked["stride"]
    starts_B, context = np.array(starts, np.int64), asked["context"]
    clips = read_clips(frames, starts_B, context, frame_size=size, stride=stride)
    settings = {
        "generation_steps": inference.generation_steps,
        "prediction_horizon": inference.prediction_horizon,
        "decode_steps": inference.decode_steps,
        "temperature": inference.temperature,
        "space": inference.rollout,
        "memory": inference.memory_window,
        "token_choice": inference.token_choice,
        "batch_size": batch_size,
        "seed": inference.seed,
    }
    plan = plan_probe(raw, generated, clips.frames, clips.episode, settings, np.random.default_rng())
    request = ProbeRequest(
        groups=plan.groups,
        settings=settings,
        clips=len(raw["clips"]),
        checkpoints={stage: str(path) for stage, path in subject.paths.items()},
        device="cpu" if job.on_cpu else "cuda",
        tf32=inference.tf32,
    )
    length = context + asked["generation_steps"]
    chosen = read_clips(frames, starts_B[list(plan.clips)], length, frame_size=size, stride=stride).frames
    return plan, request, chosen


def _run(
    job: InferenceJob,
    subject: Subject,
    key: Mapping[str, int],
    plan: ProbePlan,
    request: ProbeRequest,
    clips_KTHWC: np.ndarray,
) -> Probe:
    """Run the process until it ends for a reason of its own; out of memory, it rolls out half the clips at once.

    A process that fails is repeated once, with the same clips and codes.
    """
    layout, kills, repeated = job.layout, 0, False
    while True:
        log = unused_path(layout.logs, f"probe_{subject.suffix}", ".log")
        asked = unused_path(layout.root, f"probe_{subject.suffix}_request", ".h5")
        frames = unused_path(layout.root, f"probe_{subject.suffix}", ".h5")
        true_clips = unused_path(layout.root, f"probe_{subject.suffix}_true_clips", ".h5")
        write_request(asked, request)
        write_true_clips(true_clips, clips_KTHWC)
        command = probe_command(job.trusted_target, asked, frames, true_clips)
        started = job.journal.append(
            "probe_started",
            **key,
            command=command,
            log=log,
            request=asked,
            clips=plan.clips,
            foreign=plan.foreign,
            played=plan.played,
        )
        ended = run_inference(job, job.trusted_target, command, log)
        true_clips.unlink(missing_ok=True)  # a copy of what the frames file holds
        batch_size = int(request.settings["batch_size"])
        further = next_try(ended.cause, batch_size, kills, job.settings.profile.max_train_retries)
        problem = _problem(ended, frames)
        finished = job.journal.append(
            "probe_finished",
            **key,
            **ended.journal_fields(),
            log=log,
            request=asked,
            frames=frames,
            problem=problem,
        )
        if ended.disk_problem is not None:
            raise DiskError(
                f"The probe of the inference run stopped: {ended.disk_problem} (its log: {log}). The disk is full: "
                f"free some space, then go on with --resume-run results/{layout.run}. All checkpoints are untouched."
            )
        sampled = float(request.settings["temperature"]) > 0  # samples depend on the clips rolled out at once
        if further is None and problem and not (repeated or ended.cause in (OUT_OF_MEMORY, TIMEOUT)):
            further, repeated = NextTry(batch_size, kills, "it failed and is repeated once, with the same clips"), True
        if further is None or (sampled and ended.cause == OUT_OF_MEMORY):
            break
        job.say(f"the probe, {subject.name}: {further.reason}")
        request = replace(request, settings={**request.settings, "batch_size": further.batch_size})
        kills = further.kills
    if ended.cause == OUT_OF_MEMORY:
        raise LaunchError(
            f"The probe of the inference run ran out of memory (its log: {log}). Nothing is judged: free memory, then "
            f"go on with --resume-run results/{layout.run}. All checkpoints are untouched."
        )
    return _probe_of(started, finished, layout.project_root)


def _problem(ended: InferenceChild, frames: Path) -> str | None:
    if ended.child.ok:
        try:
            read_result(frames)
        except DataError as error:
            return str(error)
        return None
    return f"the process that was to generate them again failed: {failure_sentence(ended.child)}"


def _probe_of(started: Event, finished: Event, root: Path) -> Probe:
    if finished.get("problem"):
        return Probe(problem=str(finished["problem"]))
    try:
        result = read_result(root / str(finished.get("frames")))
    except DataError as error:
        return Probe(problem=str(error))
    pairs = tuple((int(clip), int(other)) for clip, other in started.get("foreign") or ())
    clips, played = (tuple(int(clip) for clip in started.get(name) or ()) for name in ("clips", "played"))
    return Probe(result, clips, pairs, played=played)
