"""Target: the scripts, configs and log lines of the TinyWorlds project under validation."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, field_validator

from tinyworlds_gate.config.schema import Schema
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.layout import check_stage
from tinyworlds_gate.targets.capabilities import CAPABILITIES, EMBEDDED, FORK, ORIGINAL, Capabilities, Reading
from tinyworlds_gate.targets.log_lines import LogPatterns


def _inside(text: str) -> str:
    if not text or text.startswith(("/", "~")) or ".." in text.split("/"):
        raise ValueError("it must be a path inside the checkout: relative, without `..`")
    return text


RelativePath = Annotated[str, AfterValidator(_inside)]
"""A path inside the checkout."""


class TargetLayout(Schema):
    """File locations of a target, relative to its root; ``NG_RUN_ROOT_DIR`` is the run's folder."""

    frames: RelativePath = "data/{dataset}_frames.h5"
    """``{dataset}``: the dataset's name in lower case."""
    pictures: RelativePath = "inference_results/inference_results_gt_vs_pred_*.png"
    checkpoint: RelativePath = "{stage}/checkpoints/{stage}_step_{step}"
    """Below the run's folder; ``{stage}`` is the target's own name of the stage."""
    visualizations: RelativePath = "{stage}/visualizations"
    """Below the run's folder."""

    @field_validator("frames", "checkpoint", "visualizations")
    @classmethod
    def _fields_are_known(cls, text: str, info: Any) -> str:
        allowed = {"frames": {"dataset"}, "checkpoint": {"stage", "step"}, "visualizations": {"stage"}}[info.field_name]
        named = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        if named != allowed:
            raise ValueError(f"it must name {' and '.join(f'{{{name}}}' for name in sorted(allowed))} and nothing else")
        return text


@dataclass(frozen=True)
class TargetArguments:
    """Changes to the contract's ``key=value`` arguments for this target, and its environment variables."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    """The contract's key → the target's own."""
    training: Mapping[str, object] = field(default_factory=dict)
    """Additional arguments of every stage; they take precedence."""
    inference: Mapping[str, object] = field(default_factory=dict)
    """Additional arguments of its inference; they take precedence."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """One project under validation.

    Processes start in ``root``, with ``import_paths`` at the front of PYTHONPATH. ``shared_scripts``: other projects
    run the same script files (the embedded reference is installed once), so a process is assigned to this project by
    its working directory as well. The loop works around or reports the capabilities that are missing in ``can``.
    """

    kind: str
    root: Path
    python: Path
    stage_scripts: Mapping[str, Path]
    inference_script: Path
    config_dir: Path
    probe_script: Path | None = None
    """Generates frames again without the true future (`reference/rollout/probe.py`); None for a checkout."""
    stage_modules: Mapping[str, str] = field(default_factory=dict)
    import_paths: tuple[Path, ...] = ()
    shared_scripts: bool = False
    can: Capabilities = CAPABILITIES[EMBEDDED]
    patterns: LogPatterns = field(default_factory=LogPatterns)
    layout: TargetLayout = field(default_factory=TargetLayout)
    arguments: TargetArguments = TargetArguments()
    stage_names: Mapping[str, str] = field(default_factory=dict)
    """Stage → the target's own name, if it differs."""
    settings_files: Mapping[str, Path] = field(default_factory=dict)
    """Name (``training``, ``inference`` or a stage) → its settings file, if it is not ``<name>.yaml`` in config_dir."""
    readings: tuple[Reading, ...] = ()
    """What the checkout's code shows, with the lines."""
    resuming: frozenset[str] | None = None
    """Stages that continue a checkpoint, if not all stages do the same; None: as ``can.resumes``."""
    kind_reason: str = ""
    """The kind and how it was detected, for people."""

    def __post_init__(self) -> None:
        missing = [stage for stage in STAGES if stage not in self.stage_scripts]
        if missing:
            raise ConfigError(f"Target {self.kind!r} names no script for {', '.join(missing)}.")

    @property
    def is_checkout(self) -> bool:
        """Whether it is an external TinyWorlds checkout, which the harness runs and never changes."""
        return self.kind in (ORIGINAL, FORK)

    def resumes(self, stage: str) -> bool:
        """Whether a stage continues at a checkpoint's step, with its optimizer (H7)."""
        return self.can.resumes if self.resuming is None else stage in self.resuming

    def limits(self) -> tuple[str, ...]:
        """Return one sentence per missing capability: what is missing and what the harness does instead."""
        limits = self.can.limits()
        if self.resuming and not self.can.resumes:
            apart = (
                f"(this is not so for {', '.join(stage for stage in STAGES if stage in self.resuming)}, which resumes)"
            )
            return (f"{limits[0]} {apart}", *limits[1:])
        return limits

    def reading(self, name: str) -> Reading | None:
        """Return what the code shows of a name, or None."""
        return next((one for one in self.readings if one.name == name), None)

    def stage_script(self, stage: str) -> Path:
        return self.stage_scripts[check_stage(stage)]

    def stage_config(self, stage: str) -> Path:
        return self.settings_file(check_stage(stage))

    def settings_file(self, name: str) -> Path:
        """Return the settings file of a stage, ``training`` or ``inference``."""
        return self.settings_files.get(name, self.config_dir / f"{name}.yaml")

    def frames_file(self, dataset: str) -> Path:
        """Return the path of the frames that its stages train on."""
        return self.root / self.layout.frames.format(dataset=dataset.lower())

    @property
    def training_config(self) -> Path:
        return self.settings_file("training")

    @property
    def inference_config(self) -> Path:
        return self.settings_file("inference")

    def check_files(self) -> None:
        """Raise ``ConfigError`` listing every missing script and config file."""
        stages = [path for stage in STAGES for path in (self.stage_script(stage), self.stage_config(stage))]
        needed = [*stages, self.training_config, self.inference_script, self.inference_config]
        absent = [str(path) for path in needed if not path.is_file()]
        if absent:
            raise ConfigError(
                f"The {self.kind} target in {self.root} lacks {len(absent)} of its files: {', '.join(absent)}. "
                "Restore them, or name another config folder or project."
            )
