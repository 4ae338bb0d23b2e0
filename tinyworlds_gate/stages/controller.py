"""Trains one stage in chunks: launch, evidence, stage gate, retune, to the target or the budget (L5, S1–S5, T1–T4)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tinyworlds_gate.checkpoints.layout import CheckpointRef, checkpoint_event
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import CheckpointError, DiskError
from tinyworlds_gate.launch.launcher import ChunkResult, failure_text
from tinyworlds_gate.launch.wandb_run import plan_wandb_run
from tinyworlds_gate.names import DEGRADED, FAIL, NOT_RUN, PASS
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence, set_aside_earlier_tries
from tinyworlds_gate.stages.chunk_history import read_chunk_history, recent_mean
from tinyworlds_gate.stages.chunk_launch import Chunk, announcement, chunk_command, launch_chunk
from tinyworlds_gate.stages.current_checkpoint import Recorded, Standing
from tinyworlds_gate.stages.evidence import evidence_of_chunk, pictures_before
from tinyworlds_gate.stages.failure import Failure, failure_of
from tinyworlds_gate.stages.progress import INTERRUPTED, RUN_STOPS, StageProgress
from tinyworlds_gate.stages.retune import Cause, ChunkParams, plan_retune
from tinyworlds_gate.stages.run_inputs import check_inputs
from tinyworlds_gate.stages.verdicts import judge_stage


@dataclass(frozen=True)
class StageResult:
    """How a stage ended: PASS, DEGRADED, FAIL or NOT-RUN, why, and the checkpoint that counts."""

    stage: str
    verdict: str
    reason: str
    updates: int
    checkpoint: CheckpointRef | None

    @property
    def usable(self) -> bool:
        """Whether the next stage can build on it."""
        return self.checkpoint is not None and self.verdict != FAIL


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
        self.standing = Standing(context, stage, inputs, resume)
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
        """Train up to the absolute update ``target``; a stage gate that asks for more at the target extends it.

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
            checkpoint=self.progress.checkpoint or self.standing.record(self.standing.given),
            resumes=self.context.target.can.resumes,
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
                case "retune":
                    self._retune()
                case "run":
                    self._run_chunk()
                case "give_up" | "finish":
                    self._finish(began)
        event, progress = self.progress.finished or {}, self.progress
        checkpoint = self.standing.resolve(progress.checkpoint)
        return StageResult(self.stage, str(event["verdict"]), str(event["reason"]), progress.done, checkpoint)

    def _append(self, event: str, **fields: object) -> None:
        self.progress = self.progress.after(self.context.journal.append(event, **{**fields, "stage": self.stage}))

    def _require_whole_checkpoint(self) -> None:
        """A resumed run: the checkpoint that the journal counts on is still there and whole, or an older one is."""
        recorded = self.progress.checkpoint
        try:
            self.standing.resolve(recorded)
        except CheckpointError as error:
            assert recorded is not None
            used, refused = self.standing.newest_below(int(recorded["step"]))
            first = {"path": recorded["path"], "reason": str(error)}
            self._append("checkpoint_refused", refused=[first, *refused], used=used)
            told = f"update {used['step']} is used instead" if used else "the stage starts anew"
            self.context.say(f"{self.stage}: {error}; {told}")

    def _run_chunk(self) -> None:
        check_inputs(self.context)
        if self.context.nodes is not None:
            self.context.nodes.ready()
        progress, layout = self.progress, self.context.layout
        chunk = Chunk(
            number=self.context.next_chunk(),
            stage=self.stage,
            start=progress.done,
            end=progress.span[1],
            target=progress.target,
            schedule_start=progress.schedule_start,
            reason=progress.reason,
            wandb=plan_wandb_run(self.context.settings.training, self.context.wandb_environment(os.environ)),
        )
        command = chunk_command(self.context, chunk, self.standing.resolve(progress.checkpoint), self.inputs)
        self._announce(chunk, command)
        for folder in set_aside_earlier_tries(layout, self.stage, chunk.start):
            self.context.say(f"{self.stage}: a checkpoint of a try that did not count was set aside as {folder.name}")
        pictures = pictures_before(self.context, self.stage)
        began = time.time()
        result = launch_chunk(self.context, chunk, command)
        evidence = evidence_of_chunk(self.context, chunk, pictures, began)
        failure = failure_of(result, evidence, guard_applies=self.guard_applies)
        self._record(chunk, result, evidence, failure)
        if failure is not None and failure.cause in RUN_STOPS:
            raise DiskError(
                f"{failure.reason} The disk is full: free some space, then go on with --resume-run "
                f"results/{layout.run}. Earlier checkpoints are untouched."
            )

    @property
    def guard_applies(self) -> bool:
        """H6: whether an idle GPU is a failure of a chunk."""
        enforced = self.context.settings.options.enforce_dual_gpu_check
        return enforced and not self.context.on_cpu and self.context.nproc > 1

    def _announce(self, chunk: Chunk, command: list[str]) -> None:
        fields = announcement(self.context, chunk, command)
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
            told = failure_text(result) if result.cause != "ok" and not result.node_problem else failure.reason
            self.context.say(f"{self.stage}: chunk {chunk.number} does not count: {told}")
        continue_from, refused = self._start_of_next_try(chunk, evidence, failure)
        self._append(
            "chunk_finished",
            **result.journal_fields(),
            checkpoint=checkpoint_event(layout, evidence.checkpoint),
            history=layout.history(self.stage),
            history_rows=len(history.steps),
            first_loss=history.losses[0] if history.losses else None,
            final_loss=history.losses[-1] if history.losses else None,
            updates_per_s=history.updates_per_s,
            visualization=evidence.visualization,
            channels=evidence.channels,
            problems=evidence.problems,
            notes=evidence.notes,
            failure=failure,
            continue_from=continue_from,
            refused=refused,
        )
        rate = f"{history.updates_per_s:.2f} updates/s" if history.updates_per_s else "no rate"
        final = f"final loss {history.losses[-1]:.4f}" if history.losses else "no loss"
        for note in evidence.notes:
            self.context.say(f"{self.stage}: chunk {chunk.number}: {note}")
        self.context.say(f"{self.stage}: chunk {chunk.number} took {result.wall_s:.0f} s, {final}, {rate}")

    def _start_of_next_try(
        self, chunk: Chunk, evidence: ChunkEvidence, failure: Failure | None
    ) -> tuple[Recorded | None, list[dict[str, str]]]:
        if failure is None:
            return self.standing.record(evidence.checkpoint), []
        if not self.context.target.can.resumes:
            return None, []  # each try begins with new weights
        if failure.cause == "guard":
            return self.progress.checkpoint, []  # nothing that the chunk trained is proven
        # The last update is always taken again: evidence that was missing can only come from training.
        return self.standing.newest_below(chunk.end - 1)

    def _settle(self) -> None:
        """A chunk whose harness died: it is closed in the journal, and what it saved is used."""
        started = self.progress.open_chunk
        assert started is not None
        number, samples = int(started["chunk"]), self.context.layout.chunk_devices(int(started["chunk"]))
        continue_from, refused = self._start_of_cut_chunk(int(started["end_update"]) - 1)
        self._append(
            "chunk_finished",
            chunk=number,
            exit_code=None,
            signal=None,
            cause=INTERRUPTED,
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
        return self.standing.newest_below(step) if self.context.target.can.resumes else (None, [])

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
        self.standing.keep_for_gate(self.progress.checkpoint)
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

    def _retune(self) -> None:
        """Climb down the ladder, or give up."""
        progress, settings = self.progress, self.context.settings
        plan = plan_retune(
            self.stage,
            cast(Cause, progress.failure),
            ChunkParams.of(settings.stages[self.stage]),
            retries_used=progress.retries,
            max_train_retries=settings.profile.max_train_retries,
            nproc_per_node=self.context.nproc,
            nodes=self.context.nnodes,
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
        if progress.gave_up is not None:
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
            updates=progress.done,
            checkpoint=progress.checkpoint,
            degraded=progress.degraded,
            seconds=time.monotonic() - began,
        )
        self.context.say(f"{self.stage}: {verdict}: {reason}")
