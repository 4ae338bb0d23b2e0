"""The closed loop: from stopping stale training to a verdict with evidence. Reads like the table L1 to L10.

The steps are pulled by the fixtures of `validation/`: asking for a stage trains the stages before it first, asking for
inference trains all. Each step runs once, and writes its events to the run's journal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.checkpoints.agreement import check_agreement
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.config.alignment import Check, check_alignment
from tinyworlds_gate.config.schema import SHARED_KEYS
from tinyworlds_gate.errors import CheckpointError, ConfigError, DataError, GateError
from tinyworlds_gate.gate.attempt import InferenceAttempt, restored_attempt, run_attempt
from tinyworlds_gate.launch.ending import end_stale, require_ended
from tinyworlds_gate.loop_data import prepare_data
from tinyworlds_gate.loop_evidence import analyse_metrics, audit_history
from tinyworlds_gate.loop_resume import Retraining, RunSoFar, with_retraining
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.journal import Event, last_event
from tinyworlds_gate.run.lock import ProjectLock
from tinyworlds_gate.stages.context import RunContext
from tinyworlds_gate.stages.controller import FAIL, NOT_RUN, PASS, StageController, StageResult
from tinyworlds_gate.stages.retune import plan_inference_retry, should_retrain
from tinyworlds_gate.stages.standing import Standing


@dataclass(frozen=True)
class RetrainAnswer:
    """Whether dynamics may be retrained after a failed gate, and why or why not."""

    allowed: bool
    reason: str


class ClosedLoop:
    """One run over one target project. Create it with a started context, then call :meth:`prepare`.

    A resumed run brings what its journal says (``so_far``): what is done is taken from there, the rest is done.
    """

    def __init__(self, context: RunContext, stamp: str, so_far: RunSoFar | None = None) -> None:
        self.context, self.stamp = context, stamp
        self.so_far = so_far or RunSoFar()
        self.config_checks: list[Check] = []
        self.problem: str | None = None
        self.stopped = False
        """Whether the machine, not the model, ended the run (a full disk); it can be resumed."""
        self.attempts: list[InferenceAttempt] = []
        self.ended_before: list[Any] = []
        self._stages: dict[str, StageResult] = {}
        self._given: dict[str, StageResult] = {}
        self._prepared = False
        self._analysed = False
        self._retries = 0
        self._pending: Retraining | None = None
        self._attempts_restored = False
        self._inference_problem: str | None = None
        self._retrain_problem: str | None = None
        self._lock = ProjectLock(context.layout.project_root, run=context.layout.run)

    # L1-L4 and the configs: nothing trains before all of this holds.

    def prepare(self) -> str | None:
        """Take the project's lock, end stale training, check configs and checkpoints, make the data ready.

        Returns:
            The sentence that says why nothing can be trained, or None. It is also kept in ``problem``.
        """
        if not self._prepared:
            self._prepared = True
            try:
                self._lock.acquire()
                if (dead := self._lock.taken_over) is not None:
                    self.context.say(f"took over the lock of a run that died: {dead.told()}")
                self._end_stale("before")
                self._check_configs()
                self._check_given_checkpoints()
                audit_history(self.context)
                prepare_data(self.context)
                self._check_same_data()
            except GateError as error:
                self.problem = str(error)
                self.context.say(f"stopped before any training: {error}")
        return self.problem

    def _end_stale(self, when: str) -> None:
        """L1: training processes of this project that an earlier run or a person left behind."""
        if not self.context.settings.options.cleanup_extra_processes:
            self.context.journal.append(
                "stale_processes", ended=[], when=when, skipped="--cleanup-extra-processes false"
            )
            return
        self.ended_before = end_stale(self.context.target)
        self.context.journal.append(
            "stale_processes", ended=[record.as_record() for record in self.ended_before], when=when
        )
        for record in self.ended_before:
            self.context.say(f"ended a stale training process: PID {record.pid}, {record.outcome}")
        require_ended(self.ended_before)

    def _check_configs(self) -> None:
        self.config_checks = check_alignment(self.context.settings.config_dir)
        self.context.journal.append("config_checked", checks=[vars(check) for check in self.config_checks])
        failed = [f"{check.id}: {check.reason}" for check in self.config_checks if check.verdict != PASS]
        if failed:
            raise ConfigError(" ".join(failed))

    def _check_given_checkpoints(self) -> None:
        """A checkpoint that a person named must be whole and of the configured sizes before anything starts (C4)."""
        from tinyworlds_gate.checkpoints.describe import describe_checkpoint, same_size

        settings = self.context.settings
        for stage in STAGES:
            given = settings.checkpoint_given(stage)
            if given is None:
                continue
            reference = resolve_checkpoint(given, stage, require_optimizer=stage in settings.trained_stages)
            for name, value in describe_checkpoint(reference).known().items():
                wanted = getattr(settings.training, name)
                if name in SHARED_KEYS and not same_size(name, value, wanted):
                    raise CheckpointError(
                        f"--{stage.split('_')[0]}-checkpoint {reference.path}: {name} is {value} in the checkpoint, "
                        f"but {wanted} in {settings.provenance[f'training.{name}']}; give a checkpoint of this "
                        f"configuration, or set {name}: {value}"
                    )
            self._given[stage] = StageResult(
                stage,
                NOT_RUN,
                f"not trained: the checkpoint {reference.path.name} was given",
                reference.step + 1,
                reference,
            )

    def _check_same_data(self) -> None:
        """A resumed run goes on with the frames that it was started on."""
        before, now = self.so_far.dataset, last_event(self.context.journal.events(), "dataset_ready")
        if before is not None and now is not None and before["sha256"] != now["sha256"]:
            raise DataError(
                f"{now['path']} has SHA-256 {now['sha256'][:12]}…, the run was started on {before['sha256'][:12]}…: "
                "the dataset was changed since. Put the old file back, or start a new run"
            )

    # L5: the three stages in order.

    def stage(self, stage: str) -> StageResult:
        """The result of a stage; trains it, and the stages before it, when that has not happened yet."""
        if stage not in self._stages:
            for earlier in STAGES[: STAGES.index(stage)]:
                self.stage(earlier)
            try:
                self._stages[stage] = self._train_or_take(stage)
            except GateError as error:
                # The machine stops the run, not the model: nothing is journalled as finished, so it can be resumed.
                self.context.say(f"{stage}: stopped: {error}")
                self.stopped = True
                self._stages[stage] = StageResult(stage, FAIL, f"stopped: {error}", 0, None)
            except BaseException as fault:
                # pytest's timeout, or a defect of ours: the tests after this one must not train it again.
                self._stages[stage] = StageResult(stage, FAIL, f"broken off: {str(fault) or repr(fault)}", 0, None)
                raise
        return self._stages[stage]

    def _train_or_take(self, stage: str) -> StageResult:
        settings = self.context.settings
        if self.prepare() is not None:
            return StageResult(stage, NOT_RUN, "not trained: the preparation failed", 0, None)
        given = self._given.get(stage)
        if stage not in settings.trained_stages:
            if given is not None:
                return given
            flag = f"--{stage.split('_')[0]}-checkpoint"
            return StageResult(
                stage,
                NOT_RUN,
                f"not trained (--train-stage {settings.options.train_stage}) and no {flag} given",
                0,
                None,
            )
        unusable = [r for e in STAGES[: STAGES.index(stage)] if not (r := self.stage(e)).usable]
        if unusable and (stage == "dynamics" or settings.options.train_stage == "all"):
            return StageResult(stage, NOT_RUN, f"not trained: {unusable[0].stage} has no usable result", 0, None)
        if stage == "dynamics" and self.so_far.retrainings:
            return self._retrained_before(self.so_far.retrainings)
        controller = StageController(self.context, stage, self._inputs(), given.checkpoint if given else None)
        return controller.train(settings.plan(stage).target_updates, so_far=self.so_far.training(stage))

    def _retrained_before(self, retrainings: Sequence[Retraining]) -> StageResult:
        """A resumed run whose dynamics was retrained: its newest result; a retraining that was cut short is pending."""
        self._retries = len(retrainings)
        *earlier, last = retrainings
        if last.finished is not None:
            result = self._train_retry(last)
            if result.verdict == FAIL:
                self._retrain_problem = f"retry {self._retries} did not complete its training: {result.reason}"
            return result
        self._pending = last
        stands = earlier[-1].finished if earlier else last_event(self.so_far.training("dynamics"), "stage_finished")
        assert stands is not None  # a retraining follows an attempt, and an attempt a finished stage
        standing = Standing(self.context, "dynamics", self._inputs(), None)
        reference = standing.resolve_or_older(stands["checkpoint"])
        return StageResult("dynamics", stands["verdict"], stands["reason"], stands["updates"], reference)

    def _inputs(self) -> dict[str, CheckpointRef]:
        """The checkpoints that stand now, by stage."""
        return {
            stage: result.checkpoint
            for stage in STAGES
            if (result := self._stages.get(stage)) is not None and result.checkpoint is not None
        }

    def checkpoint_findings(self) -> list[tuple[str, bool, str]]:
        """C4: whether the three checkpoints agree with the configs and with each other."""
        inputs = self._inputs()
        expected = {key: getattr(self.context.settings.training, key) for key in SHARED_KEYS}
        return check_agreement(inputs["video_tokenizer"], inputs["latent_actions"], inputs["dynamics"], expected)

    # L6-L8: inference, its gate, and dynamics again when it fails.

    def inference(self) -> InferenceAttempt | str:
        """The newest attempt at the inference gate, made on the checkpoints that stand now; or why there is none."""
        self._restore_attempts()
        if self._inference_problem is not None:
            return self._inference_problem
        if not self.attempts:
            self.stage("dynamics")
            missing = [stage for stage in STAGES if stage not in self._inputs()]
            if missing:
                return f"inference needs the checkpoints of all stages; {missing[0]} has none"
            failed = [stage for stage in STAGES if self._stages[stage].verdict == FAIL]
            if failed:
                return f"inference was not run: {failed[0]} failed"
            self._attempt()
        return self._inference_problem or self.attempts[-1]

    def _restore_attempts(self) -> None:
        """A resumed run: the attempts that were judged; another one where dynamics was trained on since the last."""
        if self._attempts_restored:
            return
        self._attempts_restored = True
        judged = self.so_far.attempts
        if not judged or self.prepare() is not None or not self.stage("dynamics").usable:
            return
        self.attempts = [restored_attempt(self.context, one.finished, one.verdict) for one in judged]
        used = {stage: one.model_sha256 for stage, one in self.attempts[-1].checkpoints.items()}
        stands = {stage: one.model_sha256 for stage, one in self._inputs().items()}
        if used != stands and self._pending is None and self._retrain_problem is None:
            self._attempt()

    def _attempt(self) -> None:
        try:
            attempt = run_attempt(self.context, len(self.attempts) + 1, self._inputs())
        except GateError as error:
            self.stopped = True
            self._inference_problem = f"inference was stopped: {error}"
            self.context.say(self._inference_problem)
            return
        self.attempts.append(attempt)
        self.context.say(f"inference gate, attempt {attempt.number}: {attempt.verdict.sentence}")

    def may_retrain(self) -> RetrainAnswer:
        """T5 and T7: whether a failed gate may be answered by training dynamics on."""
        settings = self.context.settings
        if not self.attempts:
            return RetrainAnswer(False, "no inference attempt was made")
        if "dynamics" not in settings.trained_stages:
            return RetrainAnswer(False, f"--train-stage {settings.options.train_stage} trains no dynamics")
        if self._retrain_problem is not None:
            return RetrainAnswer(False, self._retrain_problem)
        if self._inference_problem is not None:
            return RetrainAnswer(False, self._inference_problem)
        if self._pending is not None:
            return RetrainAnswer(True, f"retry {self._retries} was interrupted and goes on")
        measures = self.attempts[-1].measures
        decision = should_retrain(
            measures.tokenizer_recon_mse if measures else None, settings.profile.thresholds.max_mse
        )
        if not decision:
            return RetrainAnswer(False, decision.reason)
        if plan_inference_retry(self._retries, 0, 1, settings.profile.retry) is None:
            return RetrainAnswer(
                False, f"the budget of {settings.profile.retry.max} retries is spent (--max-inference-retries)"
            )
        return RetrainAnswer(True, decision.reason)

    def retrain_dynamics(self) -> InferenceAttempt | None:
        """T5: continue dynamics from its newest valid checkpoint, then try the gate again on the new one.

        A retry that was interrupted goes on where it stopped.

        Returns:
            The new attempt, or None when the retraining itself failed.
        """
        retraining, self._pending = self._pending or self._plan_retraining(), None
        if retraining is None:
            return None
        try:
            result = self._train_retry(retraining)
        except GateError as error:
            self.stopped = True
            self._retrain_problem = f"retry {self._retries} was stopped: {error}"
            return None
        self._stages["dynamics"] = result
        if result.verdict == FAIL:
            self._retrain_problem = f"retry {self._retries} did not complete its training: {result.reason}"
            return None
        self._attempt()
        return None if self._inference_problem is not None else self.attempts[-1]

    def _plan_retraining(self) -> Retraining | None:
        """The next retry by T5, journalled and set; None when the budget is spent or there is nothing to continue."""
        context, before = self.context, self.stage("dynamics")
        if before.checkpoint is None:
            return None
        start = before.checkpoint.step + 1
        plan = plan_inference_retry(self._retries, start, start, context.settings.profile.retry)
        if plan is None:
            return None
        self._retries += 1
        event = context.journal.append(
            "dynamics_retrain",
            retry=plan.retry,
            learning_rate=plan.learning_rate,
            from_update=plan.from_update,
            to_update=plan.to_update,
            reason=self.attempts[-1].verdict.sentence,
        )
        context.say(
            f"retraining dynamics, retry {plan.retry + 1}: updates {plan.from_update} to {plan.to_update} at "
            f"learning rate {plan.learning_rate:g}"
        )
        context.settings = with_retraining(context.settings, event)
        return Retraining(event)

    def _train_retry(self, retraining: Retraining) -> StageResult:
        """Train what a retry planned, or what is left of it."""
        plan: Event = retraining.plan
        before = self._stages.get("dynamics")
        controller = StageController(
            self.context, "dynamics", self._inputs(), before.checkpoint if before is not None else None
        )
        return controller.train(
            plan["to_update"],
            reason=f"inference retry {plan['retry']}",
            chunk=plan["to_update"] - plan["from_update"],
            schedule_start=plan["from_update"],
            so_far=retraining.events,
        )

    @property
    def retrain_problem(self) -> str | None:
        """Why the newest retraining led to no attempt; None when it did, or when there was none."""
        return self._retrain_problem

    # L9.

    def analyse(self) -> None:
        """Analyse the stages' metrics once, after the last training."""
        if not self._analysed:
            self._analysed = True
            trained = [stage for stage, result in self.results.items() if result.verdict != NOT_RUN]
            analyse_metrics(self.context, self.stamp, trained)

    # The end.

    @property
    def degraded(self) -> bool:
        """H8: whether a stage had to fall to one clip per GPU."""
        return any(result.verdict == "DEGRADED" for result in self._stages.values())

    @property
    def results(self) -> Mapping[str, StageResult]:
        """The results of the stages that were asked for so far."""
        return {stage: self._stages[stage] for stage in STAGES if stage in self._stages}

    def stages_failed(self) -> Sequence[StageResult]:
        """Stages that were trained and did not pass."""
        return [result for result in self.results.values() if result.verdict == FAIL]

    def close(self) -> None:
        """Release the project for the next run; nothing of this one is running."""
        self._lock.release()
        self.context.journal.close()
