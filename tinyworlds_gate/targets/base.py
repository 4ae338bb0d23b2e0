"""What is being validated: the scripts, the configs and the log lines of a TinyWorlds project (tinyworlds.md §2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.run.layout import STAGES, check_stage
from tinyworlds_gate.targets.capabilities import CAPABILITIES, EMBEDDED, FORK, ORIGINAL, Capabilities
from tinyworlds_gate.targets.log_lines import LogPatterns


@dataclass(frozen=True)
class LogMarkers:
    """What the inference log must show (G2, G3, G5); ``checkpoint`` takes the stage's name."""

    checkpoint: str = "Using {stage} checkpoint:"
    frame: str = "Inferring frame"
    stats: str = "Inference stats"
    mse: str = "Mean Squared Error (GT vs Pred)"

    def checkpoint_of(self, stage: str) -> str:
        return self.checkpoint.format(stage=check_stage(stage))


@dataclass(frozen=True)
class TargetLayout:
    """Where a target keeps its files, relative to its root; a run's folder is given by ``NG_RUN_ROOT_DIR``."""

    frames: str = "data/{dataset}_frames.h5"
    """``{dataset}``: the dataset's name in lower case."""
    pictures: str = "inference_results/inference_results_gt_vs_pred_*.png"
    checkpoint: str = "{stage}/checkpoints/{stage}_step_{step}"
    """Below the run's folder; ``{stage}`` is the target's own name of the stage."""
    visualizations: str = "{stage}/visualizations"
    """Below the run's folder."""


@dataclass(frozen=True)
class Words:
    """The ``key=value`` words of a target that differ from the contract's, and its environment."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    """The contract's key → the target's own."""
    training: Mapping[str, object] = field(default_factory=dict)
    """Further words of every stage; they win."""
    inference: Mapping[str, object] = field(default_factory=dict)
    """Further words of its inference; they win."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """One project under validation.

    ``root`` is where its processes start; ``import_paths`` go to the front of their PYTHONPATH. ``shared_scripts``
    says that other projects run the same script files (the embedded reference is installed once), so that a
    process belongs to this project by where it runs, not by its script alone. What ``can`` does not name is worked
    around by the loop, or told.
    """

    kind: str
    root: Path
    python: Path
    stage_scripts: Mapping[str, Path]
    inference_script: Path
    config_dir: Path
    stage_modules: Mapping[str, str] = field(default_factory=dict)
    import_paths: tuple[Path, ...] = ()
    shared_scripts: bool = False
    markers: LogMarkers = LogMarkers()
    can: Capabilities = CAPABILITIES[EMBEDDED]
    patterns: LogPatterns = field(default_factory=LogPatterns)
    layout: TargetLayout = TargetLayout()
    words: Words = Words()
    stage_names: Mapping[str, str] = field(default_factory=dict)
    """Stage → the target's own name of it, where it has another."""
    told: str = ""
    """How the kind was found, for a person."""

    def __post_init__(self) -> None:
        missing = [stage for stage in STAGES if stage not in self.stage_scripts]
        if missing:
            raise ConfigError(f"Target {self.kind!r} names no script for {', '.join(missing)}.")

    @property
    def is_checkout(self) -> bool:
        """Whether it is somebody's TinyWorlds checkout, driven from outside and never changed."""
        return self.kind in (ORIGINAL, FORK)

    def stage_script(self, stage: str) -> Path:
        return self.stage_scripts[check_stage(stage)]

    def stage_config(self, stage: str) -> Path:
        return self.config_dir / f"{check_stage(stage)}.yaml"

    def frames_file(self, dataset: str) -> Path:
        """The frames that its stages train on."""
        return self.root / self.layout.frames.format(dataset=dataset.lower())

    @property
    def training_config(self) -> Path:
        return self.config_dir / "training.yaml"

    @property
    def inference_config(self) -> Path:
        return self.config_dir / "inference.yaml"

    def check_files(self) -> None:
        """Raise ``ConfigError`` naming every script and config file that is missing (before anything starts)."""
        stages = [path for stage in STAGES for path in (self.stage_script(stage), self.stage_config(stage))]
        needed = [*stages, self.training_config, self.inference_script, self.inference_config]
        absent = [str(path) for path in needed if not path.is_file()]
        if absent:
            raise ConfigError(
                f"The {self.kind} target in {self.root} lacks {len(absent)} of its files: {', '.join(absent)}. "
                "Restore them, or name another config folder or project."
            )
