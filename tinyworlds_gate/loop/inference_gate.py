"""The attempts at the inference gate, and the retraining of dynamics after a failed one (L6–L8, T5, T7).

Retraining until a pass makes a lucky pass likelier with every retry. A run that retried therefore takes its final
verdict on a second draw of held-out clips, in episodes that no attempt has measured. A run that names a fixed
evaluation set takes its final verdict there instead, whether it retried or not.
"""

from __future__ import annotations

from functools import partial

from tinyworlds_gate.checkpoints.agreement import check_agreement
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import CheckpointError, GateError
from tinyworlds_gate.gate.attempt import run_attempt
from tinyworlds_gate.gate.attempt_record import InferenceAttempt, attempt_from_journal, changed_since_attempt
from tinyworlds_gate.gate.checkout_attempt import why_not_computable
from tinyworlds_gate.gate.checkout_gate import unmendable_by_training
from tinyworlds_gate.gate.clip_plan import training_frames
from tinyworlds_gate.gate.inference_job import InferenceJob
from tinyworlds_gate.loop.attempt_again import look_again
from tinyworlds_gate.loop.resume import Retraining, RunSoFar, with_retraining
from tinyworlds_gate.loop.run_inputs import check_inputs
from tinyworlds_gate.loop.training import StageTraining
from tinyworlds_gate.names import ATTEMPTS, EVALUATION, FAIL, INVALID, PASS, SHARED_KEYS, STAGES
from tinyworlds_gate.reports.model import build_record
from tinyworlds_gate.reports.verdict_picture.draw import draw_verdicts
from tinyworlds_gate.run.attempts import final_draw
from tinyworlds_gate.run.source_state import source_state
from tinyworlds_gate.stages.retune import RetrainDecision, plan_inference_retry, should_retrain


