"""The beginning of a run: resolve the settings, find the devices, make the folder, open the journal."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.layers import trained_stages
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.run_copy import copy_checkout_settings, copy_settings, reuse_settings_copy
from tinyworlds_gate.config.stage_config import DEFAULT_SOURCE, require_supported_inference, require_supported_stage
from tinyworlds_gate.context import RunContext, runs_on_cpu
from tinyworlds_gate.errors import ConfigError, DataError
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.launch.devices.nvml import gpu_count, gpu_inventory, keep_gpus_initialized
from tinyworlds_gate.launch.wandb_run import wandb_configured
from tinyworlds_gate.loop.checkout import begin_checkout, resolve_checkout
from tinyworlds_gate.loop.latest import LATEST, latest_checkpoints, with_latest
from tinyworlds_gate.loop.recheck import require_unedited_verdicts
from tinyworlds_gate.loop.resume import ResumedRun, settings_after
from tinyworlds_gate.names import SHORT_NAMES
from tinyworlds_gate.reference.data.datasets import dataset_path, made_by_runs, missing_dataset
from tinyworlds_gate.reports.model import build_record
from tinyworlds_gate.run.identity import host_name
from tinyworlds_gate.run.journal import Event, Journal, last_event
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.machine import total_memory_gib, usable_cpus
from tinyworlds_gate.run.paths import unused_path
from tinyworlds_gate.run.redact import redact, redact_command
from tinyworlds_gate.run.source_state import source_state
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.embedded import embedded_target

JOURNAL_SCHEMA = 1


def resolve_run(
    profile: str | Path,
    explicit: Mapping[str, Any],
    project_root: Path,
    checkout: Target | None = None,
    environment: Mapping[str, str] = os.environ,
    recorded: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Settings, int]:
    """The settings of a run fitted to the GPUs of this machine and to a checkout, and how many GPUs there are.

    Args:
        explicit: option name → value, only what a person gave.
        environment: where W&B's configuration is looked up.
        recorded: of a resumed run, the settings of its journal; its use of W&B and the checkpoints of
            ``--checkpoint-policy latest`` stay as they were.

    Raises:
        ConfigError: a value is wrong, or more workers were asked for than there are GPUs.
        CheckpointError: a checkpoint that a person named as a start is missing or damaged, or ``latest`` finds none of
            a stage that is not trained.
    """
    keep_gpus_initialized()
    gpus = gpu_count()  # of MIG slices a launch can use one

    def resolved(options: Mapping[str, Any]) -> Settings:
        resumed = resumed_values(options, project_root)
        if checkout is not None:
            return resolve_checkout(profile, options, resumed, checkout, project_root, gpus)
        return resolve_settings(profile, options, resumed, project_root=project_root).with_gpus(gpus)

    settings = resolved(explicit)
    if settings.options.checkpoint_policy == LATEST:
        found = latest_checkpoints(settings, recorded)
        settings = with_latest(resolved({**explicit, **found}), found)
    if checkout is not None:
        return settings, gpus
    settings = with_wandb(settings, environment, (recorded or {}).get("training.use_wandb"))
    for stage in settings.stages.values():
        require_supported_stage(settings.training, stage)
    require_supported_inference(settings.inference)
    return settings, gpus


def with_wandb(
    settings: Settings, environment: Mapping[str, str], recorded: Mapping[str, Any] | None = None
) -> Settings:
    """New settings that log to W&B where it is configured and neither an option nor a file decides.

    ``recorded`` is the value and the source in a resumed run's journal, which stay.
    """
    if settings.provenance["training.use_wandb"] != DEFAULT_SOURCE:
        return settings
    source = wandb_configured(environment, settings.project_root)
    use, source = (source is not None, source) if recorded is None else (recorded["value"], str(recorded["source"]))
    training = settings.training.model_copy(update={"use_wandb": use})
    provenance = {**settings.provenance, "training.use_wandb": source or DEFAULT_SOURCE}
    return replace(settings, training=training, provenance=provenance)


def missing_gpus(settings: Settings, gpus: int) -> str | None:
    """What a long run lacks to show two GPUs at work (L3, H6), as the end of a sentence; None when it lacks nothing.

    One worker by ``--nproc-per-node 1`` needs one GPU; a run that trains nothing needs none.
    """
    if settings.profile.kind != "longrun" or not settings.trained_stages:
        return None
    workers, source = settings.training.nproc_per_node, settings.provenance["training.nproc_per_node"]
    given = source.startswith("option ")
    needed = workers if given else max(2, workers)
    if gpus == 0:
        return f"needs {needed} NVIDIA GPU{'s' if needed > 1 else ''}, and this machine has none"
    if settings.training.device == "cpu":
        return f"needs {needed} NVIDIA GPUs, and device is cpu ({settings.provenance['training.device']})"
    if workers == 1 and not given:
        return (
            f"needs 2 NVIDIA GPUs, and trains on 1 ({source}); with --nproc-per-node 1 it needs one, and H6 is left out"
        )
    return None


def require_gpus(settings: Settings, gpus: int, explicit: Mapping[str, Any]) -> None:
    """Refuse a long run whose evidence this machine cannot give, before anything is trained.

    Raises:
        ConfigError: GPUs are missing, and ``--allow-cpu-longrun true`` was not given.
    """
    missing = missing_gpus(settings, gpus)
    if missing is None or explicit.get("allow_cpu_longrun"):
        return
    updates = sum(settings.plan(stage).target_updates for stage in settings.trained_stages)
    raise ConfigError(
        f"profile {settings.profile.name} {missing}. It would train {updates} updates "
        f"{'on the CPU ' if runs_on_cpu(settings, gpus) else ''}and end INVALID, because L3 and H6 require evidence of "
        f"two GPUs. Run it where the GPUs are (`tinyworlds-gate doctor --profile {settings.profile.name}` lists what "
        "is missing), run the smoke profile (-m smoke), or start it all the same with --allow-cpu-longrun true"
    )


def require_dataset(settings: Settings, target: Target | None) -> None:
    """Refuse a run whose ``--dataset`` has no frames file, before anything is trained.

    Raises:
        DataError: it is missing, and no run makes it.
    """
    dataset = settings.chosen_dataset
    if dataset is None or (target is None and made_by_runs(dataset)):
        return
    root, size = settings.project_root, settings.training.frame_size
    path = dataset_path(root, dataset, size) if target is None else target.frames_file(dataset)
    if problem := missing_dataset(path, dataset):
        raise DataError(problem)


def start_run(
    settings: Settings,
    gpus: int,
    *,
    explicit: Mapping[str, Any],
    command: Sequence[str],
    stamp: str,
    say: Callable[[str], None],
    show_progress: Callable[[str, int, int, int, float], None],
    checkout: Target | None = None,
) -> RunContext:
    """Make ``results/<run>/`` and write the first events. ``stamp`` names the run and all its reports.

    Raises:
        GateError: a folder cannot be written.
    """
    run = unused_path(settings.project_root / "results", f"{settings.profile.name}_{stamp}").name
    layout = RunLayout(settings.project_root, run).create()
    journal = Journal(layout.journal, project_root=layout.project_root)
    if checkout is None:
        target = embedded_target(layout.project_root, copy_settings(settings, layout.configs))
    else:
        copy_checkout_settings(settings, layout.configs)
        target = checkout
    target.check_files()
    _journal_start(journal, layout, settings, target, command, explicit, stamp)
    journal.append(
        "settings_resolved",
        settings=settings.table(),
        files=settings.file_digests,
        thresholds=settings.profile.thresholds.model_dump(),
        notes=settings.notes,
    )
    context = RunContext(settings, target, layout, journal, gpus, say, show_progress)
    if checkout is not None:
        context.checkout = begin_checkout(context, explicit)
    return context


def resume_run(
    settings: Settings,
    gpus: int,
    resumed: ResumedRun,
    *,
    command: Sequence[str],
    say: Callable[[str], None],
    show_progress: Callable[[str, int, int, int, float], None],
    checkout: Target | None = None,
    custom: Sequence[ClipMetric] = (),
) -> RunContext:
    """Open the journal of a run again and go on in its folder; a second ``run_started`` marks the place.

    Raises:
        GateError: another process writes this run, a folder cannot be written, or a verdict in its journal is not the
            one that its files give.
    """
    require_unedited_verdicts(
        build_record(settings.project_root, resumed.folder, resumed.events), settings, checkout, custom
    )
    layout = RunLayout(settings.project_root, resumed.folder.name).create()
    journal = Journal(layout.journal, project_root=layout.project_root)
    recorded = last_event(resumed.events, "settings_resolved") or {}
    if checkout is None:
        target = embedded_target(
            layout.project_root, reuse_settings_copy(settings, layout.configs, recorded.get("files"))
        )
    else:
        target = checkout
    target.check_files()
    stamp = str(resumed.started["timestamp"])
    event = _journal_start(journal, layout, settings, target, command, resumed.options, stamp, resumed=True)
    was = resumed.started
    say(f"going on with {layout.run} after {len(resumed.events)} events of its journal")
    if event["commit"] != was["commit"] or event["dirty"] or was["dirty"]:
        say(f"the code may differ: the run began at commit {was['commit']}, now it is {event['commit']}")
    so_far = resumed.so_far
    context = RunContext(settings, target, layout, journal, gpus, say, show_progress)
    context.settings = settings_after(settings, so_far.events)
    context.chunks_started = so_far.chunks_started
    if checkout is not None:
        context.checkout = begin_checkout(context, resumed.options)
    return context


def _journal_start(
    journal: Journal,
    layout: RunLayout,
    settings: Settings,
    target: Target,
    command: Sequence[str],
    explicit: Mapping[str, Any],
    stamp: str,
    *,
    resumed: bool = False,
) -> Event:
    source = source_state(target.root)
    return journal.append(
        "run_started",
        schema=JOURNAL_SCHEMA,
        run=layout.run,
        timestamp=stamp,
        resumed=resumed,
        profile=settings.profile.name,
        kind=settings.profile.kind,
        command=shlex.split(redact_command(command)),
        project_root=redact(str(layout.project_root)),
        target=target.kind,
        options={name: str(value) if isinstance(value, Path) else value for name, value in explicit.items()},
        seed=settings.profile.seed,
        versions=source.versions,
        machine=_machine(),
        commit=source.commit,
        dirty=source.dirty,
        harness_sha256=source.harness_sha256,
    )


def _machine() -> dict[str, Any]:
    return {
        "hostname_hash": sha256(host_name().encode()).hexdigest()[:12],
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": usable_cpus(),
        "memory_gib": round(total_memory_gib(), 1),
        "gpus": gpu_inventory(),
    }


# The learning rate recorded in a supplied start checkpoint; it overrides the profile (P1).


def resumed_values(explicit: Mapping[str, Any], project_root: Path) -> dict[str, Any]:
    """Dotted setting → value, read from the `--*-checkpoint` starts of the stages that will be trained.

    Only the peak learning rate of the schedule is a setting that a checkpoint's state carries; optimizer, step and
    random states are restored by the stage itself. Explicit options stand above it, the profile below.

    Raises:
        CheckpointError: a named checkpoint is missing or damaged.
    """
    trained = trained_stages(str(explicit.get("train_stage", "all")))
    values: dict[str, Any] = {}
    for short, stage in SHORT_NAMES.items():
        given = explicit.get(f"{short}_checkpoint")
        if given is None or stage not in trained:
            continue
        from tinyworlds_gate.checkpoints.read import read_state
        from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint

        reference = resolve_checkpoint(project_root / str(given), stage)
        rate = peak_rate(read_state(reference.path).get("scheduler_state_dict"))
        if rate is not None:
            values[f"stages.{stage}.learning_rate"] = rate
    return values


def peak_rate(scheduler_state: object) -> float | None:
    """The peak learning rate of a scheduler's state: ours calls it ``peak``, PyTorch's schedulers ``base_lrs``."""
    if not isinstance(scheduler_state, Mapping):
        return None
    rates = scheduler_state.get("base_lrs")
    found = scheduler_state.get("peak", rates[0] if isinstance(rates, list) and rates else None)
    return float(found) if isinstance(found, int | float) and 0 < found <= 1 else None
