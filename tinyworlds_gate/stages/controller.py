"""Trains one stage in chunks: launch, evidence, stage gate, retune, to the target or the budget (L5, S1–S5, T1–T4)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.launch.command import stage_command, stage_environment
from tinyworlds_gate.launch.launcher import ChunkResult, chunk_files, failure_text, run_chunk
from tinyworlds_gate.names import DEGRADED, FAIL, NOT_RUN, PASS
from tinyworlds_gate.reference.training.schedule import Schedule
from tinyworlds_gate.stages.chunk_evidence import (
    ChunkEvidence,
    checkpoint_event,
    gather_evidence,
    pictures_of,
    set_aside_earlier_tries,
)
from tinyworlds_gate.stages.chunk_history import recent_mean
from tinyworlds_gate.stages.context import RunContext
from tinyworlds_gate.stages.retune import Cause, ChunkParams, plan_retune
from tinyworlds_gate.stages.verdicts import StageVerdict, judge_stage

RETUNE_CAUSES: Mapping[str, Cause] = {"out_of_memory": "out_of_memory", "timeout": "timeout", "guard": "guard"}
"""The launcher's causes as the ladder knows them; any other is a runtime error."""


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


@dataclass(frozen=True)
class Chunk:
    """The span of one chunk and the schedule it belongs to."""

    number: int
    start: int
    end: int
    target: int
    schedule_start: int
    reason: str


