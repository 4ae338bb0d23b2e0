"""Frozen schemas of a TinyWorlds project's settings files: training, three stages, inference.

The keys are TinyWorlds' unless their docstring starts with "Ours"; an unknown key is an error. Needs no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tinyworlds_gate.names import BACKBONE_KEYS as BACKBONE_KEYS
from tinyworlds_gate.names import EVALUATION
from tinyworlds_gate.names import SHARED_KEYS as SHARED_KEYS
from tinyworlds_gate.names import SIZE_KEYS as SIZE_KEYS

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
LearningRate = Annotated[float, Field(gt=0.0, le=1.0)]
DatasetName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")]
TokenChoice = Literal["likeliest", "nearest_mean", "mean"]


class Schema(BaseModel):
    """Frozen, strict (``"8"`` is not a number), finite numbers only, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DistributedConfig(Schema):
    """DDP and FSDP settings of the ranks of one launcher."""

    use_ddp: bool = True
    """DistributedDataParallel over the ranks; false with ``nproc_per_node=1``."""
    use_fsdp: bool = False
    """FSDP2 shards weights, gradients and moments over the ranks, block by block; without CUDA graphs."""
    reshard_after_forward: bool = True
    """FSDP only: free a block's unsharded weights between forward and backward."""
    fsdp_mixed_precision: bool = False
    """FSDP only: blocks compute in bfloat16, gradients are averaged in float32."""
    offload_policy: bool = False
    """FSDP only: a TinyWorlds key; with use_fsdp the embedded reference does not support true."""


