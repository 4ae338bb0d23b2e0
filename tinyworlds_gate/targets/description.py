"""Schema of the YAML file that describes a fork with other names (docs/external-checkouts.md).

An unknown key is an error that suggests the nearest known one. Nothing in the file is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tinyworlds_gate.config.schema import Schema
from tinyworlds_gate.config.yaml_io import read_mapping, validate_tree
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.base import RelativePath, TargetLayout
from tinyworlds_gate.targets.capabilities import Capabilities
from tinyworlds_gate.targets.log_lines import LogPatterns

Key = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
Plain = bool | int | float | str | None


class ScriptsDescription(Schema):
    """The entry points, relative to the checkout's root."""

    video_tokenizer: RelativePath = "scripts/train_video_tokenizer.py"
    latent_actions: RelativePath = "scripts/train_latent_actions.py"
    dynamics: RelativePath = "scripts/train_dynamics.py"
    inference: RelativePath = "scripts/run_inference.py"


class SettingsDescription(Schema):
    """The settings files, relative to the checkout's root, if they are not ``<name>.yaml`` in ``configs``."""

    training: RelativePath | None = None
    video_tokenizer: RelativePath | None = None
    latent_actions: RelativePath | None = None
    dynamics: RelativePath | None = None
    inference: RelativePath | None = None


class OverridesDescription(Schema):
    """Arguments added to the command lines; they take precedence over those of the harness."""

    training: dict[Key, Plain] = Field(default_factory=dict)
    inference: dict[Key, Plain] = Field(default_factory=dict)


class StageNames(Schema):
    """The fork's own stage names, as in its checkpoint folders and logs."""

    video_tokenizer: str | None = None
    latent_actions: str | None = None
    dynamics: str | None = None


class CapabilitiesDescription(Schema):
    """Differences from the kind that the fork is based on; the fields of ``Capabilities``."""

    resumes: bool | None = None
    saves_last_update: bool | None = None
    schedule_has_its_own_end: Literal[False] | None = None
    heartbeats: Literal[False] | None = None
    stack_dumps: Literal[False] | None = None
    writes_history: Literal[False] | None = None
    trains_without_wandb: bool | None = None
    prunes_checkpoints: Literal[False] | None = None
    holds_out_clips: Literal[False] | None = None
    seeds_inference: bool | None = None
    infers_actions: bool | None = None
    states_generated_error: bool | None = None
    takes_checkpoint_folders: bool | None = None
    saves_on_one_rank: bool | None = None
    distributes_on_cpu: bool | None = None


class TargetDescription(Schema):
    """The whole file; only ``kind``, which the fork is based on, is required."""

    kind: Literal["tinyworlds", "tinyworlds-fork"]
    name: str | None = None
    """Shown beside the kind."""
    configs: RelativePath = "configs"
    """The folder with training.yaml, a file a stage, and inference.yaml."""
    settings: SettingsDescription = SettingsDescription()
    scripts: ScriptsDescription = ScriptsDescription()
    stages: StageNames = StageNames()
    renamed: dict[Key, Key] = Field(default_factory=dict)
    """The contract's key → the fork's own, for example ``n_updates: max_steps``."""
    overrides: OverridesDescription = OverridesDescription()
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str] = Field(default_factory=dict)
    layout: TargetLayout = TargetLayout()
    patterns: LogPatterns = LogPatterns()
    capabilities: CapabilitiesDescription = CapabilitiesDescription()

    def capabilities_of(self, of_kind: Capabilities, read: Mapping[str, bool]) -> Capabilities:
        """Return the kind's capabilities, replaced by those read from the code and by those of this file."""
        return Capabilities(**vars(of_kind) | dict(read) | self.capabilities.model_dump(exclude_none=True))

    def stage_names(self) -> dict[str, str]:
        """Return stage → the fork's own name, if it differs."""
        return {stage: name for stage in STAGES if (name := getattr(self.stages, stage)) is not None}


def read_description(path: Path) -> TargetDescription:
    """Read a description from a file.

    Raises:
        ConfigError: the file is missing or malformed, a key is unknown, or a value is not allowed.
    """
    return validate_tree(TargetDescription, read_mapping(path), f"--target-file {path}")