class StageController:
    """The chunks of one stage, from a fresh start or from a checkpoint."""

    def __init__(
        self, context: RunContext, stage: str, inputs: Mapping[str, CheckpointRef], resume: CheckpointRef | None = None
    ) -> None:
        """``inputs`` are the checkpoints that dynamics is trained on; ``resume`` is where this stage continues."""
        self.context, self.stage, self.inputs = context, stage, inputs
        self.checkpoint = resume
        self.retries = 0
        self.degraded = False
        self.schedule_start = 0
        self._chunks_of_stage = 0
        self._last_reason = ""

    @property
    def done(self) -> int:
        """Updates that the valid checkpoint has had."""
        return self.checkpoint.step + 1 if self.checkpoint else 0

    def train(self, target: int, *, reason: str = "planned", chunk: int | None = None) -> StageResult:
        """Train up to the absolute update ``target``; a stage gate that asks for more at the target extends it.

        The schedule spans the updates from ``schedule_start`` to the target, whatever the chunks are. ``chunk`` is the
        length of a chunk in updates where it is not the profile's (a retry is one chunk).
        """
        began = time.monotonic()
        chunk_size = chunk or self.context.settings.plan(self.stage).chunk
        result: StageResult | None = None
        while result is None and self.done < target:
            end = min(self.done + chunk_size, target)
            evidence, cause = self._run_chunk(end, target, reason)
            if cause is None:
                self.checkpoint = evidence.checkpoint
                verdict = self._judge(evidence)
                if verdict.decision in ("continue", "watch"):
                    continue
                cause = "stage_gate"
            if not self._retune(cause):
                result = self._finish(FAIL, f"the stage did not pass: {self._last_reason}", began)
            elif self.done >= target:
                # The gate was not met at the target: the span grows by one chunk with its own schedule.
                self.schedule_start, target = self.done, target + chunk_size
                self.context.say(f"{self.stage}: the target grows to {target} updates")
            reason = "retune"
        if self._chunks_of_stage == 0:
            return self._finish(
                NOT_RUN, f"not trained: the start has had {self.done} updates, the target is {target}", began
            )
        return result or self._finish(
            DEGRADED if self.degraded else PASS, f"{self.done} updates taken and the stage gate passed", began
        )

    def _run_chunk(self, end: int, target: int, reason: str) -> tuple[ChunkEvidence, Cause | None]:
        chunk = Chunk(self.context.next_chunk(), self.done, end, target, self.schedule_start, reason)
        self._chunks_of_stage += 1
        layout, config = self.context.layout, self.context.settings.stages[self.stage]
        command = stage_command(
            self.context.target, self.stage, nproc_per_node=self.context.nproc, overrides=self._overrides(chunk)
        )
        self._announce(chunk, command)
        for folder in set_aside_earlier_tries(layout, self.stage, chunk.start):
            self.context.say(f"{self.stage}: a checkpoint of a try that did not count was set aside as {folder.name}")
        pictures = pictures_of(layout, self.stage)
        result = self._launch(chunk, command)
        evidence = gather_evidence(
            layout,
            self.stage,
            start_update=chunk.start,
            end_update=chunk.end,
            schedule=Schedule(config.learning_rate, chunk.schedule_start, chunk.target, config.warmup_fraction),
            pictures_before=pictures,
        )
        self._record(chunk, result, evidence)
        return evidence, self._cause(result, evidence)

    def _overrides(self, chunk: Chunk) -> dict[str, Any]:
        config, training = self.context.settings.stages[self.stage], self.context.settings.training
        values: dict[str, Any] = {
            "n_updates": chunk.end,
            "batch_size_per_gpu": config.batch_size_per_gpu,
            "learning_rate": config.learning_rate,
            "gradient_accumulation_steps": config.gradient_accumulation_steps,
            "log_interval": config.log_interval,
            "schedule_start": chunk.schedule_start,
            "schedule_end": chunk.target,
            "seed": training.seed,
            "device": "cpu" if self.context.on_cpu else "cuda",
            "held_out_fraction": training.held_out_fraction,
            "split_seed": training.split_seed,
        }
        if self.context.data_path is not None:
            values["data_path"] = self.context.data_path
        if self.checkpoint is not None:
            values["checkpoint"] = self.checkpoint.path
        if self.stage == "dynamics":
            values["video_tokenizer_path"] = self.inputs["video_tokenizer"].path
            values["latent_actions_path"] = self.inputs["latent_actions"].path
        return values

    def _announce(self, chunk: Chunk, command: list[str]) -> None:
        settings, layout = self.context.settings, self.context.layout
        params = ChunkParams.of(settings.stages[self.stage])
        self.context.journal.append(
            "chunk_started",
            chunk=chunk.number,
            stage=self.stage,
            chunk_of_stage=self._chunks_of_stage,
            reason=chunk.reason,
            command=command,
            log=layout.chunk_log(chunk.number, self.stage),
            start_update=chunk.start,
            end_update=chunk.end,
            target_updates=chunk.target,
            params=vars(params),
            param_sources={key: settings.source_of(self.stage, key) for key in vars(params)},
            nproc_per_node=self.context.nproc,
            effective_batch=settings.effective_batch(self.stage),
            resumed_from=self.checkpoint.path if self.checkpoint else None,
        )
        self.context.say(
            f"{self.stage}: chunk {chunk.number}, updates {chunk.start} to {chunk.end} of {chunk.target} "
            f"({chunk.reason}), learning rate {params.learning_rate:g}, "
            f"effective batch {settings.effective_batch(self.stage)}"
        )

    def _launch(self, chunk: Chunk, command: list[str]) -> ChunkResult:
        layout, settings = self.context.layout, self.context.settings
        watchdog, options = settings.profile.watchdog, settings.options
        files = chunk_files(layout, chunk.number)
        return run_chunk(
            self.context.target,
            self.stage,
            command,
            stage_environment(self.context.target, files, on_cpu=self.context.on_cpu),
            layout=layout,
            chunk=chunk.number,
            nproc=self.context.nproc,
            monitor_interval_s=options.monitor_interval_sec,
            gpu_util_threshold=options.gpu_util_threshold,
            gpu_required_samples=options.gpu_required_samples,
            cleanup_extra=options.cleanup_extra_processes,
            deadline_s=watchdog.chunk_deadline_s,
            stall_s=watchdog.stall_s,
            progress=self.context.progress_of(self.stage, chunk.start, chunk.end),
        )

    def _record(self, chunk: Chunk, result: ChunkResult, evidence: ChunkEvidence) -> None:
        layout, history = self.context.layout, evidence.history
        self.context.journal.append(
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
        )
        rate = f"{history.updates_per_s:.2f} updates/s" if history.updates_per_s else "no rate"
        final = f"final loss {history.losses[-1]:.4f}" if history.losses else "no loss"
        self.context.say(f"{self.stage}: chunk {chunk.number} took {result.wall_s:.0f} s, {final}, {rate}")

    def _cause(self, result: ChunkResult, evidence: ChunkEvidence) -> Cause | None:
        """Why the chunk does not count, or None when it does (S4)."""
        options = self.context.settings.options
        if evidence.has_non_finite_loss:
            self._last_reason = "; ".join(evidence.problems)
            return "stage_gate"
        if result.cause != "ok":
            self._last_reason = failure_text(result)
            self.context.say(self._last_reason)
            return RETUNE_CAUSES.get(result.cause, "runtime_error")
        guard_failed = result.dual_gpu_ok is False and not self.context.on_cpu and self.context.nproc > 1
        if options.enforce_dual_gpu_check and guard_failed:
            self._last_reason = f"the device check failed: {result.dual_gpu_reason}"
            return "guard"
        if evidence.problems:
            self._last_reason = "; ".join(evidence.problems)
            return "runtime_error"
        return None

    def _judge(self, evidence: ChunkEvidence) -> StageVerdict:
        history = evidence.history
        verdict = judge_stage(
            self.stage,
            history.losses,
            self.context.settings.profile.thresholds.stage_gates,
            recent_mean(history.unique_actions),
            recent_mean(history.action_entropy_nats),
        )
        self.context.journal.append(
            "stage_gate",
            chunk=self.context.chunks_started,
            stage=self.stage,
            decision=verdict.decision,
            id=verdict.id,
            reason=verdict.reason,
            measures=verdict.measures,
            thresholds=verdict.thresholds,
        )
        self.context.say(f"{self.stage}: gate {verdict.id} says {verdict.decision}: {verdict.reason}")
        self._last_reason = verdict.reason
        return verdict

    def _retune(self, cause: Cause) -> bool:
        """Apply the ladder; False when it gives up."""
        params = ChunkParams.of(self.context.settings.stages[self.stage])
        plan = plan_retune(
            self.stage,
            cause,
            params,
            retries_used=self.retries,
            max_train_retries=self.context.settings.profile.max_train_retries,
            nproc_per_node=self.context.nproc,
        )
        self.context.journal.append(
            "retune",
            stage=self.stage,
            chunk=self.context.chunks_started,
            id=plan.id,
            cause=f"{cause}: {self._last_reason}",
            changes=plan.changes,
            effective_batch=plan.effective_batch,
            proceed=plan.proceed,
            reason=plan.reason,
        )
        self.context.say(f"{self.stage}: {plan.id}: {plan.reason}")
        if not plan.proceed:
            self._last_reason = f"{self._last_reason} {plan.reason}"
            return False
        self.retries += 1
        self.degraded = self.degraded or plan.degraded
        if plan.changes:
            self.context.settings = self.context.settings.with_retune(self.stage, plan.changes, f"retune {plan.id}")
        return True

    def _finish(self, verdict: str, reason: str, began: float) -> StageResult:
        result = StageResult(self.stage, verdict, reason, self.done, self.checkpoint)
        self.context.journal.append(
            "stage_finished",
            stage=self.stage,
            verdict=verdict,
            reason=reason,
            updates=self.done,
            checkpoint=checkpoint_event(self.context.layout, self.checkpoint),
            degraded=self.degraded,
            seconds=time.monotonic() - began,
        )
        self.context.say(f"{self.stage}: {verdict}: {reason}")
        return result