class InferenceGate:
    """Attempts on the current checkpoints, and retries until one passes or the budget is spent."""

    def __init__(self, context: RunContext, training: StageTraining, so_far: RunSoFar) -> None:
        self.context, self.training, self.so_far = context, training, so_far
        self.attempts: list[InferenceAttempt] = []
        self.stopped: str | None = None
        """Why the machine, not the model, ended the run; it can be resumed."""
        self.retrain_problem: str | None = None
        """Why the newest retraining led to no attempt; None when it did, or when there was none."""
        self._restored = False
        self._pending: Retraining | None = None
        self._retries = len(so_far.retrainings)

    def newest(self) -> InferenceAttempt | str:
        """The newest attempt on the current checkpoints, the final one after retraining; or why there is none."""
        self._restore()
        if self.stopped is not None:
            return f"inference was stopped: {self.stopped}"
        if not self.attempts:
            self.training.stage("dynamics")
            missing = [stage for stage in STAGES if stage not in self.training.checkpoints]
            if missing:
                return f"inference needs the checkpoints of all stages; {missing[0]} has none"
            failed = [stage for stage, result in self.training.results.items() if result.verdict in (FAIL, INVALID)]
            if failed:
                ended = "failed" if self.training.results[failed[0]].verdict == FAIL else "has no proof of its devices"
                return f"inference was not run: {failed[0]} {ended}"
            self._attempt()
        return self.attempts[-1] if self.stopped is None else f"inference was stopped: {self.stopped}"

    @property
    def final_problem(self) -> str | None:
        """Why the current PASS is not final; None when it is, or when nothing passed."""
        if not self._final_is_due():
            return None
        why = f": {self.stopped}" if self.stopped is not None else ""
        where = " on the evaluation set" if self._final_draw == EVALUATION else ""
        after = " after retraining" if self._retries else ""
        return f"{self.attempts[-1].name} passed{after}, but the final verdict{where} was not taken{why}"

    def may_retrain(self) -> RetrainDecision:
        """T5 and T7: whether dynamics may be trained further after a failed gate."""
        settings = self.context.settings
        if not self.attempts:
            return RetrainDecision(False, "no inference attempt was made")
        if "dynamics" not in settings.trained_stages:
            return RetrainDecision(False, f"--train-stage {settings.options.train_stage} trains no dynamics")
        if (problem := self.retrain_problem or self.stopped) is not None:
            return RetrainDecision(False, problem)
        if any(one.id == "G5.trusted" for one in self.attempts[-1].verdict.conditions):
            return RetrainDecision(False, "the trusted gate is NOT-RUN, so that no retraining can make this run pass")
        if (broken := unmendable_by_training(self.attempts[-1].verdict.conditions)) is not None:
            return RetrainDecision(False, f"no retraining can mend it: {broken}")
        if any(attempt.is_final for attempt in self.attempts):
            return RetrainDecision(
                False,
                "the final verdict was taken; its clips have been seen now, so none are left to judge a further retry",
            )
        if self._pending is not None:
            return RetrainDecision(True, f"retry {self._retries} was interrupted and goes on")
        measures = self.attempts[-1].measures
        decision = should_retrain(
            measures.tokenizer_recon_mse if measures else None, settings.profile.thresholds.max_mse
        )
        if not decision.allowed:
            return decision
        if plan_inference_retry(self._retries, 0, 1, settings.profile.retry) is None:
            return RetrainDecision(
                False, f"the budget of {settings.profile.retry.max} retries is spent (--max-inference-retries)"
            )
        return decision

    def retrain(self) -> InferenceAttempt | None:
        """T5: continue dynamics from its newest valid checkpoint, then try the gate again on the new one.

        A retry that was interrupted goes on where it stopped.

        Returns:
            The new attempt, the final one where it passed; None when the retraining itself failed.
        """
        retraining, self._pending = self._pending or self._plan(), None
        if retraining is None:
            return None
        try:
            result = self.training.retrain(retraining)
        except GateError as error:
            self.retrain_problem = f"retry {self._retries} was stopped: {error}"
            return None
        if result.verdict in (FAIL, INVALID):
            self._note_failed_retry(result.reason)
            return None
        self._attempt()
        return self.attempts[-1] if self.stopped is None else None

    def _plan(self) -> Retraining | None:
        """The next retry by T5, journalled and set; None when the budget is spent or there is nothing to continue."""
        context, before = self.context, self.training.stage("dynamics")
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

    def _note_failed_retry(self, reason: str) -> None:
        self.retrain_problem = f"retry {self._retries} did not complete its training: {reason}"

    def _restore(self) -> None:
        """A resumed run: take its attempts and a pending retry from the journal, and judge what was not judged."""
        if self._restored:
            return
        self._restored = True
        judged, retrainings = self.so_far.attempts, self.so_far.retrainings
        if not judged or self.training.preparation.ensure() is not None:
            return
        dynamics = self.training.stage("dynamics")
        if retrainings and retrainings[-1].finished is None:
            self._pending = retrainings[-1]
        elif retrainings and dynamics.verdict in (FAIL, INVALID):
            self._note_failed_retry(dynamics.reason)
        if dynamics.checkpoint is None:
            return
        root, clips = self.context.layout.project_root, self.context.clips
        training = training_frames(self.context.settings, clips.path, trained=self.context.checkout is None)
        self.attempts = [attempt_from_journal(root, clips, one.finished, one.verdict, training) for one in judged]
        self._draw_verdicts()
        if self._pending is not None or self.retrain_problem is not None:
            return
        retrained_since = bool(retrainings) and retrainings[-1].plan["seq"] > judged[-1].verdict["seq"]
        if retrained_since or self._newest_expired():
            self._attempt()
        else:
            self._take_final()

    def _newest_expired(self) -> bool:
        """Whether something that the newest verdict depends on has changed; reported and journalled."""
        newest, source = self.attempts[-1], source_state(self.context.target.root)
        changes = changed_since_attempt(inference_job(self.context), newest, self.training.checkpoints, source)
        changes = changes or self._not_judged_again(newest)
        if not changes:
            return False
        sentence = f"the verdict of {newest.name} does not hold any more and is taken again: {'; '.join(changes)}"
        self.context.journal.append(
            "verdict_expired", attempt=newest.number, draw=newest.draw, changes=changes, sentence=sentence
        )
        self.context.say(sentence)
        return True

    def _not_judged_again(self, newest: InferenceAttempt) -> list[str]:
        """Why the files of a verdict do not confirm it."""
        context = self.context
        record = build_record(context.layout.project_root, context.layout.root, list(self.so_far.events))
        target = None if context.checkout is None else context.target
        attempt = next(one for one in record.attempts if (one.number, one.draw) == (newest.number, newest.draw))
        now = look_again(record, attempt, context.settings, target, context.custom)
        return [] if now is None else [*now.missing, *now.contradictions]

    def _attempt(self) -> None:
        """The next attempt on the current checkpoints and, where it passes and one is due, the final verdict."""
        self._take(max((one.number for one in self.attempts), default=0) + 1, ATTEMPTS)
        self._take_final()

    @property
    def _final_draw(self) -> int | None:
        """The draw of the final verdict; None where the last attempt is the run's verdict."""
        return final_draw(self.context.journal.events())

    def _final_is_due(self) -> bool:
        if not self.attempts or self._final_draw is None:
            return False
        return not self.attempts[-1].is_final and self.attempts[-1].verdict.verdict == PASS

    def _take_final(self) -> None:
        draw = self._final_draw
        if self.stopped is None and draw is not None and self._final_is_due():
            self._take(self.attempts[-1].number, draw)

    def _take(self, number: int, draw: int) -> None:
        source = source_state(self.context.target.root)
        try:
            job = inference_job(self.context)
            self._check_agreement(number, draw)
            with self.context.journal.in_place():
                attempt = run_attempt(job, number, self.training.checkpoints, draw=draw, source=source)
        except GateError as error:
            self.stopped = str(error)
            self.context.say(f"inference was stopped: {error}")
            return
        self.attempts.append(attempt)
        self.context.say(f"inference gate, {attempt.name}: {attempt.verdict.sentence}")
        self._draw_verdicts()

    def _check_agreement(self, number: int, draw: int) -> None:
        """C4: journal whether the three checkpoints agree with the configs and with each other."""
        checkpoints = self.training.checkpoints
        settings = self.context.settings
        expected = {key: getattr(settings.training, key) for key in SHARED_KEYS}
        unreadable = None if self.context.checkout is None else why_not_computable(checkpoints)
        video, latent, dynamics = (checkpoints[stage] for stage in STAGES)
        try:
            if unreadable is not None:
                raise CheckpointError(f"the sizes of the checkpoints cannot be read: {unreadable}")
            checked = check_agreement(video, latent, dynamics, expected, backbones=settings.backbones or None)
            found = [(holds, text) for _, holds, text in checked]
        except CheckpointError as error:
            found = [(False, str(error))]
        self.context.journal.append(
            "checkpoints_checked",
            attempt=number,
            draw=draw,
            checks=[{"id": "C4", "verdict": PASS if holds else FAIL, "reason": text} for holds, text in found],
            checkpoints={stage: reference.model_sha256 for stage, reference in checkpoints.items()},
        )

    def _draw_verdicts(self) -> None:
        context = self.context
        draw_verdicts(context.layout, context.journal, context.settings.profile.name, context.say)


def inference_job(context: RunContext) -> InferenceJob:
    """What the inference of a run needs, as the run is now."""
    checkout = context.checkout
    return InferenceJob(
        settings=context.settings,
        layout=context.layout,
        journal=context.journal,
        say=context.say,
        target=context.target,
        trusted_target=context.gate_target,
        on_cpu=context.on_cpu,
        clips=context.clips,
        check_inputs=partial(check_inputs, context),
        tree=None if checkout is None else checkout.tree,
        no_trusted_gate=None if checkout is None else checkout.no_trusted_gate,
        custom=context.custom,
    )
