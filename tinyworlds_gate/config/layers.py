"""Precedence of settings (P1): values with sources by dotted key, filled from the lowest layer to the highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.alignment import effective_backbone
from tinyworlds_gate.config.cli_options import OPTION_NAMED, option_flag
from tinyworlds_gate.config.options import LoopOptions
from tinyworlds_gate.config.profile import ProfileConfig
from tinyworlds_gate.config.profile_files import display_path
from tinyworlds_gate.config.schema import STAGE_SCHEMAS, InferenceConfig, StageConfig, TrainingConfig
from tinyworlds_gate.config.stage_config import DEFAULT_SOURCE, check_stage, read_leaves
from tinyworlds_gate.config.yaml_io import did_you_mean, field_paths, flatten, read_mapping, unflatten
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import BACKBONE_KEYS, SHARED_KEYS, STAGES

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
"""Profile key → the config keys whose values it replaces."""

LINKED_KEYS = ("dataset", "fps", "held_out_fraction", "split_seed")
"""Keys that must have the same value in training and inference; otherwise held-out clips would not be held out."""

OF_ANOTHER_GAME = (
    "training.data_path",
    "inference.data_path",
    "profile.gate.evaluation_file",
    "inference.evaluation_file",
)
"""Files that a settings file names for its own dataset; ``--dataset`` leaves them out."""

NOT_OF_GATE = (*LINKED_KEYS, "data_path", "preload_ratio", "device")
"""Keys of inference.yaml that the profile does not set for a checkout."""

CHECKOUT_KEYS = (*SHARED_KEYS, "dataset", "fps", "device", "nproc_per_node", "compile", "use_wandb", "wandb_project")
"""Keys that the loop reads from a checkout's training.yaml."""

CHECKOUT_STAGE_KEYS = (
    "batch_size_per_gpu",
    "gradient_accumulation_steps",
    "n_updates",
    "learning_rate",
    "log_interval",
)
"""Keys that the loop reads from a checkout's stage files."""


@dataclass(frozen=True)
class CheckoutSettings:
    """The settings files of a checkout by the contract's names, and the words that ``--target-file`` adds (§2)."""

    files: Mapping[str, Path]
    """``training.yaml``, ``<stage>.yaml`` and ``inference.yaml`` → path."""
    words: Mapping[str, Any]
    """The contract's key → value on the command line of every stage."""


def trained_stages(train_stage: str) -> tuple[str, ...]:
    """Return the stages that ``--train-stage`` selects: ``all``, ``none`` or one stage."""
    if train_stage == "all":
        return STAGES
    return () if train_stage == "none" else (check_stage(train_stage),)


