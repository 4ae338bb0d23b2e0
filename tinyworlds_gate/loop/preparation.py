"""Before anything trains: the lock, stale processes, configs, given checkpoints, git audit, frames (L1–L4)."""

from __future__ import annotations

from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.config.alignment import Check, check_alignment
from tinyworlds_gate.config.schema import SHARED_KEYS
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import CheckpointError, ConfigError, DataError, GateError, TooFewClipsError
from tinyworlds_gate.launch.processes.end import end_stale, require_ended
from tinyworlds_gate.loop.checkout import require_ready
from tinyworlds_gate.loop.checkout_data import prepare_checkout_data
from tinyworlds_gate.loop.data import prepare_data, require_untrained
from tinyworlds_gate.loop.evidence import audit_history
from tinyworlds_gate.loop.resume import RunSoFar
from tinyworlds_gate.names import NOT_RUN, PASS, STAGES
from tinyworlds_gate.run.disk import telling_full_disk
from tinyworlds_gate.run.journal import last_event
from tinyworlds_gate.run.lock import ProjectLock
from tinyworlds_gate.stages.controller import StageResult


class Preparation:
    """What must hold before the first launch, checked once."""

    def __init__(self, context: RunContext, so_far: RunSoFar) -> None:
        self.context, self.so_far = context, so_far
        self.config_checks: list[Check] = []
        self.given: dict[str, StageResult] = {}
        """The checkpoints that a person named, as results of their stages."""
        self.problem: str | None = None
        self.problem_is_missing_evidence = False
        self._done = False
        self._lock = ProjectLock(context.layout.project_root, run=context.layout.run)

    def ensure(self) -> str | None:
        """Do it at the first call; the sentence that says why nothing can be trained, or None."""
        if not self._done:
            self._done = True
            try:
                with telling_full_disk():
                    self._prepare()
            except GateError as error:
                self.problem = str(error)
                self.problem_is_missing_evidence = isinstance(error, TooFewClipsError)
                self.context.say(f"stopped before any training: {error}")
        return self.problem

    def _prepare(self) -> None:
        self._lock.acquire()
        if (dead := self._lock.taken_over) is not None:
            self.context.say(f"took over the lock of a run that died: {dead.told()}")
        self._end_stale("before")
        self._check_configs()
        if self.context.checkout is not None:
            require_ready(self.context)
        self._check_given_checkpoints()
        audit_history(self.context)
        if self.context.checkout is None:
            prepare_data(self.context)
        else:
            prepare_checkout_data(self.context, self.context.checkout)
        self._check_same_data()
        require_untrained(self.given, last_event(self.context.journal.events(), "dataset_ready"))

    def release(self) -> None:
        """Give the project back to the next run."""
        self._lock.release()

    def _end_stale(self, when: str) -> None:
        """L1: training processes of this project that an earlier run or a person left behind."""
        if not self.context.settings.options.cleanup_extra_processes:
            self.context.journal.append(
                "stale_processes", ended=[], when=when, skipped="--cleanup-extra-processes false"
            )
            return
        ended = end_stale(self.context.target)
        self.context.journal.append("stale_processes", ended=[record.as_record() for record in ended], when=when)
        for record in ended:
            self.context.say(f"ended a stale training process: PID {record.pid}, {record.outcome}")
        require_ended(ended)

    def _check_configs(self) -> None:
        self.config_checks = check_alignment(self.context.settings.config_dir)
        self.context.journal.append("config_checked", checks=[vars(check) for check in self.config_checks])
        failed = [f"{check.id}: {check.reason}" for check in self.config_checks if check.verdict != PASS]
        if failed:
            raise ConfigError(" ".join(failed))

    def _check_given_checkpoints(self) -> None:
        """A checkpoint that a person named must be whole and of the configured sizes before anything starts (C4)."""
        from tinyworlds_gate.checkpoints.describe import describe_checkpoint, same_size, why_unreadable

        settings = self.context.settings
        for stage in STAGES:
            given = settings.checkpoint_given(stage)
            if given is None:
                continue
            reference = resolve_checkpoint(given, stage, require_optimizer=stage in settings.trained_stages)
            readable = self.context.checkout is None or why_unreadable({stage: reference}) is None
            for name, value in describe_checkpoint(reference).known().items() if readable else ():
                wanted = getattr(settings.training, name)
                if name in SHARED_KEYS and not same_size(name, value, wanted):
                    raise CheckpointError(
                        f"--{stage.split('_')[0]}-checkpoint {reference.path}: {name} is {value} in the checkpoint, "
                        f"but {wanted} in {settings.provenance[f'training.{name}']}; give a checkpoint of this "
                        f"configuration, or set {name}: {value}"
                    )
            self.given[stage] = StageResult(
                stage,
                NOT_RUN,
                f"not trained: the checkpoint {reference.path.name} was given",
                reference.step + 1,
                reference,
            )

    def _check_same_data(self) -> None:
        """A resumed run goes on with the frames, and with the evaluation set, that it was started on."""
        before, now = self.so_far.dataset, last_event(self.context.journal.events(), "dataset_ready")
        if before is None or now is None:
            return
        if before.get("training_sha256") != now.get("training_sha256"):
            raise DataError(
                f"{now['training_path']} is not the file that the run was started on: the checkout's frames were "
                "changed since. Put the old file back, or start a new run"
            )
        files = {"the dataset": (before, now)}
        if before.get("evaluation") and now.get("evaluation"):
            files["the evaluation set"] = (before["evaluation"], now["evaluation"])
        for what, (was, found) in files.items():
            if was["sha256"] != found["sha256"]:
                raise DataError(
                    f"{found['path']} has SHA-256 {found['sha256'][:12]}…, the run was started on "
                    f"{was['sha256'][:12]}…: {what} was changed since. Put the old file back, or start a new run"
                )
