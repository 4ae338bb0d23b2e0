"""A profile: which folder of settings, how much training, which thresholds (profile.yaml)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tinyworlds_gate.config.schema import Fraction, LearningRate, PositiveInt, Schema, Seed

PositiveFloat = Annotated[float, Field(gt=0.0)]
Seconds = Annotated[float, Field(gt=0.0)]


class StagePlan(Schema):
    """How a stage is cut into chunks (one launcher's life each)."""

    chunk: PositiveInt
    """Updates of one chunk; a chunk above the target is cut to it with a note."""
    target_updates: PositiveInt
    """Updates at which the stage is complete."""


class StagePlans(Schema):
    """The three plans."""

    video_tokenizer: StagePlan
    latent_actions: StagePlan
    dynamics: StagePlan


class RetryPlanConfig(Schema):
    """T5: what follows a failed inference gate."""

    chunk: PositiveInt = 2000
    """Updates added to dynamics' target by a retry."""
    init_learning_rate: LearningRate = 5e-4
    """Learning rate of the first retry (k = 0)."""
    lr_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7
    """Factor from one retry to the next."""
    lr_floor: LearningRate = 1e-6
    """Never below this."""
    max: Annotated[int, Field(ge=0)] = 2
    """Retries; 0 takes the first verdict as final."""

    @model_validator(mode="after")
    def _floor_below_start(self) -> RetryPlanConfig:
        if self.lr_floor > self.init_learning_rate:
            raise ValueError(
                f"lr_floor {self.lr_floor:g} lies above init_learning_rate {self.init_learning_rate:g}; lower the floor"
            )
        return self


class VideoTokenizerGate(Schema):
    """S1."""

    continue_loss: PositiveFloat = 0.01
    watch_loss: PositiveFloat = 0.02
    late_over_middle: PositiveFloat = 1.05
    """Largest mean of the last third over that of the middle third."""


class LatentActionsGate(Schema):
    """S2."""

    continue_loss: PositiveFloat = 0.06
    watch_loss: PositiveFloat = 0.1
    min_unique_actions: PositiveInt = 2
    min_action_entropy_nats: Annotated[float, Field(ge=0.0)] = 0.4


class DynamicsGate(Schema):
    """S3."""

    diverged_loss: PositiveFloat = 6.0
    """From here on a rising loss is a retune at once."""
    continue_loss: PositiveFloat = 5.0
    continue_late_over_middle: PositiveFloat = 1.02
    continue_rise: float = 0.2
    """Largest (mean of the last 10 % - mean of the first 10 %)."""
    watch_late_over_middle: PositiveFloat = 1.08
    watch_rise: float = 0.5


class StageGates(Schema):
    """S5: the thresholds of the stage gates; the numbers of closed-loop.md unless the profile states its own."""

    video_tokenizer: VideoTokenizerGate = VideoTokenizerGate()
    latent_actions: LatentActionsGate = LatentActionsGate()
    dynamics: DynamicsGate = DynamicsGate()


class Thresholds(Schema):
    """What the gates ask for; printed with every verdict."""

    max_mse: PositiveFloat = 0.03
    """G5, frames in [0, 1], generated frames only."""
    min_episodes: PositiveInt | None = 5
    """Measured clips must come from so many episodes; the interval is resampled over them."""
    require_mse_upper: bool = False
    """The upper end of the 95 % interval must be at most max_mse too."""
    require_upper_below_mean_frame: bool = False
    """The upper end of the error's interval must lie below the error of always answering the mean training frame."""
    require_skill: bool = False
    """The model must beat copying the last context frame (skill > 0)."""
    min_delta_psnr_db: float | None = None
    """PSNR with inferred actions minus PSNR with random ones, dB; null shows it only."""
    min_action_codes: PositiveInt | None = None
    """Action codes in use (at 2 % of the transitions or more); null shows it only."""
    stage_gates: StageGates = StageGates()


class DataPlan(Schema):
    """The generated dataset and its split by episode."""

    num_frames: PositiveInt
    """Frames to generate when the dataset is the embedded game and no file is there."""
    episode_length: PositiveInt
    """Frames of an episode, at most."""
    seed: Seed = 0
    """Of the generated game."""
    held_out_fraction: Fraction = 0.1
    split_seed: Seed = 0


class GatePlan(Schema):
    """Settings of the inference run that this profile sets over inference.yaml; null leaves inference.yaml's."""

    clips: PositiveInt | None = None
    context: PositiveInt | None = None
    generation_steps: PositiveInt | None = None
    prediction_horizon: PositiveInt | None = None
    decode_steps: PositiveInt | None = None
    temperature: Annotated[float, Field(ge=0.0)] | None = None
    evaluation_file: str | None = None
    """A fixed evaluation set (docs/gate.md): its own `clip_starts` give the final verdict; attempts stay on draw 1."""


class Watchdog(Schema):
    """Deadlines of the child processes, seconds."""

    stall_s: Seconds = 900.0
    """No update for so long: the workers hang."""
    chunk_deadline_s: Seconds = 86400.0
    node_silence_s: Seconds = 120.0
    """Another machine gave no sign of life on the shared storage for so long: it is lost."""
    node_wait_s: Seconds = 3600.0
    """How long a run waits for a machine before a chunk, and a machine for its run."""
    inference_deadline_s: Seconds = 3600.0


class ProfileConfig(Schema):
    """profile.yaml."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    kind: Literal["smoke", "longrun"]
    description: str
    seed: Seed = 0
    """Seed of training and rollout; --seed replaces it."""
    stages: StagePlans
    retry: RetryPlanConfig = RetryPlanConfig()
    max_train_retries: Annotated[int, Field(ge=0)] = 5
    """Retunes of one stage before the run gives up."""
    thresholds: Thresholds = Thresholds()
    data: DataPlan
    gate: GatePlan = GatePlan()
    watchdog: Watchdog = Watchdog()
    require_not_run_free: bool
    """A requirement that was not run makes pytest exit non-zero (long runs)."""
