"""Resolve the settings of a run by precedence (P1) and record the source of each value.

``tinyworlds-gate show-config`` prints the result; the journal's ``settings_resolved`` records it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.layers import CheckoutSettings, Layers, trained_stages
from tinyworlds_gate.config.options import LoopOptions
from tinyworlds_gate.config.profile import ProfileConfig, StagePlan
from tinyworlds_gate.config.profile_files import SETTINGS_FILES, display_path, file_digests, locate_profile
from tinyworlds_gate.config.schema import STAGE_SCHEMAS, InferenceConfig, StageConfig, TrainingConfig
from tinyworlds_gate.config.stage_config import DEFAULT_SOURCE, check_stage
from tinyworlds_gate.config.yaml_io import flatten, unflatten, validate_tree
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import SHARED_KEYS, STAGES
from tinyworlds_gate.run.layout import readable_root


@dataclass(frozen=True)
class Settings:
    """The resolved settings of one run."""

    profile: ProfileConfig
    training: TrainingConfig
    stages: Mapping[str, StageConfig]
    inference: InferenceConfig
    options: LoopOptions
    provenance: Mapping[str, str]
    """Dotted key (``stages.dynamics.learning_rate``) → the source of its value."""
    notes: tuple[str, ...]
    """Sentences about values that were adjusted."""
    profile_path: Path
    config_dir: Path
    project_root: Path
    backbones: Mapping[str, Mapping[str, int]]
    """Stage → its own backbone, of a checkout under ``--align-backbone report``; empty: all stages have training's."""
    settings_files: Mapping[str, Path]
    """Name (``training.yaml``) → the file that was read; of a checkout, without ``profile.yaml``."""
    file_digests: Mapping[str, str]
    """Name of each settings file → SHA-256 when it was read; ``config/run_copy.py`` detects later edits with it."""

    @property
    def trained_stages(self) -> tuple[str, ...]:
        """Stages that this run trains, in order."""
        return trained_stages(self.options.train_stage)

    @property
    def chosen_dataset(self) -> str | None:
        """The dataset of ``--dataset``, for the stages' command lines; None where their settings files name it."""
        return self.training.dataset if self.provenance["training.dataset"].startswith("option ") else None

    def plan(self, stage: str) -> StagePlan:
        """Return the chunk size and the target of a stage, in updates."""
        plan: StagePlan = getattr(self.profile.stages, check_stage(stage))
        return plan

    def checkpoint_option(self, stage: str) -> Path | None:
        """Return the absolute path of ``--<stage>-checkpoint``; None without that option."""
        path: str | None = getattr(self.options, f"{check_stage(stage).split('_')[0]}_checkpoint")
        return None if path is None else (self.project_root / path)

    def effective_batch(self, stage: str) -> int:
        """Return the clips that one update of a stage sees, over all nodes (P2)."""
        config = self.stages[stage]
        return effective_batch(
            config.batch_size_per_gpu,
            config.gradient_accumulation_steps,
            self.training.nproc_per_node,
            self.options.nnodes,
        )

    def sizes_of(self, stage: str) -> dict[str, int]:
        """Return the sizes that a stage trains with (C1, C2)."""
        own = self.backbones.get(check_stage(stage), {})
        return {key: own.get(key, getattr(self.training, key)) for key in SHARED_KEYS}

    def source_of(self, stage: str, key: str) -> str:
        """Return the source of a stage's value (the journal's ``param_sources``)."""
        return self.provenance[f"stages.{stage}.{key}"]

    def with_retune(self, stage: str, changes: Mapping[str, Any], source: str) -> Settings:
        """Return new settings with a retune's changes of one stage; a retune has the highest precedence (P1).

        Args:
            stage: the retuned stage.
            changes: key → new value, or key → (old, new) as the retune ladders return it.
            source: the source to record, e.g. ``"retune T2"``.
        """
        new = {key: value[1] if isinstance(value, tuple) else value for key, value in changes.items()}
        leaves = {**dict(flatten(self.stages[check_stage(stage)].model_dump())), **new}
        config = validate_tree(STAGE_SCHEMAS[stage], unflatten(leaves), f"{source} of {stage}")
        provenance = {**self.provenance, **{f"stages.{stage}.{key}": source for key in new}}
        return replace(self, stages={**self.stages, stage: config}, provenance=provenance)

    def with_gpus(self, gpus: int) -> Settings:
        """Return new settings whose worker count fits this machine, with a note if it was lowered.

        Raises:
            ConfigError: ``--nproc-per-node`` is larger than the number of GPUs.
        """
        requested, source = self.training.nproc_per_node, self.provenance["training.nproc_per_node"]
        nproc, note = resolve_nproc(requested, source.startswith("option "), gpus, self.training.device)
        if nproc == requested:
            return self
        update: dict[str, Any] = {"nproc_per_node": nproc}
        sources = {"training.nproc_per_node": f"the {gpus} GPUs present"}
        if nproc == 1 and self.options.nnodes == 1:
            update["distributed"] = self.training.distributed.model_copy(update={"use_ddp": False})
            sources["training.distributed.use_ddp"] = "nproc_per_node is 1"
        return replace(
            self,
            training=self.training.model_copy(update=update),
            provenance={**self.provenance, **sources},
            notes=(*self.notes, note),
        )

    def table(self) -> dict[str, dict[str, Any]]:
        """Return dotted key → ``{"value", "source"}`` for every key (the journal's ``settings_resolved.settings``)."""
        parts = {
            "profile.": self.profile,
            "training.": self.training,
            **{f"stages.{stage}.": config for stage, config in self.stages.items()},
            "inference.": self.inference,
            "options.": self.options,
        }
        leaves = (leaf for prefix, part in parts.items() for leaf in flatten(part.model_dump(), prefix))
        return {key: {"value": value, "source": self.provenance[key]} for key, value in leaves}


