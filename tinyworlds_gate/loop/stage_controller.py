"""Trains one stage in chunks: launch, evidence, stage gate, retune, to the target or the budget (L5, S1–S5, T1–T4)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from tinyworlds_gate.checkpoints.layout import CheckpointRef, checkpoint_event
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import CheckpointError, DiskError
from tinyworlds_gate.evidence.metrics.checkout import copy_history
from tinyworlds_gate.launch.child import LOG_TAIL_LINES, log_tail
from tinyworlds_gate.launch.failure_text import failure_text, repeated_failure
from tinyworlds_gate.launch.launcher import ChunkResult
from tinyworlds_gate.launch.wandb_run import WandbRun, plan_wandb_run
from tinyworlds_gate.launch.wandb_server import logged_offline, online_or_offline
from tinyworlds_gate.loop.run_inputs import check_inputs
from tinyworlds_gate.names import DEGRADED, FAIL, INVALID, NOT_RUN, PASS, SHARED_KEYS
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence, set_aside_earlier_tries
from tinyworlds_gate.stages.chunk_history import read_chunk_history, recent_mean
from tinyworlds_gate.stages.chunk_launch import Chunk, announcement, chunk_command, launch_chunk
from tinyworlds_gate.stages.current_checkpoint import Recorded, StageCheckpoints
from tinyworlds_gate.stages.device_probe import ProbeInputs, probe_devices, probe_event, probe_updates
from tinyworlds_gate.stages.evidence import evidence_of_chunk, pictures_before
from tinyworlds_gate.stages.failure import Failure, failure_of
from tinyworlds_gate.stages.progress import INTERRUPTED, NO_DEVICE_EVIDENCE, RUN_STOPS, StageProgress
from tinyworlds_gate.stages.retune import Cause, ChunkParams, plan_retune
from tinyworlds_gate.stages.verdicts import judge_stage
from tinyworlds_gate.targets.switches import switch_hint

_WITHOUT_EVIDENCE = (
    "the trained checkpoint is kept. Use --enforce-dual-gpu-check false to train on without this evidence (H6 stays "
    "unproven), or --nproc-per-node 1 for one GPU."
)


@dataclass(frozen=True)
class StageResult:
    """How a stage ended: PASS, DEGRADED, FAIL, INVALID or NOT-RUN, why, and its checkpoint.

    INVALID: it trained, and evidence that all GPUs worked cannot be had; the trained checkpoint is kept.
    """

    stage: str
    verdict: str
    reason: str
    updates: int
    checkpoint: CheckpointRef | None

    @property
    def usable(self) -> bool:
        """Whether the next stage can build on it."""
        return self.checkpoint is not None and self.verdict not in (FAIL, INVALID)


class StageController:
    """The chunks of one stage, from a fresh start or from a checkpoint.

    What happened is appended to the journal, and the state is folded from what was appended (``progress.py``), so that
    a resumed run goes on exactly where the journal stops.
    """

    def __init__(
        self, context: RunContext, stage: str, inputs: Mapping[str, CheckpointRef], resume: CheckpointRef | None = None
    ) -> None:
        """``inputs`` are the checkpoints that dynamics is trained on; ``resume`` is where this stage continues."""
        self.context, self.stage, self.inputs = context, stage, inputs
        self.checkpoints = stage_checkpoints(context, stage, inputs, resume)
        self.progress = StageProgress(stage, chunk_size=1, target=1)

    def train(
        self,
        target: int,
        *,
        reason: str = "planned",
        chunk: int | None = None,
        schedule_start: int = 0,
        so_far: Sequence[Event] = (),
    ) -> StageResult:
        """Train up to the absolute update ``target``; a stage gate that is not met at the target extends it.

        The schedule spans the updates from ``schedule_start`` to the target, whatever the chunks are. ``chunk`` is the
        length of a chunk in updates where it is not the profile's (a retry is one chunk). ``so_far`` are the journal's
        events of this training when a run is resumed: it goes on where they stop.

        Raises:
            GateError: the machine stops the run (a full disk); what was trained is kept and can be resumed.
        """
        began = time.monotonic()
        self.progress = StageProgress(
            self.stage,
            chunk_size=chunk or self.context.settings.plan(self.stage).chunk,
            target=target,
            schedule_start=schedule_start,
            reason=reason,
            checkpoint=self.progress.checkpoint or self.checkpoints.record(self.checkpoints.start),
            resumes=self.context.target.resumes(self.stage),
            growth=self.context.checkout.growth.get(self.stage, 0) if self.context.checkout else 0,
        ).after_all(so_far)
        if so_far:
            self._require_whole_checkpoint()
        while (step := self.progress.next_step) != "finished":
            match step:
                case "settle":
                    self._settle()
                case "judge":
                    self._judge()
                case "probe":
                    self._probe()
                case "retune":
                    self._retune()
                case "run":
                    self._run_chunk()
                case "give_up" | "finish":
                    self._finish(began)
        event, progress = self.progress.finished or {}, self.progress
        checkpoint = self.checkpoints.resolve(progress.trained or progress.checkpoint)
        updates = int(event["updates"]) if event else progress.done
        return StageResult(self.stage, str(event["verdict"]), str(event["reason"]), updates, checkpoint)

    def _append(self, event: str, **fields: object) -> None:
        self.progress = self.progress.after(self.context.journal.append(event, **{**fields, "stage": self.stage}))

    def _require_whole_checkpoint(self) -> None:
        """A resumed run: verify the checkpoint of the journal, or fall back to an older one."""
        recorded = self.progress.checkpoint
        try:
            self.checkpoints.resolve(recorded)
        except CheckpointError as error:
            assert recorded is not None
            used, refused = self.checkpoints.newest_below(int(recorded["step"]))
            first = {"path": recorded["path"], "reason": str(error)}
            self._append("checkpoint_refused", refused=[first, *refused], used=used)
            explanation = f"update {used['step']} is used instead" if used else "the stage starts anew"
            self.context.say(f"{self.stage}: {error}; {explanation}")

    def _run_chunk(self) -> None:
        context, progress, layout = self.context, self.progress, self.context.layout
        check_inputs(context)
        if context.nodes is not None:
            context.nodes.wait_until_ready()
        wandb_run, offline = self._plan_wandb_run()
        chunk = Chunk(
            number=context.next_chunk(),
            stage=self.stage,
            start=progress.done,
            end=progress.span[1],
            target=progress.target,
            schedule_start=progress.schedule_start,
            reason=progress.reason,
            wandb=wandb_run,
        )
        command = chunk_command(
            context.target,
            context.settings,
            chunk,
            self.checkpoints.resolve(progress.checkpoint),
            self.inputs,
            on_cpu=context.on_cpu,
            frames=context.clips.path,
            rendezvous=context.rendezvous,
        )
        self._announce(chunk, command)
        for folder in set_aside_earlier_tries(layout, self.stage, chunk.start):
            context.say(f"{self.stage}: a checkpoint of a try that did not count was set aside as {folder.name}")
        pictures = pictures_before(context.target, layout, self.stage)
        began = time.time()
        with context.journal.in_place():  # else nothing of the chunk is found, and the model would be blamed
            result = launch_chunk(
                context.target,
                layout,
                context.settings,
                chunk,
                command,
                on_cpu=context.on_cpu,
                nodes=context.nodes,
                progress=context.progress_of(chunk.stage, chunk.start, chunk.end),
            )
        evidence = evidence_of_chunk(
            context.target, layout, context.settings, chunk, pictures, self._copy_history(chunk, began)
        )
        if (note := offline or logged_offline(wandb_run, layout.project_root)) is not None:
            evidence = replace(evidence, notes=(*evidence.notes, note))
        failure = failure_of(result, evidence, chunk.end, guard_applies=self.guard_applies)
        self._record(chunk, result, evidence, failure)
        if failure is not None and failure.cause in RUN_STOPS:
            raise DiskError(
                f"{failure.reason} The disk is full: free some space, then go on with --resume-run "
                f"results/{layout.run}. Earlier checkpoints are untouched."
            )

    def _plan_wandb_run(self) -> tuple[WandbRun | None, str | None]:
        """The W&B run of the next chunk, and why it is offline where its server is down."""
        context = self.context
        environment, root = context.wandb_environment(os.environ), context.layout.project_root
        return online_or_offline(plan_wandb_run(context.settings.training, environment, root), environment, root)

    def _copy_history(self, chunk: Chunk, began: float) -> str | None:
        """Copy a checkout's W&B metrics of the chunk into ``Logs/``; what is wrong with them, or None (M1)."""
        if not self.context.target.is_checkout:
            return None
        if chunk.wandb is None:
            return "no W&B run was planned"
        return copy_history(self.context.layout, chunk.stage, chunk.wandb, (chunk.start, chunk.end), began)

    @property
    def guard_applies(self) -> bool:
        """H6: whether an idle GPU is a failure of a chunk."""
        enforced = self.context.settings.options.enforce_dual_gpu_check
        return enforced and not self.context.on_cpu and self.context.nproc > 1

    def _announce(self, chunk: Chunk, command: list[str]) -> None:
        fields = announcement(self.context.layout, self.context.settings, chunk, command)
        start = self.progress.checkpoint
        self._append(
            "chunk_started",
            **fields,
            chunk_of_stage=self.progress.chunks + 1,
            resumed_from=start["path"] if start else None,
        )
        self.context.say(
            f"{self.stage}: chunk {chunk.number}, updates {chunk.start} to {chunk.end} of {chunk.target} "
            f"({chunk.reason}), learning rate {fields['params']['learning_rate']:g}, "
            f"effective batch {fields['effective_batch']}"
        )

    def _record(self, chunk: Chunk, result: ChunkResult, evidence: ChunkEvidence, failure: Failure | None) -> None:
        layout, history = self.context.layout, evidence.history
        if failure is not None:
            explanation = failure_text(result) if result.cause != "ok" and not result.node_problem else failure.reason
            self.context.say(f"{self.stage}: chunk {chunk.number} does not count: {explanation}")
        continue_from, refused = self._start_of_next_try(chunk, evidence, failure)
        rate = history.updates_per_s or result.updates_per_s or _average_rate(chunk, result)
        self._append(
            "chunk_finished",
            **result.journal_fields(),
            checkpoint=checkpoint_event(layout, evidence.checkpoint),
            history=layout.history(self.stage),
            history_rows=len(history.steps),
            first_loss=history.losses[0] if history.losses else None,
            final_loss=history.losses[-1] if history.losses else None,
            updates_per_s=rate,
            trained_s=(chunk.end - chunk.start) / rate if result.ok and rate else None,
            visualization=evidence.visualization,
            channels=evidence.channels,
            problems=evidence.problems,
            notes=evidence.notes,
            failure=failure,
            continue_from=continue_from,
            refused=refused,
        )
        pace = f"{rate:.3g} updates/s" if rate else "no update was seen"
        final = f"final loss {history.losses[-1]:.4f}" if history.losses else "no loss"
        for note in evidence.notes:
            self.context.say(f"{self.stage}: chunk {chunk.number}: {note}")
        self.context.say(f"{self.stage}: chunk {chunk.number} took {result.wall_s:.0f} s, {final}, {pace}")

    def _start_of_next_try(
        self, chunk: Chunk, evidence: ChunkEvidence, failure: Failure | None
    ) -> tuple[Recorded | None, list[dict[str, str]]]:
        if failure is None:
            return self.checkpoints.record(evidence.checkpoint), []
        if not self.context.target.resumes(self.stage):
            return None, []  # each try begins with new weights
        if failure.cause == NO_DEVICE_EVIDENCE:
            return self.checkpoints.record(evidence.checkpoint), []  # it trained normally: nothing is trained again
        # The last update is always taken again: evidence that was missing can only come from training.
        return self.checkpoints.newest_below(chunk.end - 1)

    def _settle(self) -> None:
        """Close a chunk whose harness died in the journal, and continue from what it saved."""
        started = self.progress.open_chunk
        assert started is not None
        number, samples = int(started["chunk"]), self.context.layout.chunk_devices(int(started["chunk"]))
        continue_from, refused = self._start_of_cut_chunk(int(started["end_update"]) - 1)
        bounds = int(started["start_update"]), int(started["end_update"])
        history = read_chunk_history(self.context.layout.history(self.stage), *bounds)
        self._append(
            "chunk_finished",
            chunk=number,
            exit_code=None,
            signal=None,
            cause=INTERRUPTED,
            updates_per_s=history.updates_per_s,
            wall_s=None,
            launcher_pid=None,
            workers=[],
            dual_gpu_ok=None,
            dual_gpu_reason="the harness ended before the chunk did",
            device_samples=samples if samples.exists() else None,
            extra_launchers=[],
            checkpoint=None,
            problems=[],
            failure=None,
            continue_from=continue_from,
            refused=refused,
        )
        self.context.say(f"{self.stage}: chunk {number} was interrupted; going on at update {self.progress.done}")

    def _start_of_cut_chunk(self, step: int) -> tuple[Recorded | None, list[dict[str, str]]]:
        return self.checkpoints.newest_below(step) if self.context.target.resumes(self.stage) else (None, [])

    def _judge(self) -> None:
        start, end = self.progress.span_start or 0, self.progress.done
        history = read_chunk_history(self.context.layout.history(self.stage), start, end)
        verdict = judge_stage(
            self.stage,
            history.losses,
            self.context.settings.profile.thresholds.stage_gates,
            recent_mean(history.unique_actions),
            recent_mean(history.action_entropy_nats),
        )
        self.checkpoints.keep_for_gate(self.progress.checkpoint)
        self._append(
            "stage_gate",
            chunk=self.progress.last_chunk,
            decision=verdict.decision,
            id=verdict.id,
            reason=verdict.reason,
            measures=verdict.measures,
            thresholds=verdict.thresholds,
        )
        self.context.say(f"{self.stage}: gate {verdict.id} says {verdict.decision}: {verdict.reason}")

    def _probe(self) -> None:
        """Find out in a short launch whether device evidence can be had, before anything is trained again (H6)."""
        context, end = self.context, self.progress.last_end or {}
        chunk = int(end["chunk"])
        if context.nodes is not None:
            reason = "no probe: it would need the launchers of all machines"
            self._append("device_probe", chunk=chunk, dual_gpu_ok=None, dual_gpu_reason=reason, skipped=True)
            return
        checkpoint = end.get("checkpoint") or {}
        updates = probe_updates(int(checkpoint.get("step", 0)) + 1, end.get("wall_s") or 0.0, end.get("updates_per_s"))
        context.say(
            f"{self.stage}: chunk {chunk} trained normally, but {self.progress.last_reason}. A probe of {updates} "
            "updates finds out whether evidence can be had; the trained checkpoint is kept"
        )
        inputs = ProbeInputs(
            context.target, context.layout, context.settings, self.stage, chunk, self.inputs, context.clips.path
        )
        result = probe_devices(inputs, updates)
        self._append("device_probe", **probe_event(result, updates, end))
        seen = "shows all GPUs at work" if result.dual_gpu_ok else "shows no evidence either"
        context.say(f"{self.stage}: the probe {seen}: {result.dual_gpu_reason}")

    def _hopeless(self) -> str | None:
        """Why another try cannot succeed: its error repeats itself, or device evidence cannot be had (T1, H6)."""
        progress, end = self.progress, self.progress.last_end or {}
        if progress.failure == NO_DEVICE_EVIDENCE:
            return no_device_evidence(progress)
        if progress.repeated is None:
            return None
        log = self.context.layout.chunk_log(int(end["chunk"]), self.stage)
        tail = end.get("log_tail") or log_tail(log, lines=LOG_TAIL_LINES)
        hint = switch_hint(self.context.target, self.stage, progress.repeated.place)
        return repeated_failure(progress.repeated, tail, self.context.layout.relative(log), hint)

    def _retune(self) -> None:
        """Change parameters by the retune ladder, or give up."""
        progress, settings = self.progress, self.context.settings
        plan = plan_retune(
            self.stage,
            cast(Cause, progress.failure),
            ChunkParams.of(settings.stages[self.stage]),
            retries_used=progress.retries,
            max_train_retries=settings.profile.max_train_retries,
            nproc_per_node=self.context.nproc,
            nodes=self.context.nnodes,
            hopeless=self._hopeless(),
        )
        self._append(
            "retune",
            chunk=progress.last_chunk,
            id=plan.id,
            cause=f"{progress.failure}: {progress.last_reason}",
            changes=plan.changes,
            effective_batch=plan.effective_batch,
            proceed=plan.proceed,
            reason=plan.reason,
        )
        self.context.say(f"{self.stage}: {plan.id}: {plan.reason}")
        if plan.proceed and plan.changes:
            self.context.settings = settings.with_retune(self.stage, plan.changes, f"retune {plan.id}")
        if self.progress.target > progress.target:
            self.context.say(f"{self.stage}: the target grows to {self.progress.target} updates")

    def _finish(self, began: float) -> None:
        progress = self.progress
        checkpoint = progress.trained or progress.checkpoint
        if progress.gave_up_after == NO_DEVICE_EVIDENCE:
            verdict, reason = INVALID, f"the stage trained, and its devices are not proven: {progress.gave_up}"
        elif progress.gave_up is not None:
            verdict, reason = FAIL, f"the stage did not pass: {progress.gave_up}"
        elif progress.chunks == 0:
            verdict = NOT_RUN
            reason = f"not trained: the start has had {progress.done} updates, the target is {progress.target}"
        else:
            verdict = DEGRADED if progress.degraded else PASS
            reason = f"{progress.done} updates taken and the stage gate passed"
        self._append(
            "stage_finished",
            verdict=verdict,
            reason=reason,
            updates=int(checkpoint["step"]) + 1 if checkpoint else 0,
            checkpoint=checkpoint,
            degraded=progress.degraded,
            seconds=time.monotonic() - began,
        )
        self.context.say(f"{self.stage}: {verdict}: {reason}")