class Layers:
    """Settings and their sources by dotted key; a later call replaces values of an earlier one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.notes: list[str] = []
        self.backbones: dict[str, dict[str, Any]] = {}
        self.known = [
            *(f"profile.{key}" for key in field_paths(ProfileConfig)),
            *(f"training.{key}" for key in field_paths(TrainingConfig)),
            *(f"stages.{stage}.{key}" for stage in STAGES for key in field_paths(STAGE_SCHEMAS[stage])),
            *(f"inference.{key}" for key in field_paths(InferenceConfig)),
            *(f"options.{key}" for key in field_paths(LoopOptions)),
        ]

    def put(self, key: str, value: Any, source: str) -> None:
        """Set a value and its source."""
        self.values[key] = value
        self.sources[key] = source

    def _put_all(self, prefix: str, values: Mapping[str, Any], file: Path) -> None:
        """Set values below a prefix; their source is the file."""
        for key, value in values.items():
            self.put(prefix + key, value, display_path(file, self.root))

    def _read_profile(self, path: Path) -> None:
        for key, value in read_leaves(path, field_paths(ProfileConfig)).items():
            self.put(f"profile.{key}", value, f"profile {display_path(path, self.root)}")

    def add_resumed(self, values: Mapping[str, Any]) -> None:
        """Add values read from a resumed checkpoint.

        Raises:
            ConfigError: a key is unknown.
        """
        for key, value in values.items():
            if key not in self.known:
                raise ConfigError(f"resumed state: unknown key `{key}`.{did_you_mean(key, self.known)}")
            self.put(key, value, "resumed checkpoint")

    def read_files(self, profile_path: Path) -> None:
        """Add profile.yaml and the five settings files beside it.

        Raises:
            ConfigError: a file is malformed, a key is unknown, or a shared key is in a stage file only.
        """
        folder = profile_path.parent
        training_keys = field_paths(TrainingConfig)
        self._read_profile(profile_path)
        training_path = folder / "training.yaml"
        training = read_leaves(training_path, training_keys + field_paths(StageConfig))
        for stage in STAGES:
            path = folder / f"{stage}.yaml"
            leaves = read_leaves(path, training_keys + field_paths(STAGE_SCHEMAS[stage]))
            for key, value in leaves.items():
                if key not in training_keys:
                    self.put(f"stages.{stage}.{key}", value, display_path(path, self.root))
                elif key in SHARED_KEYS and key not in training:
                    # Older TinyWorlds configs have the backbone in the stage files; C2 checks that they agree.
                    self.put(f"training.{key}", value, display_path(path, self.root))
                elif key not in training:
                    raise ConfigError(f"{path}: `{key}` is shared by the stages; move it to {training_path}.")
        shared = _only(training_keys, training)
        self._put_all("training.", shared, training_path)
        for stage in STAGES:
            own = {key: value for key, value in training.items() if key not in shared}
            self._put_all(f"stages.{stage}.", own, training_path)
        inference_path = folder / "inference.yaml"
        self._put_all("inference.", read_leaves(inference_path, field_paths(InferenceConfig)), inference_path)

    def read_checkout(self, profile_path: Path, checkout: CheckoutSettings) -> None:
        """Add profile.yaml, the profile's inference.yaml, and the keys that the loop needs from a checkout's configs.

        Other keys of the checkout (not in ``CHECKOUT_KEYS`` or ``CHECKOUT_STAGE_KEYS``) are ignored. A backbone key
        that training.yaml lacks is the tokenizer's (C2); ``backbones`` holds what each stage trains with by itself.
        """
        self._read_profile(profile_path)
        gate = profile_path.parent / "inference.yaml"
        of_gate = [key for key in field_paths(InferenceConfig) if key not in NOT_OF_GATE]
        self._put_all("inference.", _only(of_gate, read_leaves(gate, field_paths(InferenceConfig))), gate)
        training_path = checkout.files["training.yaml"]
        training = {key: value for key, value in flatten(read_mapping(training_path)) if value is not None}
        for stage in reversed(STAGES):  # the tokenizer's file comes last, so that its backbone counts
            path = checkout.files[f"{stage}.yaml"]
            own = {key: value for key, value in flatten(read_mapping(path)) if value is not None}
            self.backbones[stage] = {**effective_backbone(training, own), **_only(BACKBONE_KEYS, checkout.words)}
            self._put_all(f"stages.{stage}.", _only(CHECKOUT_STAGE_KEYS, own), path)
            self._put_all("training.", _only([key for key in SHARED_KEYS if key not in training], own), path)
            self._put_all(f"stages.{stage}.", _only(CHECKOUT_STAGE_KEYS, training), training_path)
        self._put_all("training.", _only(CHECKOUT_KEYS, training), training_path)
        for key, value in _only(CHECKOUT_KEYS, checkout.words).items():
            self.put(f"training.{key}", value, "--target-file")

    def apply_profile(self) -> None:
        """Replace config values by the profile's (``PROFILE_TO_CONFIG``)."""
        for key, targets in PROFILE_TO_CONFIG.items():
            if self.values.get(key) is not None:
                for target in targets:
                    self.put(target, self.values[key], self.sources[key])

    def add_explicit(self, explicit: Mapping[str, Any]) -> None:
        """Add command-line options by name.

        Raises:
            ConfigError: an option is unknown.
        """
        stages = trained_stages(explicit.get("train_stage", "all"))
        if "dataset" in explicit:
            self._leave_out_other_files(str(explicit["dataset"]))
        for name in explicit:
            if name not in OPTION_NAMED:
                raise ConfigError(f"Unknown option `{option_flag(name)}`.{did_you_mean(name, list(OPTION_NAMED))}")
        # The general forms first, so that `--video-init-batch-size` replaces what `--init-batch-size` set.
        for option in sorted((OPTION_NAMED[name] for name in explicit), key=lambda option: not option.is_general):
            for key in option.keys_of(stages):
                self.put(key, explicit[option.name], f"option {option.flag}")

    def _leave_out_other_files(self, dataset: str) -> None:
        """Unset the files of the dataset that the settings files name, with a note for each."""
        same = str(self.values.get("training.dataset")).upper() == dataset.upper()
        for key in OF_ANOTHER_GAME:
            value, name = self.values.get(key), key.rpartition(".")[2]
            if value is None or (same and name == "evaluation_file"):
                continue
            if not key.startswith("profile."):
                self.notes.append(f"--dataset {dataset}: {name}={value} ({self.sources[key]}) is left out.")
            self.put(key, None, "option --dataset")

    def derive(self) -> None:
        """Compute values that depend on others.

        Raises:
            ConfigError: training and inference disagree on a key of ``LINKED_KEYS``.
        """
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
            self._limit_chunk(stage)

    def _link(self, key: str) -> None:
        inference, training = f"inference.{key}", f"training.{key}"
        value = self.values.get(training, TrainingConfig.model_fields[key].default)
        source = self.sources.get(training, DEFAULT_SOURCE)
        if inference in self.values and self.values[inference] != value:
            raise ConfigError(
                f"{self.sources[inference]} sets {key} = {self.values[inference]!r}, but training uses {value!r} "
                f"({source}): the gate would not measure the held-out clips. "
                f"Set both to the same value, or remove {key} from inference.yaml."
            )
        self.put(inference, value, self.sources.get(inference) or source)

    def _limit_chunk(self, stage: str) -> None:
        chunk_key, target_key = f"profile.stages.{stage}.chunk", f"profile.stages.{stage}.target_updates"
        chunk, target = self.values.get(chunk_key), self.values.get(target_key)
        if isinstance(chunk, int) and isinstance(target, int) and chunk > target >= 1:
            self.notes.append(
                f"{stage}: a chunk of {chunk} updates ({self.sources[chunk_key]}) is more than the target of {target} "
                f"({self.sources[target_key]}); one chunk of {target} is trained."
            )
            self.put(chunk_key, target, f"cut to the target, {self.sources[target_key]}")

    def part(self, prefix: str) -> dict[str, Any]:
        """Return the values below a prefix as nested mappings."""
        return unflatten({k.removeprefix(prefix): v for k, v in self.values.items() if k.startswith(prefix)})


def _only(keys: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in keys if key in values}
