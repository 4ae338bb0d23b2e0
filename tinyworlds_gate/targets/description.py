"""A YAML that describes a fork which renamed things: scripts, words, patterns, layout (docs/external-checkouts.md).

Unknown keys are refused with the nearest known one; nothing in the file is executed.
"""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from tinyworlds_gate.config.schema import Schema
from tinyworlds_gate.config.yaml_io import read_mapping, validated
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.base import TargetLayout
from tinyworlds_gate.targets.capabilities import Capabilities
from tinyworlds_gate.targets.log_lines import GROUPS, LogPatterns


def _inside(text: str) -> str:
    if not text or text.startswith(("/", "~")) or ".." in text.split("/"):
        raise ValueError("it must be a path inside the checkout: relative, without `..`")
    return text


RelativePath = Annotated[str, AfterValidator(_inside)]
"""Inside the checkout."""
Key = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
Plain = bool | int | float | str | None


class ScriptsDescription(Schema):
    """The entry points, relative to the checkout's root."""

    video_tokenizer: RelativePath = "scripts/train_video_tokenizer.py"
    latent_actions: RelativePath = "scripts/train_latent_actions.py"
    dynamics: RelativePath = "scripts/train_dynamics.py"
    inference: RelativePath = "scripts/run_inference.py"


class OverridesDescription(Schema):
    """Words that are added to the command lines; they win over those of the harness."""

    training: dict[Key, Plain] = Field(default_factory=dict)
    inference: dict[Key, Plain] = Field(default_factory=dict)


class StageNames(Schema):
    """The fork's own names of the stages, as its checkpoint folders and logs use them."""

    video_tokenizer: str | None = None
    latent_actions: str | None = None
    dynamics: str | None = None


class LayoutDescription(Schema):
    """Where its files lie; see ``TargetLayout``."""

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
            raise ValueError(f"it is no regular expression ({error})") from error
        missing = [name for name in GROUPS.get(info.field_name, ()) if name not in groups]
        if missing:
            raise ValueError(f"it lacks the named group(s) {', '.join(f'(?P<{name}>…)' for name in missing)}")
        return text


class CapabilitiesDescription(Schema):
    """What differs from the kind that the fork is based on; the fields of ``Capabilities``."""

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


class TargetDescription(Schema):
    """The whole file; everything may be left out but the kind that the fork is based on."""

    kind: Literal["tinyworlds", "tinyworlds-fork"]
    name: str | None = None
    """Shown beside the kind."""
    configs: RelativePath = "configs"
    """The folder with training.yaml, a file a stage, and inference.yaml."""
    scripts: ScriptsDescription = ScriptsDescription()
    stages: StageNames = StageNames()
    renamed: dict[Key, Key] = Field(default_factory=dict)
    """The contract's key → the fork's own, such as ``n_updates: max_steps``."""
    overrides: OverridesDescription = OverridesDescription()
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], str] = Field(default_factory=dict)
    layout: LayoutDescription = LayoutDescription()
    patterns: PatternsDescription = PatternsDescription()
    capabilities: CapabilitiesDescription = CapabilitiesDescription()

    def capable(self, of_kind: Capabilities) -> Capabilities:
        """The kind's capabilities with what the file says instead."""
        return Capabilities(**vars(of_kind) | self.capabilities.model_dump(exclude_none=True))

    def stage_names(self) -> dict[str, str]:
        """Stage → the fork's own name, where it has another."""
        return {stage: name for stage in STAGES if (name := getattr(self.stages, stage)) is not None}


def read_description(path: Path) -> TargetDescription:
    """The description in a file.

    Raises:
        ConfigError: it is missing or malformed, a key is unknown, or a value is not allowed; each with its place.
    """
    return validated(TargetDescription, read_mapping(path), f"--target-file {path}")