def no_device_evidence(progress: StageProgress) -> str | None:
    """Why the stage stops after a chunk without device evidence (H6); None if it goes on as the ladder says, once."""
    probe = progress.probe or {}
    if progress.unproven > 1:
        shown = "The probe showed that evidence can be had" if probe.get("dual_gpu_ok") else "No probe was made"
        return f"{shown}, and {progress.unproven} chunks in a row have none; {_WITHOUT_EVIDENCE}"
    if probe.get("dual_gpu_ok") or probe.get("skipped"):
        return None
    return (
        f"A probe of {probe.get('updates')} updates with a sample every 0.2 s found no evidence either: "
        f"{probe.get('dual_gpu_reason')}. Another training would have none; {_WITHOUT_EVIDENCE}"
    )


def _average_rate(chunk: Chunk, result: ChunkResult) -> float | None:
    """Updates a second over the whole launch, its start-up included; None without an update."""
    done = chunk.end if result.ok else (result.last_step or -1) + 1
    return (done - chunk.start) / result.wall_s if done > chunk.start and result.wall_s > 0 else None


def stage_checkpoints(
    context: RunContext, stage: str, inputs: Mapping[str, CheckpointRef], start: CheckpointRef | None
) -> StageCheckpoints:
    """The checkpoints of a stage that a run may continue from."""
    training = context.settings.training
    return StageCheckpoints(
        context.layout,
        stage,
        inputs=inputs,
        start=start,
        sizes=None if context.target.is_checkout else {name: getattr(training, name) for name in SHARED_KEYS},
        say=context.say,
    )