def resolve_settings(
    profile_name_or_path: str | Path,
    explicit: Mapping[str, Any],
    resumed: Mapping[str, Any] | None = None,
    project_root: Path | None = None,
    checkout: CheckoutSettings | None = None,
) -> Settings:
    """Resolve the settings of a run: explicit options > resumed state > profile > configs/*.yaml > defaults (P1).

    Args:
        profile_name_or_path: ``smoke``, ``longrun``, ``baseline``, another folder of configs/profiles, or a path to a
            folder that holds a complete set.
        explicit: option name (``max_mse``, ``init_batch_size``) → value, for the options on the command line.
        resumed: dotted key (``stages.dynamics.learning_rate``) → value read from a resumed checkpoint.
        project_root: the validated project; the current folder by default.
        checkout: the settings of a TinyWorlds checkout. Its stages read its files; the profile provides training
            budgets, thresholds and the settings of the gate.

    Raises:
        ConfigError: a file, key or value is wrong.
        GateError: the project's path cannot be encoded as text.
    """
    root = readable_root(project_root or Path.cwd())
    profile_path = locate_profile(profile_name_or_path, root)
    layers = Layers(root)
    files = {name: profile_path.parent / name for name in SETTINGS_FILES} if checkout is None else checkout.files
    digests = file_digests(files)
    if checkout is None:
        layers.read_files(profile_path)
    else:
        layers.read_checkout(profile_path, checkout)
    layers.apply_profile()
    layers.add_resumed(resumed or {})
    layers.add_explicit(explicit)
    layers.derive()
    settings = _settings(layers, profile_path, files, digests)
    _require_possible(settings)
    return settings


def _require_possible(settings: Settings) -> None:
    """Reject limits of S2 that no model with this number of action codes can meet.

    Raises:
        ConfigError: one of them is such a limit.
    """
    codes, limits = settings.training.n_actions, settings.profile.thresholds.stage_gates.latent_actions
    most = math.log(codes)
    for name, limit, possible in (
        ("min_unique_actions", limits.min_unique_actions, codes),
        ("min_action_entropy_nats", limits.min_action_entropy_nats, most),
    ):
        if limit > possible:
            source = settings.provenance[f"profile.thresholds.stage_gates.latent_actions.{name}"]
            raise ConfigError(
                f"{name}={limit:g} ({source}): {codes} action codes (n_actions) have at most {possible:.3g}, so that "
                f"no model could pass the gate of latent_actions; lower {name} or raise n_actions"
            )


def _settings(layers: Layers, profile_path: Path, files: Mapping[str, Path], digests: Mapping[str, str]) -> Settings:
    root = layers.root
    shown = {name: display_path(path, root) for name, path in files.items()}
    report = layers.values.get("options.align_backbone") == "report"
    return Settings(
        profile=validate_tree(ProfileConfig, layers.part("profile."), display_path(profile_path, root)),
        training=validate_tree(TrainingConfig, layers.part("training."), shown["training.yaml"]),
        stages={
            stage: validate_tree(STAGE_SCHEMAS[stage], layers.part(f"stages.{stage}."), shown[f"{stage}.yaml"])
            for stage in STAGES
        },
        inference=validate_tree(InferenceConfig, layers.part("inference."), shown["inference.yaml"]),
        options=validate_tree(LoopOptions, layers.part("options."), "options"),
        provenance={key: layers.sources.get(key, DEFAULT_SOURCE) for key in layers.known},
        notes=tuple(layers.notes),
        profile_path=profile_path,
        config_dir=files["training.yaml"].parent,
        project_root=root,
        backbones=layers.backbones if report else {},
        settings_files=files,
        file_digests=digests,
    )


def effective_batch(batch: int, accumulation: int, nproc: int, nodes: int = 1) -> int:
    """Return the clips that one update sees (P2)."""
    return batch * accumulation * nproc * nodes


def resolve_nproc(requested: int, explicit: bool, gpus: int, device: str) -> tuple[int, str]:
    """Return the number of workers to start on this machine, and a note if it is lower than requested.

    On the CPU (``device`` cpu, or auto without a GPU) any number is allowed; the workers use gloo.

    Args:
        requested: ``nproc_per_node`` as resolved.
        explicit: whether the command line set it.
        gpus: NVIDIA GPUs present.
        device: training's ``device``.

    Raises:
        ConfigError: the command line requested more workers than GPUs, or ``device`` is CUDA and there is no GPU.
    """
    if device == "cpu" or (device == "auto" and gpus == 0):
        return requested, ""
    if gpus == 0:
        raise ConfigError(f"device is {device!r}, but this machine has no NVIDIA GPU; set device to auto or cpu.")
    if requested <= gpus:
        return requested, ""
    if explicit:
        raise ConfigError(
            f"--nproc-per-node {requested} needs {requested} NVIDIA GPUs, found {gpus}; set it to at most {gpus}, or "
            "leave it out to use all of them."
        )
    return gpus, f"nproc_per_node is {gpus}, the GPUs present, instead of {requested}; H6 is then NOT-RUN."
