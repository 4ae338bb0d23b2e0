"""Schema of profile.yaml: training budget, retries, thresholds, data, inference and deadlines of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tinyworlds_gate.config.schema import Fraction, LearningRate, PositiveFloat, PositiveInt, Schema, Seed
from tinyworlds_gate.config.thresholds import GateThresholds

Seconds = PositiveFloat


class StagePlan(Schema):
    """Training budget of a stage and its split into chunks; each chunk is one launch of torchrun."""

    chunk: PositiveInt
    """Updates of one chunk; limited to the target, with a note."""
    target_updates: PositiveInt
    """Absolute update at which the stage is complete."""


class StagePlans(Schema):
    """A plan for each stage."""

    video_tokenizer: StagePlan
    latent_actions: StagePlan
    dynamics: StagePlan


class RetryPlanConfig(Schema):
    """T5: retraining of dynamics after a failed inference gate."""

    chunk: PositiveInt = 2000
    """Updates added to dynamics' target by a retry."""
    init_learning_rate: LearningRate = 5e-4
    """Learning rate of the first retry (k = 0)."""
    lr_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7
    """Factor from one retry to the next."""
    lr_floor: LearningRate = 1e-6
    """Lower bound of the learning rate."""
    max: Annotated[int, Field(ge=0)] = 2
    """Largest number of retries; with 0 the first verdict is final."""

    @model_validator(mode="after")
    def _floor_below_start(self) -> RetryPlanConfig:
        if self.lr_floor > self.init_learning_rate:
            raise ValueError(
                f"lr_floor {self.lr_floor:g} is above init_learning_rate {self.init_learning_rate:g}; lower the floor"
            )
        return self


class VideoTokenizerGate(Schema):
    """S1: losses of the video tokenizer."""

    continue_loss: PositiveFloat = 0.01
    watch_loss: PositiveFloat = 0.02
    late_over_middle: PositiveFloat = 1.05
    """Largest ratio of the last third's mean loss to the middle third's."""


class LatentActionsGate(Schema):
    """S2: losses and action codes of the latent-action model."""

    continue_loss: PositiveFloat = 0.06
    watch_loss: PositiveFloat = 0.1
    min_unique_actions: PositiveInt = 2
    min_action_entropy_nats: Annotated[float, Field(ge=0.0)] = 0.4


class DynamicsGate(Schema):
    """S3: losses of dynamics."""

    diverged_loss: PositiveFloat = 6.0
    """At or above this loss, a rising loss triggers a retune immediately."""
    continue_loss: PositiveFloat = 5.0
    continue_late_over_middle: PositiveFloat = 1.02
    continue_rise: float = 0.2
    """Largest (mean of the last 10 % - mean of the first 10 %)."""
    watch_late_over_middle: PositiveFloat = 1.08
    watch_rise: float = 0.5


class StageGates(Schema):
    """S5: thresholds of the stage gates; the defaults are those of docs/requirements.md."""

    video_tokenizer: VideoTokenizerGate = VideoTokenizerGate()
    latent_actions: LatentActionsGate = LatentActionsGate()
    dynamics: DynamicsGate = DynamicsGate()


class Thresholds(GateThresholds):
    """Thresholds of the inference gate and of the stage gates; printed with every verdict."""

    stage_gates: StageGates = StageGates()


class DataPlan(Schema):
    """The generated dataset, and the split into training and held-out episodes."""

    num_frames: PositiveInt
    """Frames to generate if the dataset is the embedded game and its file is missing."""
    episode_length: PositiveInt
    """Largest number of frames of an episode."""
    seed: Seed = 0
    """Seed of the generated game."""
    held_out_fraction: Fraction = 0.1
    split_seed: Seed = 0


class GatePlan(Schema):
    """Settings of the inference run that replace those of inference.yaml; null leaves a value unchanged."""

    clips: PositiveInt | None = None
    context: PositiveInt | None = None
    generation_steps: PositiveInt | None = None
    prediction_horizon: PositiveInt | None = None
    decode_steps: PositiveInt | None = None
    temperature: Annotated[float, Field(ge=0.0)] | None = None
    evaluation_file: str | None = None
    """A fixed evaluation set (docs/gate.md): the final verdict uses its `clip_starts`; attempts still use draw 1."""


class LongRolloutPlan(Schema):
    """Long rollouts of held-out clips at the end of the run (docs/horizon.md); they judge nothing."""

    steps: Annotated[int, Field(ge=0)] = 0
    """Frames after the context, fewer where the held-out episodes are shorter; 0 takes no long rollouts."""
    clips: PositiveInt = 64
    """Held-out clips, at most."""


class PoliciesPlan(Schema):
    """Scripted policies in the model and in the true game at the end of the run (docs/horizon.md)."""

    steps: Annotated[int, Field(ge=0)] = 0
    """Steps of a policy; 0 ranks no policies."""
    starts: PositiveInt = 32
    """Held-out states to start from, at most."""


class Watchdog(Schema):
    """Deadlines of the child processes, in seconds."""

    stall_s: Seconds = 900.0
    """Time without an update after which the workers count as hung."""
    chunk_deadline_s: Seconds = 86400.0
    node_silence_s: Seconds = 120.0
    """Time without a heartbeat on the shared storage after which another node counts as lost."""
    node_wait_s: Seconds = 3600.0
    """How long node 0 waits for the other nodes before a chunk, and another node for node 0's run."""
    inference_deadline_s: Seconds = 3600.0


class ProfileConfig(Schema):
    """Contents of profile.yaml."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    kind: Literal["smoke", "longrun"]
    description: str
    seed: Seed = 0
    """Seed of training and rollout; overridden by --seed."""
    judges_model: bool = True
    """Whether a pass says something about the model; false: its headline is "PASS (loop only)", shown in amber."""
    stages: StagePlans
    retry: RetryPlanConfig = RetryPlanConfig()
    max_train_retries: Annotated[int, Field(ge=0)] = 5
    """Retunes of one stage before the run fails."""
    thresholds: Thresholds = Thresholds()
    data: DataPlan
    gate: GatePlan = GatePlan()
    watchdog: Watchdog = Watchdog()
    long_rollout: LongRolloutPlan = LongRolloutPlan()
    policies: PoliciesPlan = PoliciesPlan()
    require_not_run_free: bool
    """Whether pytest exits non-zero if a requirement was not run (long runs)."""
