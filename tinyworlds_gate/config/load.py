"""P1: the settings of a run, resolved by precedence, each with the place it came from.

``tinyworlds-gate show-config`` prints the result; the journal's ``settings_resolved`` records it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.options import OPTION_KEYS, STAGE_OPTIONS, LoopOptions, option_flag
from tinyworlds_gate.config.profile import ProfileConfig, StagePlan
from tinyworlds_gate.config.profile_files import locate_profile, shown_path
from tinyworlds_gate.config.schema import (
    SHARED_KEYS,
    STAGE_SCHEMAS,
    STAGES,
    InferenceConfig,
    StageConfig,
    TrainingConfig,
)
from tinyworlds_gate.config.stage_config import DEFAULT_SOURCE, check_stage, nested, read_leaves
from tinyworlds_gate.config.yaml_io import did_you_mean, field_paths, flatten, validated
from tinyworlds_gate.errors import ConfigError

PROFILE_TO_CONFIG: dict[str, tuple[str, ...]] = {
    "profile.seed": ("training.seed", "inference.seed"),
    "profile.data.held_out_fraction": ("training.held_out_fraction",),
    "profile.data.split_seed": ("training.split_seed",),
    "profile.gate.clips": ("inference.clips",),
    "profile.gate.context": ("inference.context_window",),
    "profile.gate.generation_steps": ("inference.generation_steps",),
    "profile.gate.prediction_horizon": ("inference.prediction_horizon",),
    "profile.gate.decode_steps": ("inference.decode_steps",),
    "profile.gate.temperature": ("inference.temperature",),
    **{f"profile.stages.{stage}.target_updates": (f"stages.{stage}.n_updates",) for stage in STAGES},
}
"""What a profile states here replaces what the configs state there."""

LINKED_KEYS = ("dataset", "fps", "held_out_fraction", "split_seed")
"""Inference must use training's value of these, or held-out clips would not be held out."""


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
            f"--nproc-per-node {requested} needs {requested} NVIDIA GPUs, found {gpus}; give at most {gpus}, or leave it "
            "out to use all of them."
        )
    return gpus, f"nproc_per_node is {gpus}, the GPUs present, instead of {requested}; H6 is then NOT-RUN."


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

    def effective_batch(self, stage: str, nodes: int = 1) -> int:
        """P2 for a stage as it stands now."""
        config = self.stages[stage]
        return effective_batch(
            config.batch_size_per_gpu, config.gradient_accumulation_steps, self.training.nproc_per_node, nodes
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

    def table(self) -> dict[str, dict[str, Any]]:
        """Dotted key → ``{"value", "source"}``, every key (the journal's ``settings_resolved.settings``)."""
        return {key: {"value": value, "source": self.provenance[key]} for key, value in _leaves(self)}


def trained_stages(train_stage: str) -> tuple[str, ...]:
    """``all`` → the three, ``none`` → nothing, a stage → itself."""
    if train_stage == "all":
        return STAGES
    return () if train_stage == "none" else (check_stage(train_stage),)


def resolve_settings(
    profile_name_or_path: str | Path,
    explicit: Mapping[str, Any],
    resumed: Mapping[str, Any] | None = None,
    project_root: Path | None = None,
) -> Settings:
    """The settings of a run: explicit options > resumed checkpoint state > profile > configs/*.yaml > defaults (P1).

    Args:
        profile_name_or_path: ``smoke``, ``longrun``, ``baseline``, another folder of configs/profiles, or a path to a
            folder that holds a complete set.
        explicit: option name (``max_mse``, ``init_batch_size``) → value, only what a person gave.
        resumed: dotted key (``stages.dynamics.learning_rate``) → value read from a resumed checkpoint.
        project_root: the validated project; the current folder when left out.

    Raises:
        ConfigError: a file, key or value is wrong; nothing has been started.
    """
    root = (project_root or Path.cwd()).resolve()
    profile_path = locate_profile(profile_name_or_path, root)
    layers = _Layers(root)
    layers.read_files(profile_path)
    layers.spread_profile()
    layers.add(resumed or {}, lambda key: "resumed checkpoint", "resumed state")
    layers.add_explicit(explicit)
    layers.derive()
    return layers.settings(profile_path)


class _Layers:
    """Values and sources by dotted key, filled from the lowest layer to the highest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.notes: list[str] = []
        self.known = [
            *(f"profile.{key}" for key in field_paths(ProfileConfig)),
            *(f"training.{key}" for key in field_paths(TrainingConfig)),
            *(f"stages.{stage}.{key}" for stage in STAGES for key in field_paths(STAGE_SCHEMAS[stage])),
            *(f"inference.{key}" for key in field_paths(InferenceConfig)),
            *(f"options.{key}" for key in field_paths(LoopOptions)),
        ]

    def put(self, key: str, value: Any, source: str) -> None:
        self.values[key] = value
        self.sources[key] = source

    def add(self, values: Mapping[str, Any], source: Any, where: str) -> None:
        for key, value in values.items():
            if key not in self.known:
                raise ConfigError(f"{where}: unknown key `{key}`.{did_you_mean(key, self.known)}")
            self.put(key, value, source(key))

    def read_files(self, profile_path: Path) -> None:
        folder = profile_path.parent
        training_keys = field_paths(TrainingConfig)
        for key, value in read_leaves(profile_path, field_paths(ProfileConfig)).items():
            self.put(f"profile.{key}", value, f"profile {shown_path(profile_path, self.root)}")
        training_path = folder / "training.yaml"
        training = read_leaves(training_path, training_keys + field_paths(StageConfig))
        for stage in STAGES:
            path = folder / f"{stage}.yaml"
            leaves = read_leaves(path, training_keys + field_paths(STAGE_SCHEMAS[stage]))
            for key, value in leaves.items():
                if key not in training_keys:
                    self.put(f"stages.{stage}.{key}", value, shown_path(path, self.root))
                elif key in SHARED_KEYS and key not in training:
                    # An older layout keeps the backbone in the stage files; C2 says that they agree.
                    self.put(f"training.{key}", value, shown_path(path, self.root))
                elif key not in training:
                    raise ConfigError(f"{path}: `{key}` is shared by the stages; move it to {training_path}.")
        for key, value in training.items():
            targets = [f"training.{key}"] if key in training_keys else [f"stages.{stage}.{key}" for stage in STAGES]
            for target in targets:
                self.put(target, value, shown_path(training_path, self.root))
        inference_path = folder / "inference.yaml"
        for key, value in read_leaves(inference_path, field_paths(InferenceConfig)).items():
            self.put(f"inference.{key}", value, shown_path(inference_path, self.root))

    def spread_profile(self) -> None:
        for key, targets in PROFILE_TO_CONFIG.items():
            if self.values.get(key) is not None:
                for target in targets:
                    self.put(target, self.values[key], self.sources[key])

    def add_explicit(self, explicit: Mapping[str, Any]) -> None:
        stages = trained_stages(explicit.get("train_stage", "all"))
        # The general forms first: `--video-init-batch-size` stands above `--init-batch-size`.
        for name in sorted(explicit, key=lambda name: name not in STAGE_OPTIONS):
            keys: Iterable[str]
            if name in STAGE_OPTIONS:
                keys = [key for stage in stages for key in STAGE_OPTIONS[name](stage)]
            elif name in OPTION_KEYS:
                keys = OPTION_KEYS[name]
            else:
                known = [*OPTION_KEYS, *STAGE_OPTIONS]
                raise ConfigError(f"Unknown option `{option_flag(name)}`.{did_you_mean(name, known)}")
            for key in keys:
                self.put(key, explicit[name], f"option {option_flag(name)}")

    def derive(self) -> None:
        """Values that follow from others."""
        for key in LINKED_KEYS:
            self._link(key)
        if self.values.get("training.data_path") is not None and self.values.get("inference.data_path") is None:
            self.put("inference.data_path", self.values["training.data_path"], self.sources["training.data_path"])
        context_length = self.values.get("training.context_length")
        if self.values.get("inference.context_window") is None and isinstance(context_length, int):
            self.put("inference.context_window", context_length - 1, "context_length - 1")
        if self.values.get("training.nproc_per_node") == 1:
            self.put("training.distributed.use_ddp", False, "nproc_per_node is 1")
        for stage in STAGES:
            self._cut_chunk(stage)

    def _link(self, key: str) -> None:
        ours, theirs = f"inference.{key}", f"training.{key}"
        default = TrainingConfig.model_fields[key].default
        wanted = self.values.get(theirs, default)
        if ours in self.values and self.values[ours] != wanted:
            raise ConfigError(
                f"{self.sources[ours]} says {key} = {self.values[ours]!r}, but training uses {wanted!r} "
                f"({self.sources.get(theirs, DEFAULT_SOURCE)}): the gate would measure other clips than the ones held "
                f"out. Set both to the same value, or leave {key} out of inference.yaml."
            )
        self.put(ours, wanted, self.sources.get(ours) or self.sources.get(theirs, DEFAULT_SOURCE))

    def _cut_chunk(self, stage: str) -> None:
        chunk_key, target_key = f"profile.stages.{stage}.chunk", f"profile.stages.{stage}.target_updates"
        chunk, target = self.values.get(chunk_key), self.values.get(target_key)
        if isinstance(chunk, int) and isinstance(target, int) and chunk > target >= 1:
            self.notes.append(
                f"{stage}: a chunk of {chunk} updates ({self.sources[chunk_key]}) is more than the target of {target} "
                f"({self.sources[target_key]}); one chunk of {target} is trained."
            )
            self.put(chunk_key, target, f"cut to the target, {self.sources[target_key]}")

    def _part(self, prefix: str) -> dict[str, Any]:
        return nested({k.removeprefix(prefix): v for k, v in self.values.items() if k.startswith(prefix)})

    def settings(self, profile_path: Path) -> Settings:
        folder = shown_path(profile_path.parent, self.root)
        settings = Settings(
            profile=validated(ProfileConfig, self._part("profile."), shown_path(profile_path, self.root)),
            training=validated(TrainingConfig, self._part("training."), f"{folder}/training.yaml"),
            stages={
                stage: validated(STAGE_SCHEMAS[stage], self._part(f"stages.{stage}."), f"{folder}/{stage}.yaml")
                for stage in STAGES
            },
            inference=validated(InferenceConfig, self._part("inference."), f"{folder}/inference.yaml"),
            options=validated(LoopOptions, self._part("options."), "options"),
            provenance={},
            notes=tuple(self.notes),
            profile_path=profile_path,
            config_dir=profile_path.parent,
            project_root=self.root,
        )
        provenance = {key: self.sources.get(key, DEFAULT_SOURCE) for key, _ in _leaves(settings)}
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
