"""The checkout that a run drives: from options to a target, the settings that fit what it can do (P1), its tree."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.alignment import Check, backbone_text, check_checkout
from tinyworlds_gate.config.cli_options import TARGET_OPTIONS, option_flag
from tinyworlds_gate.config.layers import CheckoutSettings
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.yaml_io import read_mapping
from tinyworlds_gate.context import CheckoutRun, RunContext, runs_on_cpu
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.launch.command import LaunchFiles, stage_environment
from tinyworlds_gate.names import BACKBONE_KEYS, SHORT_NAMES, STAGES
from tinyworlds_gate.reference.training.wandb_mode import restriction
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.disk import write_error
from tinyworlds_gate.run.owned import owned_folder
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.checkout import MAY_CHANGE, added_words, checkout_target, choose_python
from tinyworlds_gate.targets.chosen_dataset import chosen_dataset
from tinyworlds_gate.targets.dependencies import (
    Interpreter,
    imported_modules,
    probe_interpreter,
    require_packages,
    require_same_gpus,
)
from tinyworlds_gate.targets.embedded import embedded_target
from tinyworlds_gate.targets.fingerprint import changed_files, describe_changes, fingerprint, fingerprint_digest

TREE_FILE = "target_tree.json"
"""In the run's folder: the checkout's files before the run."""

NEEDS_A_CHECKOUT = tuple(
    name for name in TARGET_OPTIONS if name not in ("target_repo", "output_root", "target_dry_run")
)
"""Options that only change how a checkout is validated."""

STAGE_CONFIGS = tuple(f"{short}_config" for short in SHORT_NAMES)
"""Options that name a stage's settings file."""

NO_SPLIT = 1.0
"""``held_out_fraction`` of a file that no stage trains on."""


def chosen_target(options: Mapping[str, Any]) -> Target | None:
    """The checkout that the options name; None where the project itself is validated (kind ``embedded``).

    Raises:
        ConfigError: the folder is no checkout, its kind is unknown, or the options contradict each other.
    """
    repo = options.get("target_repo")
    if repo is None:
        stray = [name for name in NEEDS_A_CHECKOUT if name in options]
        if stray:
            raise ConfigError(
                f"{option_flag(stray[0])} {options[stray[0]]} says something of a checkout, and none is named; add "
                "--target-repo PATH, or leave it out."
            )
        return None
    if "project_root" in options:
        raise ConfigError(
            f"--project-root {options['project_root']} and --target-repo {repo} both name the validated project; give "
            "one of them (outputs go elsewhere with --output-root)."
        )
    target = checkout_target(
        Path(repo),
        kind=options.get("target_kind"),
        python=_path(options.get("target_python")),
        description=_path(options.get("target_file")),
        stage_configs={
            stage: str(options[f"{short}_config"])
            for short, stage in SHORT_NAMES.items()
            if f"{short}_config" in options
        },
    )
    useless = [name for name in ("align_backbone", *STAGE_CONFIGS) if name in options]
    if target is None and useless:
        raise ConfigError(
            f"{option_flag(useless[0])} is for a TinyWorlds checkout, and {repo} is a project of this harness, whose "
            "stages take every size from training.yaml; leave it out."
        )
    return target


def output_root(options: Mapping[str, Any], default: Path) -> Path:
    """Where the run's folder, histories, pictures and reports go: ``--output-root``, else the checkout, else
    ``default``."""
    return Path(options.get("output_root") or options.get("target_repo") or default)


def resolve_checkout(
    profile: str | Path,
    explicit: Mapping[str, Any],
    resumed: Mapping[str, Any],
    target: Target,
    root: Path,
    gpus: int,
) -> Settings:
    """The settings of a run on a checkout: its own files under the profile's budgets, thresholds and gate.

    Raises:
        ConfigError: a value is wrong, or an option asks for what this target cannot do.
    """
    _refuse_useless(explicit, target)
    settings = checkout_settings(profile, explicit, target, root, resumed)
    settings = _workers_on_cpu(_on_device(settings, target, gpus).with_gpus(gpus), target, gpus)
    return adapted(settings, explicit, target)


