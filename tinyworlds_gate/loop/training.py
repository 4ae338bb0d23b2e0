"""The three stages in order, trained or taken from a checkpoint; dynamics again after a failed gate (L5, T5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.loop.preparation import Preparation
from tinyworlds_gate.loop.resume import Retraining, RunSoFar
from tinyworlds_gate.loop.stage_controller import StageController, StageResult, stage_checkpoints
from tinyworlds_gate.names import FAIL, NOT_RUN, STAGES
from tinyworlds_gate.run.disk import reporting_full_disk
from tinyworlds_gate.run.journal import last_event


class StageTraining:
    """The results of the stages; each is made once, and dynamics' is replaced by a retraining."""

    def __init__(self, context: RunContext, preparation: Preparation, so_far: RunSoFar) -> None:
        self.context, self.preparation, self.so_far = context, preparation, so_far
        self.stopped: str | None = None
        """Why the machine, not the model, ended the run (for example a full disk); it can be resumed."""
        self._results: dict[str, StageResult] = {}

    @property
    def results(self) -> Mapping[str, StageResult]:
        """The results of the stages so far."""
        return {stage: self._results[stage] for stage in STAGES if stage in self._results}

    @property
    def checkpoints(self) -> dict[str, CheckpointRef]:
        """The current checkpoints, by stage."""
        return {stage: one.checkpoint for stage, one in self.results.items() if one.checkpoint is not None}

    def stage(self, stage: str) -> StageResult:
        """The result of a stage; trains it, and the stages before it, when that has not happened yet."""
        if stage not in self._results:
            for earlier in STAGES[: STAGES.index(stage)]:
                self.stage(earlier)
            try:
                self._results[stage] = self._train_or_take(stage)
            except GateError as error:
                # The machine stops the run, not the model: nothing is journalled as finished, so it can be resumed.
                self.context.say(f"{stage}: stopped: {error}")
                self.stopped = str(error)
                self._results[stage] = StageResult(stage, FAIL, f"stopped: {error}", 0, None)
            except BaseException as fault:
                # pytest's timeout, or a defect of the harness: later tests must not train it again.
                self._results[stage] = StageResult(stage, FAIL, f"broken off: {str(fault) or repr(fault)}", 0, None)
                raise
        return self._results[stage]

    def retrain(self, retraining: Retraining) -> StageResult:
        """Train what a retry planned, or the rest of it; its result replaces the one of dynamics.

        Raises:
            GateError: the machine stops the run.
        """
        try:
            self._results["dynamics"] = self._train_retry(retraining)
        except GateError as error:
            self.stopped = str(error)
            raise
        return self._results["dynamics"]

    @reporting_full_disk()
    def _train_or_take(self, stage: str) -> StageResult:
        settings = self.context.settings
        if self.preparation.ensure() is not None:
            return StageResult(stage, NOT_RUN, "not trained: the preparation failed", 0, None)
        given = self.preparation.supplied.get(stage)
        if stage not in settings.trained_stages:
            if given is not None:
                return given
            flag = f"--{stage.split('_')[0]}-checkpoint"
            reason = f"not trained (--train-stage {settings.options.train_stage}) and no {flag} given"
            return StageResult(stage, NOT_RUN, reason, 0, None)
        unusable = [r for e in STAGES[: STAGES.index(stage)] if not (r := self.stage(e)).usable]
        if unusable and (stage == "dynamics" or settings.options.train_stage == "all"):
            return StageResult(stage, NOT_RUN, f"not trained: {unusable[0].stage} has no usable result", 0, None)
        if stage == "dynamics" and self.so_far.retrainings:
            return self._retrained_before(self.so_far.retrainings)
        controller = StageController(self.context, stage, self.checkpoints, given.checkpoint if given else None)
        return controller.train(settings.plan(stage).target_updates, so_far=self.so_far.training(stage))

    def _retrained_before(self, retrainings: Sequence[Retraining]) -> StageResult:
        """A resumed run that retrained dynamics: the newest result, or the one before a retraining that was cut."""
        *earlier, last = retrainings
        if last.finished is not None:
            return self._train_retry(last)
        before = earlier[-1].finished if earlier else last_event(self.so_far.training("dynamics"), "stage_finished")
        assert before is not None  # a retraining follows an attempt, and an attempt a finished stage
        checkpoints = stage_checkpoints(self.context, "dynamics", self.checkpoints, None)
        reference = checkpoints.resolve_or_older(before["checkpoint"])
        return StageResult("dynamics", before["verdict"], before["reason"], before["updates"], reference)

    @reporting_full_disk()
    def _train_retry(self, retraining: Retraining) -> StageResult:
        plan, before = retraining.plan, self._results.get("dynamics")
        resumes = self.context.target.resumes("dynamics")
        start = before.checkpoint if before is not None and resumes else None
        # A target that cannot resume trains dynamics anew, to the new target.
        begin = plan["from_update"] if resumes else 0
        return StageController(self.context, "dynamics", self.checkpoints, start).train(
            plan["to_update"],
            reason=f"inference retry {plan['retry']}",
            chunk=plan["to_update"] - begin,
            schedule_start=begin,
            so_far=retraining.events,
        )
