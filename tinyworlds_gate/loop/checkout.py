"""The checkout that a run drives: from options to a target, the settings that fit what it can do (P1), its tree."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.options import option_flag
from tinyworlds_gate.config.yaml_io import read_mapping
from tinyworlds_gate.context import CheckoutRun, RunContext
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.evidence.metrics.checkout import bring_history
from tinyworlds_gate.launch.command import LaunchFiles, stage_environment
from tinyworlds_gate.names import SHORT_NAMES, STAGES
from tinyworlds_gate.run.disk import write_error
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.checkout import MAY_CHANGE, checkout_target, choose_python
from tinyworlds_gate.targets.embedded import embedded_target
from tinyworlds_gate.targets.needs import ask_interpreter, imported_modules, require_complete, require_same_gpus
from tinyworlds_gate.targets.tree import changed_files, digest_of, fingerprint, told_changes

TREE_FILE = "target_tree.json"
"""In the run's folder: the checkout's files before the run."""

NO_SPLIT = 1.0
"""``held_out_fraction`` of a file that no stage trains on."""


def chosen_target(options: Mapping[str, Any]) -> Target | None:
    """The checkout that the options name; None where the project itself is validated (kind ``embedded``).

    Raises:
        ConfigError: the folder is no checkout, its kind cannot be told, or the options contradict each other.
    """
    repo = options.get("target_repo")
    if repo is None:
        stray = [name for name in ("target_kind", "target_python", "target_file", "held_out_data") if name in options]
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
    return checkout_target(
        Path(repo),
        kind=options.get("target_kind"),
        python=_path(options.get("target_python")),
        description=_path(options.get("target_file")),
    )


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
    settings = resolve_settings(profile, explicit, resumed, project_root=root, checkout_configs=target.config_dir)
    return adapted(_on_device(settings, target, gpus).with_gpus(gpus), explicit, target)


def adapted(settings: Settings, explicit: Mapping[str, Any], target: Target) -> Settings:
    """Settings that the target can keep, with a note for each value that was changed (pure)."""
    training = settings.training.model_copy(update={"held_out_fraction": NO_SPLIT, "use_wandb": True})
    sources = {
        "training.held_out_fraction": "held-out clips come from a file of their own",
        "training.use_wandb": f"the history of a {target.kind} checkout is read from its W&B files",
    }
    settings = replace(settings, training=training, provenance={**settings.provenance, **sources})
    deadline_s = settings.profile.watchdog.chunk_deadline_s
    if not target.can.schedule_has_its_own_end:
        for short, stage in SHORT_NAMES.items():
            settings = _whole_stage(settings, stage, f"{short}_chunk" in explicit, target, deadline_s)
    return settings


def _whole_stage(settings: Settings, stage: str, given: bool, target: Target, deadline_s: float) -> Settings:
    """One chunk a stage, where a schedule that spans ``n_updates`` would anneal anew in each (hazard 10)."""
    plan, flag = settings.plan(stage), f"--{stage.split('_')[0]}-chunk"
    if plan.chunk >= plan.target_updates:
        return settings
    if given and not target.can.resumes:
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
        f"each{'' if target.can.resumes else ', and it cannot resume'}."
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
    device = str(target.words.training.get("device", settings.training.device))
    if device.startswith("cuda") and gpus == 0:
        raise ConfigError(
            f"The checkout asks for device {device} ({target.training_config}), but this machine has no NVIDIA GPU. "
            "Run it where one is, or put `overrides: {training: {device: cpu}}` into a --target-file."
        )
    return replace(settings, training=settings.training.model_copy(update={"device": device}))


def _refuse_useless(explicit: Mapping[str, Any], target: Target) -> None:
    """Options that would do nothing on this target; nothing is ignored in silence.

    Raises:
        ConfigError: one was given.
    """
    useless = []
    if not target.can.prunes_checkpoints and "keep_checkpoints" in explicit:
        useless.append(("keep_checkpoints", "it never removes checkpoints"))
    if not target.can.resumes:
        from_start = "it restarts at step 0 with weights only, so that a start would not be continued (H7)"
        useless += [(f"{short}_checkpoint", from_start) for short in SHORT_NAMES if _is_a_start(explicit, short)]
    for name, why in useless:
        if name in explicit:
            raise ConfigError(
                f"{option_flag(name)} {explicit[name]} cannot be honoured by a {target.kind} checkout: {why}. Leave "
                "it out."
            )
    if os.environ.get("WANDB_MODE") == "disabled" and not target.can.writes_history:
        raise ConfigError(
            "WANDB_MODE=disabled: the history of a checkout is read from its W&B files, and so none would be there. "
            "Unset it, or set it to offline."
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
                f"{told_changes(changes)}. Put the old files back, or start a new run."
            )
    else:
        kept.write_text(json.dumps(tree, indent=0, sort_keys=True), encoding="utf-8")
    python, why = choose_python(target.root, _path(options.get("target_python")))
    context.journal.append(
        "target_described",
        kind=target.kind,
        told=target.told,
        root=str(target.root),
        python=str(python),
        python_reason=why,
        can=vars(target.can),
        limits=target.can.limits(),
        tree_sha256=digest_of(tree),
        tree_files=len(tree),
        may_change=MAY_CHANGE,
    )
    context.say(f"target: {target.told} in {target.root}, run by {python} ({why})")
    for sentence in target.can.limits():
        context.say(f"target {target.kind}: {sentence}")
    plans = read_mapping(context.settings.profile_path)["stages"]
    return CheckoutRun(
        gate_target=embedded_target(layout.project_root, layout.configs),
        tree=tree,
        read_history=bring_history,
        growth={stage: int(plan["chunk"]) for stage, plan in plans.items()},
        held_out_option=_path(options.get("held_out_data")),
    )


def require_ready(context: RunContext) -> None:
    """Before anything starts: the checkout's packages, its GPUs, and the folders that it writes to.

    Raises:
        ConfigError: a package is missing (with the pip line), torch cannot use the GPUs, or a folder is not writable.
    """
    target, layout = context.target, context.layout
    for folder in (target.root / "inference_results", layout.project_root / "wandb"):
        _require_writable(folder)
    files = LaunchFiles(layout.root)
    environment = stage_environment(target, files, on_cpu=context.on_cpu)
    interpreter = ask_interpreter(target, environment, imported_modules(target))
    context.journal.append(
        "target_preflight",
        python=interpreter.python,
        torch=interpreter.torch,
        gpus=interpreter.gpus,
        imported=interpreter.imported,
        missing=dict(interpreter.missing),
    )
    require_complete(interpreter)
    device = context.settings.training.device
    require_same_gpus(interpreter, 0 if context.on_cpu else context.gpus, device)
    if not context.on_cpu and target.python != Path(sys.executable):
        ours = ask_interpreter(replace(target, python=Path(sys.executable)), environment, ["torch"])
        require_same_gpus(ours, context.gpus, device)  # the trusted gate computes in our own interpreter
    context.say(f"target: {len(interpreter.imported)} packages imported by Python {interpreter.python}")


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
