"""The layers of P1: values by dotted key, filled from the lowest layer to the highest, each with its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.options import OPTION_KEYS, STAGE_OPTIONS, LoopOptions, option_flag
from tinyworlds_gate.config.profile import ProfileConfig
from tinyworlds_gate.config.profile_files import shown_path
from tinyworlds_gate.config.schema import (
    SHARED_KEYS,
    STAGE_SCHEMAS,
    InferenceConfig,
    StageConfig,
    TrainingConfig,
)
from tinyworlds_gate.config.stage_config import DEFAULT_SOURCE, check_stage, nested, read_leaves
from tinyworlds_gate.config.yaml_io import did_you_mean, field_paths, flatten, read_mapping
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES

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
    "profile.gate.evaluation_file": ("inference.evaluation_file",),
    **{f"profile.stages.{stage}.target_updates": (f"stages.{stage}.n_updates",) for stage in STAGES},
}
"""What a profile states here replaces what the configs state there."""

LINKED_KEYS = ("dataset", "fps", "held_out_fraction", "split_seed")
"""Inference must use training's value of these, or held-out clips would not be held out."""


CHECKOUT_KEYS = (*SHARED_KEYS, "dataset", "fps", "device", "nproc_per_node", "use_wandb", "wandb_project")
"""What the loop reads from a checkout's training.yaml."""

CHECKOUT_STAGE_KEYS = (
    "batch_size_per_gpu",
    "gradient_accumulation_steps",
    "n_updates",
    "learning_rate",
    "log_interval",
)
"""What the loop reads from a checkout's stage files."""


def trained_stages(train_stage: str) -> tuple[str, ...]:
    """``all`` → the three, ``none`` → nothing, a stage → itself."""
    if train_stage == "all":
        return STAGES
    return () if train_stage == "none" else (check_stage(train_stage),)


class Layers:
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

    def read_checkout(self, profile_path: Path, configs: Path) -> None:
        """The profile's own numbers and its gate, and from the checkout's files what the loop has to know of them.

        Of a checkout's keys only those of ``CHECKOUT_KEYS`` are read: the others are its own business.
        """
        for key, value in read_leaves(profile_path, field_paths(ProfileConfig)).items():
            self.put(f"profile.{key}", value, f"profile {shown_path(profile_path, self.root)}")
        gate = profile_path.parent / "inference.yaml"
        for key, value in read_leaves(gate, field_paths(InferenceConfig)).items():
            if key not in (*LINKED_KEYS, "data_path", "preload_ratio", "device"):
                self.put(f"inference.{key}", value, shown_path(gate, self.root))
        training_path = configs / "training.yaml"
        training = {key: value for key, value in flatten(read_mapping(training_path)) if value is not None}
        for stage in STAGES:
            path = configs / f"{stage}.yaml"
            own = {key: value for key, value in flatten(read_mapping(path)) if value is not None}
            for key, value in own.items():
                if key in CHECKOUT_STAGE_KEYS:
                    self.put(f"stages.{stage}.{key}", value, shown_path(path, self.root))
                elif key in SHARED_KEYS and key not in training:
                    self.put(f"training.{key}", value, shown_path(path, self.root))
            for key in CHECKOUT_STAGE_KEYS:
                if key in training:
                    self.put(f"stages.{stage}.{key}", training[key], shown_path(training_path, self.root))
        for key in CHECKOUT_KEYS:
            if key in training:
                self.put(f"training.{key}", training[key], shown_path(training_path, self.root))

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
        if self.values.get("training.nproc_per_node") == 1 and self.values.get("options.nnodes", 1) == 1:
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

    def part(self, prefix: str) -> dict[str, Any]:
        return nested({k.removeprefix(prefix): v for k, v in self.values.items() if k.startswith(prefix)})