def checkout_settings(
    profile: str | Path,
    explicit: Mapping[str, Any],
    target: Target,
    root: Path,
    resumed: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of a checkout as its files and the options give them.

    Raises:
        ConfigError: a value is wrong, or the checkout has no dataset of that name.
    """
    if "dataset" in explicit:
        explicit = {**explicit, "dataset": chosen_dataset(target, str(explicit["dataset"]))}
    return resolve_settings(profile, explicit, resumed, project_root=root, checkout=settings_of(target))


def settings_of(target: Target) -> CheckoutSettings:
    """The settings files of a checkout and the words that ``--target-file`` adds."""
    return CheckoutSettings(
        {f"{name}.yaml": target.settings_file(name) for name in ("training", *STAGES, "inference")},
        added_words(target),
    )


def checkout_checks(settings: Settings, target: Target, folder: Path | None = None) -> list[Check]:
    """C1 to C3 on the checkout's settings files, or on their copy in ``folder``.

    Raises:
        ConfigError: a file is missing or malformed.
    """
    files = settings_of(target).files
    shown = {
        name: path.relative_to(target.root) if path.is_relative_to(target.root) else path
        for name, path in files.items()
    }
    return check_checkout(folder or files, shown, settings.options.align_backbone, added_words(target))


def adapted(settings: Settings, explicit: Mapping[str, Any], target: Target) -> Settings:
    """Settings that the target can keep, with a note for each value that was changed (pure)."""
    training = settings.training.model_copy(update={"held_out_fraction": NO_SPLIT, "use_wandb": True})
    sources = {
        "training.held_out_fraction": "held-out clips come from a file of their own",
        "training.use_wandb": f"the history of a {target.kind} checkout is read from its W&B files",
    }
    settings = replace(settings, training=training, provenance={**settings.provenance, **sources})
    if settings.options.align_backbone == "inject":
        settings = _injected(settings)
    deadline_s = settings.profile.watchdog.chunk_deadline_s
    if not target.can.schedule_has_its_own_end:
        for short, stage in SHORT_NAMES.items():
            settings = _whole_stage(settings, stage, f"{short}_chunk" in explicit, target, deadline_s)
    return settings


def _injected(settings: Settings) -> Settings:
    """The note and the sources of a backbone that every stage gets on its command line (C2)."""
    keys = [f"training.{key}" for key in BACKBONE_KEYS]
    sources = {key: f"--align-backbone inject, from {settings.provenance[key]}" for key in keys}
    values = backbone_text({key: getattr(settings.training, key) for key in BACKBONE_KEYS})
    note = f"--align-backbone inject: every stage gets {values} on its command line."
    return replace(settings, provenance={**settings.provenance, **sources}, notes=(*settings.notes, note))


def _whole_stage(settings: Settings, stage: str, given: bool, target: Target, deadline_s: float) -> Settings:
    """One chunk a stage, where a schedule that spans ``n_updates`` would anneal anew in each (hazard 10)."""
    plan, flag = settings.plan(stage), f"--{stage.split('_')[0]}-chunk"
    if plan.chunk >= plan.target_updates:
        return settings
    if given and not target.resumes(stage):
        raise ConfigError(
            f"{flag} {plan.chunk} cuts {stage} into chunks, but a {target.kind} checkout restarts at step 0: it trains "
            f"its {plan.target_updates} updates in one chunk. Leave {flag} out."
        )
    if given:
        note = (
            f"{stage}: {flag} {plan.chunk} cuts the stage, and this checkout's learning-rate schedule spans n_updates: "
            "it anneals anew in every chunk (hazard 10)."
        )
        return replace(settings, notes=(*settings.notes, note))
    chunks = -(-plan.target_updates // plan.chunk)
    note = (
        f"{stage}: one chunk of {plan.target_updates} updates instead of {chunks} chunks: this checkout's "
        f"learning-rate schedule spans n_updates and would anneal anew in "
        f"each{'' if target.resumes(stage) else ', and it cannot resume'}."
    )
    whole = plan.model_copy(update={"chunk": plan.target_updates})
    watchdog = settings.profile.watchdog
    deadline = watchdog.model_copy(update={"chunk_deadline_s": max(watchdog.chunk_deadline_s, chunks * deadline_s)})
    stages = settings.profile.stages.model_copy(update={stage: whole})
    profile = settings.profile.model_copy(update={"stages": stages, "watchdog": deadline})
    source = f"one chunk a stage, since a {target.kind} checkout's schedule spans n_updates"
    keys = (f"profile.stages.{stage}.chunk", "profile.watchdog.chunk_deadline_s")
    provenance = {**settings.provenance, **dict.fromkeys(keys, source)}
    return replace(settings, profile=profile, provenance=provenance, notes=(*settings.notes, note))


def _on_device(settings: Settings, target: Target, gpus: int) -> Settings:
    """The device of the stages: what ``--target-file`` overrides, else the checkout's own file."""
    device = str(target.arguments.training.get("device", settings.training.device))
    if device.startswith("cuda") and gpus == 0:
        raise ConfigError(
            f"The checkout asks for device {device} ({target.training_config}), but this machine has no NVIDIA GPU. "
            "Run it where one is, or put `overrides: {training: {device: cpu}}` into a --target-file."
        )
    return replace(settings, training=settings.training.model_copy(update={"device": device}))


def _workers_on_cpu(settings: Settings, target: Target, gpus: int) -> Settings:
    """One worker where a checkout refuses several without a GPU, with a note."""
    training = settings.training
    if target.can.distributes_on_cpu or not runs_on_cpu(settings, gpus) or training.nproc_per_node == 1:
        return settings
    shown = target.reading("distributes_on_cpu")
    why = f"it refuses several workers without a GPU{'' if shown is None else f' ({shown.place})'}"
    if settings.provenance["training.nproc_per_node"].startswith("option "):
        raise ConfigError(
            f"--nproc-per-node {training.nproc_per_node} on the CPU cannot be honoured by this checkout: {why}. Set it "
            "to 1, or leave it out."
        )
    note = f"nproc_per_node is 1 instead of {training.nproc_per_node}: this checkout runs on the CPU here, and {why}."
    alone = training.model_copy(
        update={"nproc_per_node": 1, "distributed": training.distributed.model_copy(update={"use_ddp": False})}
    )
    sources = dict.fromkeys(("training.nproc_per_node", "training.distributed.use_ddp"), "one worker on the CPU")
    provenance = {**settings.provenance, **sources}
    return replace(settings, training=alone, provenance=provenance, notes=(*settings.notes, note))


def _refuse_useless(explicit: Mapping[str, Any], target: Target) -> None:
    """Options that would do nothing on this target; nothing is ignored in silence.

    Raises:
        ConfigError: one was given.
    """
    useless = []
    if not target.can.prunes_checkpoints and "keep_checkpoints" in explicit:
        useless.append(("keep_checkpoints", "it never removes checkpoints"))
    from_start = "it restarts at step 0 with weights only, so that a start would not be continued (H7)"
    useless += [
        (f"{short}_checkpoint", from_start)
        for short, stage in SHORT_NAMES.items()
        if _is_a_start(explicit, short) and not target.resumes(stage)
    ]
    if explicit.get("use_wandb") is False:
        useless.append(("use_wandb", "its history is read from its W&B files"))
    for name, why in useless:
        if name in explicit:
            raise ConfigError(
                f"{option_flag(name)} {explicit[name]} cannot be honoured by a {target.kind} checkout: {why}. Leave "
                "it out."
            )
    off = restriction({name: value for name, value in os.environ.items() if name in ("WANDB_MODE", "WANDB_DISABLED")})
    if off is not None and off[0] == "disabled" and "=" in off[1] and not target.can.writes_history:
        raise ConfigError(
            f"{off[1]}: the history of a checkout is read from its W&B files, and so none would be there. "
            f"Unset it{', or set it to offline' if off[1].startswith('WANDB_MODE') else ''}."
        )


def _is_a_start(explicit: Mapping[str, Any], short: str) -> bool:
    train = str(explicit.get("train_stage", "all"))
    return f"{short}_checkpoint" in explicit and train in ("all", SHORT_NAMES[short])


def begin_checkout(context: RunContext, options: Mapping[str, Any]) -> CheckoutRun:
    """Fingerprint the checkout's files and journal what is driven (``target_described``), before anything is started.

    Raises:
        ConfigError: a run is resumed, and files of the checkout changed since it was started.
    """
    target, layout = context.target, context.layout
    tree, kept = fingerprint(target.root), layout.root / TREE_FILE
    if kept.is_file():
        changes = changed_files(json.loads(kept.read_text(encoding="utf-8")), tree)
        if changes:
            raise ConfigError(
                f"--resume-run {layout.run}: the checkout {target.root} is not what the run was started with: "
                f"{describe_changes(changes)}. Put the old files back, or start a new run."
            )
    else:
        atomic_write(kept, json.dumps(tree, indent=0, sort_keys=True))
    python, why = choose_python(target.root, _path(options.get("target_python")))
    context.journal.append(
        "target_described",
        kind=target.kind,
        told=target.kind_reason,
        root=str(target.root),
        python=str(python),
        python_reason=why,
        can=vars(target.can),
        resuming=[stage for stage in STAGES if target.resumes(stage)],
        readings=[one.as_record() for one in target.readings],
        limits=target.limits(),
        tree_sha256=fingerprint_digest(tree),
        tree_files=len(tree),
        may_change=MAY_CHANGE,
    )
    context.say(f"target: {target.kind_reason} in {target.root}, run by {python} ({why})")
    for sentence in target.limits():
        context.say(f"target {target.kind}: {sentence}")
    plans = read_mapping(context.settings.profile_path)["stages"]
    return CheckoutRun(
        gate_target=embedded_target(layout.project_root, layout.configs),
        tree=tree,
        growth={stage: int(plan["chunk"]) for stage, plan in plans.items()},
        held_out_option=_path(options.get("held_out_data")),
    )


def require_ready(context: RunContext) -> None:
    """Before anything starts: the checkout's packages, its GPUs, and the folders that it writes to.

    Raises:
        ConfigError: a package is missing (with the pip line), torch cannot use the GPUs, or a folder is not writable.
    """
    target, layout = context.target, context.layout
    for folder in written_folders(target, layout.project_root):
        _require_writable(target.root if folder.is_relative_to(target.root) else layout.project_root, folder)
    interpreter = probe_checkout(target, layout.root, on_cpu=context.on_cpu)
    context.journal.append(
        "target_preflight",
        python=interpreter.python,
        torch=interpreter.torch,
        gpus=interpreter.gpus,
        imported=interpreter.imported,
        missing=dict(interpreter.missing),
    )
    require_packages(interpreter)
    require_devices(context.settings, target, interpreter, context.gpus, layout.root)
    context.say(f"target: {len(interpreter.imported)} packages imported by Python {interpreter.python}")


def written_folders(target: Target, project_root: Path) -> tuple[Path, ...]:
    """The folders that the processes of a checkout write to besides the run's own."""
    return target.root / "inference_results", project_root / "wandb"


def probe_checkout(target: Target, run_root: Path, *, on_cpu: bool) -> Interpreter:
    """Import what the checkout's scripts import, in its interpreter.

    Raises:
        ConfigError: the interpreter does not start, or a script cannot be parsed.
    """
    environment = stage_environment(target, LaunchFiles(run_root), on_cpu=on_cpu)
    return probe_interpreter(target, environment, imported_modules(target))


def require_devices(settings: Settings, target: Target, interpreter: Interpreter, gpus: int, run_root: Path) -> None:
    """Check that torch can use the GPUs, in the checkout's interpreter and in ours, which runs the trusted gate.

    Raises:
        ConfigError: it cannot.
    """
    on_cpu, device = runs_on_cpu(settings, gpus), settings.training.device
    require_same_gpus(interpreter, 0 if on_cpu else gpus, device)
    if not on_cpu and target.python != Path(sys.executable):
        environment = stage_environment(target, LaunchFiles(run_root), on_cpu=on_cpu)
        ours = probe_interpreter(replace(target, python=Path(sys.executable)), environment, ["torch"])
        require_same_gpus(ours, gpus, device)


def _require_writable(root: Path, folder: Path) -> None:
    try:
        owned_folder(root, folder)
        problem = write_error(folder)
    except OSError as error:
        problem = error
    if problem is not None:
        raise ConfigError(
            f"The checkout writes to {folder}, and that is not possible: {problem.strerror}. Make the folder writable."
        )


def _path(value: object) -> Path | None:
    return None if value is None else Path(str(value))


def expected_chunks(settings: Settings) -> dict[str, list[tuple[int, int]]]:
    """Stage → the spans of updates that its chunks train when all goes well (for a dry run)."""
    spans = {}
    for stage in STAGES:
        plan = settings.plan(stage)
        starts = range(0, plan.target_updates, plan.chunk)
        spans[stage] = [(start, min(start + plan.chunk, plan.target_updates)) for start in starts]
    return spans
