"""Schema of the YAML file that describes a fork with other names (docs/external-checkouts.md).

An unknown key is an error that suggests the nearest known one. Nothing in the file is executed.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from tinyworlds_gate.config.schema import Schema
from tinyworlds_gate.config.yaml_io import read_mapping, validate_tree
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.base import TargetLayout
from tinyworlds_gate.targets.capabilities import Capabilities
from tinyworlds_gate.targets.log_lines import GROUPS, LogPatterns


def _inside(text: str) -> str:
    if not text or text.startswith(("/", "~")) or ".." in text.split("/"):
        raise ValueError("it must be a path inside the checkout: relative, without `..`")
    return text


RelativePath = Annotated[str, AfterValidator(_inside)]
"""A path inside the checkout."""
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


class LayoutDescription(Schema):
    """File locations; see ``TargetLayout``."""

    frames: RelativePath = TargetLayout.frames
    pictures: RelativePath = TargetLayout.pictures
    checkpoint: RelativePath = TargetLayout.checkpoint
    visualizations: RelativePath = TargetLayout.visualizations

    @field_validator("frames", "checkpoint", "visualizations")
    @classmethod
    def _fields_are_known(cls, text: str, info: Any) -> str:
        allowed = {"frames": {"dataset"}, "checkpoint": {"stage", "step"}, "visualizations": {"stage"}}[info.field_name]
        named = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        if named != allowed:
            raise ValueError(f"it must name {' and '.join(f'{{{name}}}' for name in sorted(allowed))} and nothing else")
        return text


class PatternsDescription(Schema):
    """Regular expressions for whole log lines; see ``LogPatterns``."""

    checkpoint: str = LogPatterns.checkpoint
    frame: str = LogPatterns.frame
    stats: str = LogPatterns.stats
    mse: str = LogPatterns.mse
    mse_with_context: str = LogPatterns.mse_with_context
    random_actions: str = LogPatterns.random_actions
    progress: str = LogPatterns.progress
    loss: str = LogPatterns.loss

    @field_validator("*")
    @classmethod
    def _compiles_with_its_groups(cls, text: str, info: Any) -> str:
        try:
            groups = re.compile(text).groupindex
        except re.error as error:
            raise ValueError(f"it is not a regular expression ({error})") from error
        missing = [name for name in GROUPS.get(info.field_name, ()) if name not in groups]
        if missing:
            raise ValueError(f"it lacks the named group(s) {', '.join(f'(?P<{name}>…)' for name in missing)}")
        return text


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
    layout: LayoutDescription = LayoutDescription()
    patterns: PatternsDescription = PatternsDescription()
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
