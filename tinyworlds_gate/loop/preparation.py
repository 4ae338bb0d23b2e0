"""Before anything trains: the lock, stale processes, configs, supplied checkpoints, git audit, frames (L1–L4)."""

from __future__ import annotations

from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.config.alignment import Check, beside, check_folders
from tinyworlds_gate.config.run_copy import CHECKOUT_CONFIGS
from tinyworlds_gate.config.shipped import shipped_values
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import CheckpointError, ConfigError, DataError, GateError, TooFewClipsError
from tinyworlds_gate.launch.processes.end import end_stale, require_ended
from tinyworlds_gate.loop.baseline import require_common_clips
from tinyworlds_gate.loop.checkout import checkout_checks, require_ready
from tinyworlds_gate.loop.checkout_data import prepare_checkout_data
from tinyworlds_gate.loop.data import prepare_data, require_untrained
from tinyworlds_gate.loop.evidence import audit_history
from tinyworlds_gate.loop.resume import RunSoFar
from tinyworlds_gate.loop.stage_controller import StageResult
from tinyworlds_gate.names import DEGRADED, FAIL, NOT_RUN, STAGES
from tinyworlds_gate.run.disk import reporting_full_disk
from tinyworlds_gate.run.journal import last_event
from tinyworlds_gate.run.lock import ProjectLock


class Preparation:
    """What must hold before the first launch, checked once."""

    def __init__(self, context: RunContext, so_far: RunSoFar) -> None:
        self.context, self.so_far = context, so_far
        self.config_checks: list[Check] = []
        self.supplied: dict[str, StageResult] = {}
        """The checkpoints that the user supplied, as results of their stages."""
        self.problem: str | None = None
        self.problem_is_missing_evidence = False
        self._done = False
        self._lock = ProjectLock(context.layout.project_root, run=context.layout.run)

    def ensure(self) -> str | None:
        """Prepare the run at the first call; returns why nothing can be trained, or None."""
        if not self._done:
            self._done = True
            try:
                with reporting_full_disk():
                    self._prepare()
            except GateError as error:
                self.problem = str(error)
                self.problem_is_missing_evidence = isinstance(error, TooFewClipsError)
                self.context.say(f"stopped before any training: {error}")
        return self.problem

    def _prepare(self) -> None:
        self._lock.acquire()
        self.context.lock = self._lock
        if (dead := self._lock.taken_over) is not None:
            self.context.say(f"took over the lock of a run that died: {dead.describe()}")
        self._end_stale("before")
        self._check_configs()
        if self.context.checkout is not None:
            require_ready(self.context)
        self._check_supplied_checkpoints()
        audit_history(self.context)
        named = {stage: one.checkpoint for stage, one in self.supplied.items() if one.checkpoint is not None}
        if self.context.checkout is None:
            prepare_data(self.context, named)
        else:
            prepare_checkout_data(self.context, self.context.checkout, named)
        self._check_same_data()
        require_common_clips(self.context)
        require_untrained(self.supplied, last_event(self.context.journal.events(), "dataset_ready"))

    def release(self) -> None:
        """Release the project's lock."""
        self._lock.release()

    def _end_stale(self, when: str) -> None:
        """L1: end the training processes of this project that are left from before."""
        if not self.context.settings.options.cleanup_extra_processes:
            self.context.journal.append(
                "stale_processes", ended=[], when=when, skipped="--cleanup-extra-processes false"
            )
            return
        ended = end_stale(self.context.target)
        self.context.journal.append("stale_processes", ended=ended, when=when)
        for record in ended:
            self.context.say(f"ended a stale training process: PID {record.pid}, {record.outcome}")
        require_ended(ended)

    def _check_configs(self) -> None:
        """C1 to C3 on the run's copy and on configs/ of the project; the values of the shipped profiles (P3, P4)."""
        layout, used = self.context.layout, self.context.settings.config_dir
        checkout = self.context.checkout is not None
        # A problem of the copy is shown where a person edits the file that was copied.
        folders = {layout.configs / CHECKOUT_CONFIGS if checkout else layout.configs: used}
        if checkout:
            self.config_checks = checkout_checks(self.context.settings, self.context.target, next(iter(folders)))
        else:
            folders |= {configs: configs for configs in beside(used, layout.project_root)}
            self.config_checks = check_folders(folders)
        self.context.journal.append(
            "config_checked",
            checks=[vars(check) for check in self.config_checks],
            folders=[layout.relative(folder) for folder in folders],
            profiles=shipped_values(layout.project_root),
        )
        failed = [f"{check.id}: {check.reason}" for check in self.config_checks if check.verdict == FAIL]
        if failed:
            raise ConfigError(" ".join(failed))
        for check in self.config_checks:
            if check.verdict == DEGRADED:
                self.context.say(f"{check.id}: {check.verdict}: {check.reason}")

    def _check_supplied_checkpoints(self) -> None:
        """Check that the supplied checkpoints are whole and of the configured sizes, before anything starts (C4)."""
        from tinyworlds_gate.checkpoints.describe import describe_checkpoint, same_size, why_unreadable

        settings = self.context.settings
        for stage in STAGES:
            given = settings.checkpoint_option(stage)
            if given is None:
                continue
            reference = resolve_checkpoint(given, stage, require_optimizer=stage in settings.trained_stages)
            readable = self.context.checkout is None or why_unreadable({stage: reference}) is None
            for name, value in describe_checkpoint(reference).known().items() if readable else ():
                wanted = settings.sizes_of(stage).get(name)
                if wanted is not None and not same_size(name, value, wanted):
                    raise CheckpointError(
                        f"--{stage.split('_')[0]}-checkpoint {reference.path}: {name} is {value} in the checkpoint, "
                        f"but {wanted} in {settings.provenance[f'training.{name}']}; give a checkpoint of this "
                        f"configuration, or set {name}: {value}"
                    )
            self.supplied[stage] = StageResult(
                stage,
                NOT_RUN,
                f"not trained: the checkpoint {reference.path.name} was given",
                reference.step + 1,
                reference,
            )

    def _check_same_data(self) -> None:
        """Check that a resumed run has the frames, and the evaluation set, that it was started on."""
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
