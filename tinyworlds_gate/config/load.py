"""P1: the settings of a run, resolved by precedence, each with the place it came from.

``tinyworlds-gate show-config`` prints the result; the journal's ``settings_resolved`` records it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.layers import Layers, trained_stages
from tinyworlds_gate.config.options import LoopOptions
from tinyworlds_gate.config.profile import ProfileConfig, StagePlan
from tinyworlds_gate.config.profile_files import file_digests, locate_profile, shown_path
from tinyworlds_gate.config.schema import STAGE_SCHEMAS, InferenceConfig, StageConfig, TrainingConfig
from tinyworlds_gate.config.stage_config import DEFAULT_SOURCE, check_stage, nested
from tinyworlds_gate.config.yaml_io import flatten, validated
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES
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
    """Dotted key (``stages.dynamics.learning_rate``) → where its value came from."""
    notes: tuple[str, ...]
    """Sentences on values that were adapted."""
    profile_path: Path
    config_dir: Path
    project_root: Path
    file_digests: Mapping[str, str]
    """Name of each settings file → SHA-256 of what was read, so that a later edit shows (``config/kept.py``)."""

    @property
    def trained_stages(self) -> tuple[str, ...]:
        """The stages that this run trains, in order."""
        return trained_stages(self.options.train_stage)

    def plan(self, stage: str) -> StagePlan:
        """The chunk and the target of a stage, updates."""
        plan: StagePlan = getattr(self.profile.stages, check_stage(stage))
        return plan

    def checkpoint_given(self, stage: str) -> Path | None:
        """The folder that ``--*-checkpoint`` named for a stage, absolute; None when none was given."""
        given: str | None = getattr(self.options, f"{_short(stage)}_checkpoint")
        return None if given is None else (self.project_root / given)

    def effective_batch(self, stage: str) -> int:
        """P2 for a stage as it stands now, over all nodes."""
        config = self.stages[stage]
        return effective_batch(
            config.batch_size_per_gpu,
            config.gradient_accumulation_steps,
            self.training.nproc_per_node,
            self.options.nnodes,
        )

    def source_of(self, stage: str, key: str) -> str:
        """Where a stage's value came from (the journal's ``param_sources``)."""
        return self.provenance[f"stages.{stage}.{key}"]

    def with_retune(self, stage: str, changes: Mapping[str, Any], source: str) -> Settings:
        """New settings in which a retune set some of a stage's keys; nothing stands above a retune (P1).

        Args:
            stage: the retuned stage.
            changes: key → new value, or key → (old, new) as the ladders report it.
            source: what is recorded as the origin, e.g. ``"retune T2"``.
        """
        new = {key: value[1] if isinstance(value, tuple) else value for key, value in changes.items()}
        leaves = {**dict(flatten(self.stages[check_stage(stage)].model_dump())), **new}
        config = validated(STAGE_SCHEMAS[stage], nested(leaves), f"{source} of {stage}")
        provenance = {**self.provenance, **{f"stages.{stage}.{key}": source for key in new}}
        return replace(self, stages={**self.stages, stage: config}, provenance=provenance)

    def with_gpus(self, gpus: int) -> Settings:
        """New settings whose worker count fits this machine, with a note when it was lowered.

        Raises:
            ConfigError: a person asked for more workers than there are GPUs.
        """
        asked, source = self.training.nproc_per_node, self.provenance["training.nproc_per_node"]
        nproc, note = resolve_nproc(asked, source.startswith("option "), gpus, self.training.device)
        if nproc == asked:
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
        """Dotted key → ``{"value", "source"}``, every key (the journal's ``settings_resolved.settings``)."""
        return {key: {"value": value, "source": self.provenance[key]} for key, value in _leaves(self)}


def resolve_settings(
    profile_name_or_path: str | Path,
    explicit: Mapping[str, Any],
    resumed: Mapping[str, Any] | None = None,
    project_root: Path | None = None,
    checkout_configs: Path | None = None,
) -> Settings:
    """The settings of a run: explicit options > resumed checkpoint state > profile > configs/*.yaml > defaults (P1).

    Args:
        profile_name_or_path: ``smoke``, ``longrun``, ``baseline``, another folder of configs/profiles, or a path to a
            folder that holds a complete set.
        explicit: option name (``max_mse``, ``init_batch_size``) → value, only what a person gave.
        resumed: dotted key (``stages.dynamics.learning_rate``) → value read from a resumed checkpoint.
        project_root: the validated project; the current folder when left out.
        checkout_configs: the config folder of a TinyWorlds checkout; its stages read its own files, and the profile
            gives budgets, thresholds and the gate.

    Raises:
        ConfigError: a file, key or value is wrong; nothing has been started.
        GateError: the project's path cannot be written as text.
    """
    root = readable_root(project_root or Path.cwd())
    profile_path = locate_profile(profile_name_or_path, root)
    layers = Layers(root)
    digests = file_digests(checkout_configs or profile_path.parent)
    if checkout_configs is None:
        layers.read_files(profile_path)
    else:
        layers.read_checkout(profile_path, checkout_configs)
    layers.spread_profile()
    layers.add(resumed or {}, lambda key: "resumed checkpoint", "resumed state")
    layers.add_explicit(explicit)
    layers.derive()
    return _settings(layers, profile_path, checkout_configs or profile_path.parent, digests)


def _settings(layers: Layers, profile_path: Path, configs: Path, digests: Mapping[str, str]) -> Settings:
    root, folder = layers.root, shown_path(configs, layers.root)
    settings = Settings(
        profile=validated(ProfileConfig, layers.part("profile."), shown_path(profile_path, root)),
        training=validated(TrainingConfig, layers.part("training."), f"{folder}/training.yaml"),
        stages={
            stage: validated(STAGE_SCHEMAS[stage], layers.part(f"stages.{stage}."), f"{folder}/{stage}.yaml")
            for stage in STAGES
        },
        inference=validated(InferenceConfig, layers.part("inference."), f"{folder}/inference.yaml"),
        options=validated(LoopOptions, layers.part("options."), "options"),
        provenance={},
        notes=tuple(layers.notes),
        profile_path=profile_path,
        config_dir=configs,
        project_root=root,
        file_digests=digests,
    )
    provenance = {key: layers.sources.get(key, DEFAULT_SOURCE) for key, _ in _leaves(settings)}
    return replace(settings, provenance=provenance)


def _leaves(settings: Settings) -> Iterable[tuple[str, Any]]:
    return flatten(
        {
            "profile": settings.profile.model_dump(),
            "training": settings.training.model_dump(),
            "stages": {stage: config.model_dump() for stage, config in settings.stages.items()},
            "inference": settings.inference.model_dump(),
            "options": settings.options.model_dump(),
        }
    )


def _short(stage: str) -> str:
    return check_stage(stage).split("_")[0]


# How many worker processes train, and how many clips an update then sees (P2).


def effective_batch(batch: int, accumulation: int, nproc: int, nodes: int = 1) -> int:
    """P2: clips that one update sees."""
    return batch * accumulation * nproc * nodes


def resolve_nproc(requested: int, given: bool, gpus: int, device: str) -> tuple[int, str]:
    """The worker processes to start on this machine, and a note when they are fewer than asked for.

    On CPU (``device`` cpu, or auto without a GPU) any number is kept: the workers talk over gloo.

    Args:
        requested: ``nproc_per_node`` as resolved.
        given: whether a person gave it on the command line.
        gpus: NVIDIA GPUs present.
        device: training's ``device``.

    Raises:
        ConfigError: more than the GPUs present were asked for explicitly, or CUDA was asked for and there is no GPU.
    """
    if device == "cpu" or (device == "auto" and gpus == 0):
        return requested, ""
    if gpus == 0:
        raise ConfigError(f"device is {device!r}, but this machine has no NVIDIA GPU; set device to auto or cpu.")
    if requested <= gpus:
        return requested, ""
    if given:
        raise ConfigError(
            f"--nproc-per-node {requested} needs {requested} NVIDIA GPUs, found {gpus}; give at most {gpus}, or leave "
            "it out to use all of them."
        )
    return gpus, f"nproc_per_node is {gpus}, the GPUs present, instead of {requested}; H6 is then NOT-RUN."