class TrainingConfig(Schema):
    """configs/training.yaml: settings that the three stages share (docs/external-checkouts.md)."""

    dataset: DatasetName
    """The game; its frames are in data/<dataset>_frames.h5 (lower case)."""
    data_path: str | None = None
    """Ours: a frames file to use instead of data/<dataset>_frames.h5."""
    preload_ratio: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Fraction of the frames to read into memory; null reads all."""
    fps: Annotated[int, Field(ge=1, le=60)] = 15
    """Frames per second after striding a 60-fps recording (stride = 60 // fps)."""

    patch_size: PositiveInt
    """Pixels along a side of a patch; divides frame_size."""
    context_length: Annotated[int, Field(ge=2)]
    """Frames of a training clip."""
    frame_size: PositiveInt
    """Pixels along a side of a square frame."""
    latent_dim: PositiveInt
    """FSQ dimensions of a video token."""
    num_bins: Annotated[int, Field(ge=2)]
    """FSQ levels a dimension; the vocabulary is num_bins ** latent_dim."""
    n_actions: Annotated[int, Field(ge=2)]
    """Latent action codes; a power of two."""

    embed_dim: PositiveInt
    """Width of the transformers; a multiple of num_heads."""
    num_heads: PositiveInt
    """Attention heads."""
    hidden_dim: PositiveInt
    """Nominal width of the feed-forward layer; its inner width is 2/3 of this."""
    num_blocks: PositiveInt
    """Space-time blocks of each transformer."""

    device: Device = "auto"
    """auto (GPUs if there are any), cpu, cuda or cuda:N."""
    nproc_per_node: PositiveInt = 2
    """Worker processes on this machine (ranks of one launcher)."""
    standalone: bool = True
    """torchrun --standalone: one machine, a free port."""
    distributed: DistributedConfig = DistributedConfig()
    amp: bool = True
    """bfloat16 autocast, on CUDA only."""
    tf32: bool = True
    """TF32 matrix products, on CUDA only."""
    compile: bool = False
    """torch.compile of the blocks, on CUDA only."""
    cuda_graphs: bool = True
    """Ours: capture updates as CUDA graphs and replay them, on CUDA only."""

    use_wandb: bool = False
    """Log to W&B too; the local history is written always. Left out, it is true where W&B is configured."""
    wandb_project: str = "tinyworlds"

    seed: Seed = 0
    """Ours: seed of initial weights, batch order and masks."""
    held_out_fraction: Fraction = 0.1
    """Ours: fraction of the episodes that no stage trains on."""
    split_seed: Seed = 0
    """Ours: seed of the choice of held-out episodes."""
    log_every: PositiveInt = 50
    """Ours: updates between two progress lines in the log; the history has every update."""
    held_out_every: Annotated[int, Field(ge=0)] = 250
    """Ours: updates between two losses on held-out clips in the history; 0 measures none."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> TrainingConfig:
        if self.frame_size % self.patch_size:
            raise ValueError(
                f"frame_size {self.frame_size} is not a multiple of patch_size {self.patch_size}; "
                "change one of them so that whole patches cover a frame"
            )
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}; every head needs "
                "the same width"
            )
        if self.n_actions & (self.n_actions - 1):
            raise ValueError(f"n_actions {self.n_actions} is not a power of two (2, 4, 8, …)")
        return self


class StageConfig(Schema):
    """Keys of every stage file; the sizes and the backbone are in training.yaml (C1, C2)."""

    batch_size_per_gpu: PositiveInt
    """Clips of a rank in one micro-batch."""
    gradient_accumulation_steps: PositiveInt
    """Micro-batches of one update."""
    n_updates: PositiveInt
    """Absolute update at which training stops (H7: not relative to the start)."""
    learning_rate: LearningRate
    """Peak learning rate of the schedule."""
    log_interval: PositiveInt
    """Updates between two checkpoints with their visualization."""
    checkpoint: str | None = None
    """Checkpoint folder to resume from; null starts from new weights."""
    schedule_start: Annotated[int, Field(ge=0)] = 0
    """Ours: the update at which the learning-rate schedule begins."""
    schedule_end: PositiveInt | None = None
    """Ours: the update at which the schedule ends, the stage's final target; null means n_updates."""
    warmup_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    """Ours: fraction of the schedule with linear warm-up."""
    adam_beta2: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.999
    """Ours: AdamW's decay of averaged squared gradients; a lower one allows a higher learning rate. TinyWorlds: 0.999.
    """
    max_grad_norm: PositiveFloat = 1.0
    """Ours: the norm to which gradients are clipped."""
    keep_checkpoints: PositiveInt = 3
    """Ours: newest checkpoints to retain besides the gated one."""

    @model_validator(mode="after")
    def _schedule_fits(self) -> StageConfig:
        end = self.schedule_end if self.schedule_end is not None else self.n_updates
        if end < self.n_updates:
            raise ValueError(
                f"schedule_end {end} is before n_updates {self.n_updates}; the schedule must reach the last update"
            )
        if self.schedule_start >= end:
            raise ValueError(f"schedule_start {self.schedule_start} must be before the schedule's end {end}")
        return self


class VideoTokenizerConfig(StageConfig):
    """configs/video_tokenizer.yaml."""

    frame_by_frame: bool = False
    """Ours: a frame's tokens depend only on that frame; training uses single frames. TinyWorlds: false."""
    unusual_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Ours: extra loss weight of the pixels that differ from the mean frame of their batch. TinyWorlds: 0."""


class LatentActionsConfig(StageConfig):
    """configs/latent_actions.yaml."""

    frame_pairs: bool = False
    """Ours: an action depends only on the frames before and after it; training uses pairs. TinyWorlds: false."""
    antisymmetric_dims: Annotated[int, Field(ge=0)] = 0
    """Ours, with frame_pairs: number of action dims that change sign if the two frames are swapped."""
    match_patches: bool = False
    """Ours: the encoder's patches carry the offset of their best match in the frame before. TinyWorlds: false."""
    translation_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Ours: weight of the loss for misclassifying the translation that explains most of a pair's change."""
    film_std: PositiveFloat = 1e-3
    """Ours: standard deviation of the decoder's initial FiLM weights; larger ones make early actions count more."""
    code_entropy_floor: Annotated[float, Field(ge=0.0)] = 0.0
    """Ours: desired entropy of the codes of a batch, nats; at most ln n_actions."""
    code_entropy_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Ours: loss per nat below code_entropy_floor; 0 is TinyWorlds' loss."""
    changed_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Ours: extra loss weight of the pixels that change between the two frames. TinyWorlds: 0."""

    @model_validator(mode="after")
    def _pairs_where_needed(self) -> LatentActionsConfig:
        if self.antisymmetric_dims and not self.frame_pairs:
            raise ValueError(
                f"antisymmetric_dims {self.antisymmetric_dims} needs frame_pairs: true; set that, or "
                "antisymmetric_dims to 0"
            )
        return self


class DynamicsConfig(StageConfig):
    """configs/dynamics.yaml; checkpoint paths are injected at run time (C3)."""

    use_actions: bool = True
    """Condition on latent actions."""
    masking: Literal["clip", "next_frame"] = "clip"
    """Ours: clip masks tokens of all frames (TinyWorlds); next_frame predicts each frame from clean earlier ones."""
    whole_frame_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Ours, next_frame only: fraction of the frames masked entirely; of the others half to all of the tokens are."""
    context_noise: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Ours, next_frame only: largest fraction of a clip's known tokens to replace by random ones."""
    own_context: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Ours, next_frame only: fraction of a batch's clips whose context is the model's rollout after true_context
    frames."""
    true_context: PositiveInt = 3
    """Ours: true frames at the start of those clips."""
    token_choice: TokenChoice = "likeliest"
    """Ours, next_frame only: how that rollout chooses tokens, as in inference.yaml."""
    pixel_loss: Annotated[float, Field(ge=0.0)] = 0.0
    """Ours, next_frame only: weight of the squared error of the expected frame, decoded."""
    pixel_frames: PositiveInt | None = None
    """Ours: predicted frames of a clip, drawn per batch, that are decoded for pixel_loss; null means all."""
    changed_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Ours, next_frame only: extra loss weight of the tokens that differ from the frame before. TinyWorlds: 0."""
    video_tokenizer_path: str | None = None
    """Checkpoint folder of the tokenizer; set on the command line, never in the file."""
    latent_actions_path: str | None = None
    """Checkpoint folder of the latent-action model; set on the command line, never in the file."""

    @model_validator(mode="after")
    def _next_frame_where_needed(self) -> DynamicsConfig:
        for key in ("context_noise", "own_context", "pixel_loss", "changed_weight"):
            if getattr(self, key) and self.masking != "next_frame":
                raise ValueError(f"{key} {getattr(self, key)} needs masking: next_frame; set that, or {key} to 0")
        return self


STAGE_SCHEMAS: dict[str, type[StageConfig]] = {
    "video_tokenizer": VideoTokenizerConfig,
    "latent_actions": LatentActionsConfig,
    "dynamics": DynamicsConfig,
}


class InferenceConfig(Schema):
    """configs/inference.yaml: the standard inference run (L6)."""

    dataset: DatasetName
    """The game whose held-out clips are measured."""
    data_path: str | None = None
    """Ours: a frames file to use instead of data/<dataset>_frames.h5."""
    preload_ratio: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    fps: Annotated[int, Field(ge=1, le=60)] = 15
    """Ours: as in training.yaml; the loop passes training's value."""
    device: Device = "auto"
    use_latest_checkpoints: bool = False
    """A TinyWorlds key: search for the newest checkpoints. The loop always names them instead (hazard 3)."""
    video_tokenizer_path: str | None = None
    latent_actions_path: str | None = None
    dynamics_path: str | None = None
    use_actions: bool = True
    """Condition on latent actions."""
    use_gt_actions: bool = True
    """Infer the actions from the true frames; false draws random ones."""
    use_interactive_mode: bool = False
    """A TinyWorlds key; the embedded reference does not support true."""
    teacher_forced: bool = False
    """Whether every step sees true frames; a pass is then not a strict pass."""
    context_window: PositiveInt | None = None
    """True frames before the first generated one; null means context_length - 1."""
    prediction_horizon: PositiveInt = 1
    """Frames generated per step."""
    generation_steps: PositiveInt = 12
    """Steps of the rollout."""
    decode_steps: PositiveInt = 16
    """MaskGIT decoding steps per generated frame."""
    temperature: Annotated[float, Field(ge=0.0)] = 0.0
    """0 takes the most likely token; above 0 tokens are sampled."""
    token_choice: TokenChoice = "likeliest"
    """Ours, at temperature 0: the likeliest token, the one nearest to the predicted mean, or that mean itself."""
    memory_window: PositiveInt | None = None
    """Ours: largest number of frames that a step sees, true and generated; null means context_window (TinyWorlds)."""
    rollout: Literal["tokens", "pixels"] = "tokens"
    """Ours: what is fed back: the generated tokens, or decoded frames that are tokenised again, as in TinyWorlds."""
    tf32: bool = True
    """Ours: TF32 matrix products, on CUDA only."""
    seed: Seed = 0
    """Seed of everything drawn during the rollout."""
    sample_index: Annotated[int, Field(ge=0)] | None = None
    """A TinyWorlds key: one clip by its start; null draws `clips` of them over the held-out episodes."""
    clips: PositiveInt = 64
    """Ours: number of held-out clips."""
    clip_seed: Seed = 0
    """Ours: seed of the choice of clips."""
    clip_draw: Literal[0, 1, 2, 3] = 0
    """Ours: where clips come from: 0 all held-out episodes, 1 those for attempts, 2 those for a final verdict, 3 the
    clips of evaluation_file. The loop sets it."""
    evaluation_file: str | None = None
    """Ours: a frames file whose `clip_starts` are the clips of the run's final verdict; null draws held-out clips."""
    left_out_clips: Annotated[str, Field(pattern=r"^([0-9]+(,[0-9]+)*)?$")] = ""
    """Ours: first frames of drawn clips that are not measured, such as `12,400`. The loop sets it."""
    batch_size: PositiveInt = 16
    """Ours: clips rolled out at once; changes only speed and memory."""
    held_out_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Ours: as in training.yaml; the loop passes training's value, and 1 for a file that no stage trains on."""
    split_seed: Seed = 0
    """Ours: as in training.yaml; the loop passes training's value."""
    measures_path: str | None = None
    """Ours: JSON file for the measures; null writes none."""

    @model_validator(mode="after")
    def _evaluation_set_named(self) -> InferenceConfig:
        if self.clip_draw == EVALUATION and self.evaluation_file is None:
            raise ValueError(
                f"clip_draw {EVALUATION} measures the clips of evaluation_file, which is not set; set it, or set "
                "clip_draw to 0, 1 or 2"
            )
        return self

    def step_text(self, context_window: int | None) -> str:
        """Return the settings that determine the frames of a rollout step, for error messages; without unset ones."""
        memory = "" if self.memory_window is None else f", memory_window={self.memory_window}"
        return f"context_window={context_window}{memory} and prediction_horizon={self.prediction_horizon}"


StageName = Literal["video_tokenizer", "latent_actions", "dynamics"]
