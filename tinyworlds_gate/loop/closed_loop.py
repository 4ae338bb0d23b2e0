"""The closed loop: from stopping stale training to a verdict with evidence. Reads like the table L1 to L10.

The fixtures of `validation/` request the steps: a stage trains the stages before it first, inference trains all. Each
step runs once, and writes its events to the run's journal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinyworlds_gate.config.alignment import Check
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.gate.attempt_record import InferenceAttempt
from tinyworlds_gate.loop.baseline import compare_with_baseline
from tinyworlds_gate.loop.beyond_the_gate import measure_beyond_the_gate
from tinyworlds_gate.loop.evidence import analyse_metrics
from tinyworlds_gate.loop.inference_gate import InferenceGate
from tinyworlds_gate.loop.preparation import Preparation
from tinyworlds_gate.loop.resume import RunSoFar
from tinyworlds_gate.loop.stage_controller import StageResult
from tinyworlds_gate.loop.training import StageTraining
from tinyworlds_gate.names import DEGRADED, FAIL, INVALID, NOT_RUN
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.stages.retune import RetrainDecision


class ClosedLoop:
    """One run over one target project. Create it with a started context, then call :meth:`prepare`.

    A resumed run passes the events of its journal (``so_far``); steps that are done are taken from there.
    """

    def __init__(self, context: RunContext, stamp: str, so_far: RunSoFar | None = None) -> None:
        self.context, self.stamp = context, stamp
        so_far = so_far or RunSoFar()
        self._preparation = Preparation(context, so_far)
        self._training = StageTraining(context, self._preparation, so_far)
        self._gate = InferenceGate(context, self._training, so_far)
        self._analysed = False
        self.compared: Event | None = None
        """The event `baseline_compared`; None before it, and without `--baseline`."""

    # L1-L4 and the configs: nothing trains before all of this holds.

    def prepare(self) -> str | None:
        """Take the project's lock, end stale training, check configs and checkpoints, make the data ready.

        Returns:
            The sentence that says why nothing can be trained, or None. It is also kept in ``problem``.
        """
        return self._preparation.ensure()

    @property
    def problem(self) -> str | None:
        """Why nothing can be trained; None when the preparation succeeded, or has not been done yet."""
        return self._preparation.problem

    @property
    def problem_is_missing_evidence(self) -> bool:
        """Whether the problem is that a verdict could not be taken for lack of clips: INVALID, not FAIL."""
        return self._preparation.problem_is_missing_evidence

    @property
    def config_checks(self) -> Sequence[Check]:
        """C1 to C3 as they were found."""
        return self._preparation.config_checks

    # L5: the three stages in order.

    def stage(self, stage: str) -> StageResult:
        """The result of a stage; trains it, and the stages before it, when that has not happened yet."""
        return self._training.stage(stage)

    @property
    def results(self) -> Mapping[str, StageResult]:
        """The results of the stages so far."""
        return self._training.results

    # L6-L8: inference, its gate, and dynamics again when it fails.

    def inference(self) -> InferenceAttempt | str:
        """The newest attempt at the inference gate, made on the current checkpoints; or why there is none."""
        return self._gate.newest()

    def compare_with_baseline(self) -> None:
        """Compare the newest attempt with the file of `--baseline`, once; nothing without that option (G9)."""
        if self.attempts:
            self.compared = compare_with_baseline(self.context, self.attempts[-1])

    @property
    def attempts(self) -> Sequence[InferenceAttempt]:
        """All attempts so far, in order; after retraining the final verdict is the last of them."""
        return self._gate.attempts

    def may_retrain(self) -> RetrainDecision:
        """T5 and T7: whether dynamics may be trained further after a failed gate."""
        return self._gate.may_retrain()

    def retrain_dynamics(self) -> InferenceAttempt | None:
        """T5: train dynamics on, then try the gate again; None when the retraining itself failed."""
        return self._gate.retrain()

    @property
    def retrain_problem(self) -> str | None:
        """Why the newest retraining led to no attempt; None when it did, or when there was none."""
        return self._gate.retrain_problem

    @property
    def final_problem(self) -> str | None:
        """Why the current PASS is not final: its final verdict was not taken; None otherwise."""
        return self._gate.final_problem

    # L9.

    def analyse(self) -> None:
        """Analyse the stages' metrics once, after the last training."""
        if not self._analysed:
            self._analysed = True
            trained = [stage for stage, result in self.results.items() if result.verdict != NOT_RUN]
            analyse_metrics(self.context, self.stamp, trained)

    def measure_beyond_the_gate(self) -> None:
        """Take the long rollouts and rank the policies that the profile asks for, of the weights judged last."""
        if self.attempts and self.stopped is None:
            measure_beyond_the_gate(self.context, self._training.checkpoints)

    # The end.

    @property
    def stopped(self) -> str | None:
        """Why the machine, not the model, ended the run (a full disk); it can be resumed. None when it did not."""
        return self._training.stopped or self._gate.stopped

    @property
    def degraded(self) -> bool:
        """H8: whether a stage had to fall to one clip per GPU."""
        return any(result.verdict == DEGRADED for result in self.results.values())

    def stages_failed(self) -> Sequence[StageResult]:
        """Stages that were trained and did not pass."""
        return [result for result in self.results.values() if result.verdict in (FAIL, INVALID)]

    def close(self) -> None:
        """Release the project for the next run; nothing of this one is running."""
        if self.context.nodes is not None:
            self.context.nodes.close()
        self._preparation.release()
        self.context.journal.close()
