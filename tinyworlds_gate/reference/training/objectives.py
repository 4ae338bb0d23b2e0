"""The objective of each stage: its model, the gradient-free preparation of a batch, the loss and the logged metrics.

Axes: B clips, T frames, C channels, P patches, L latent dims, A action dims.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyworlds_gate.config.schema import LatentActionsConfig, VideoTokenizerConfig
from tinyworlds_gate.reference.models.dynamics import DynamicsModel
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.training.batches import BatchSource
from tinyworlds_gate.reference.training.token_clips import TokenClips

LATENT_ACTION_KEYS = (
    "frame_pairs",
    "antisymmetric_dims",
    "match_patches",
    "film_std",
    "translation_weight",
    "code_entropy_floor",
    "code_entropy_weight",
    "changed_weight",
)
"""Settings of the stage that are arguments of `LatentActionModel`."""
UNUSUAL = 0.1
"""Difference of a pixel from the mean frame, of frames in [-1, 1], from which on it is unusual."""


class Objective(nn.Module):
    """Training step of a stage. DDP wraps it, so its parameters are exactly the trained ones."""

    clip_frames: int | None = None
    """Frames of a training clip; None: ``context_length``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def use_tokens(self, batches: BatchSource, *, autocast: bool) -> None:
        """Switch the batches to cached tokens if the stage can be trained on tokens; by default do nothing."""

    @torch.no_grad()
    def prepare(self, clips: Tensor | TokenClips) -> tuple[Tensor, ...]:
        """Return the inputs of ``forward`` for frames in [-1, 1] or tokens; frozen models run here."""
        assert isinstance(clips, Tensor)
        return (clips,)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (scalar, with gradient) and the integer codes of the batch, for `metrics`."""
        raise TypeError("an Objective is one of the three stages")

    metric_names: tuple[str, ...] = ()

    def metrics(self, codes: Tensor) -> Tensor:
        """Compute the metrics in ``metric_names`` from the codes of this rank's clips, float64 on their device.

        Must not synchronise with the GPU, since it runs inside a CUDA graph.
        """
        raise TypeError("an Objective is one of the three stages")

    @property
    def all_models(self) -> tuple[nn.Module, ...]:
        """The trained model and the frozen ones it is trained on."""
        return (self.model,)

    def to_device(self, device: torch.device) -> Objective:
        """Move the trained model and the frozen ones."""
        self.move_frozen_models(device)
        return self.to(device)

    def move_frozen_models(self, device: torch.device) -> None:
        """Move only the frozen models."""
        for model in self.all_models:
            if model is not self.model:
                model.to(device)

    @torch.no_grad()
    def examples(self, frames_BTCHW: Tensor) -> tuple[Tensor, Tensor, str]:
        """Return true frames, the model's frames (both [B, T', C, H, W]) and a caption, for the stage's picture."""
        raise TypeError("an Objective is one of the three stages")


def counts_of(codes: Tensor, size: int) -> Tensor:
    """Return the count of each of ``size`` codes, float64; codes out of range (rounded NaNs) are clamped."""
    flat = codes.flatten().clamp(0, size - 1)
    counts = torch.zeros(size, dtype=torch.int64, device=flat.device)
    return counts.scatter_add_(0, flat, torch.ones_like(flat)).double()


def unusual_pixels(frames_BTCHW: Tensor) -> Tensor:
    """Return 1.0 where a pixel differs from the mean frame of the batch, else 0.0: ``[B, T, 1, H, W]``."""
    mean_CHW = frames_BTCHW.mean(dim=(0, 1))
    return ((frames_BTCHW - mean_CHW).abs().amax(dim=2, keepdim=True) > UNUSUAL).to(frames_BTCHW.dtype)


class TokenizerObjective(Objective):
    """Stage 1: reconstruct the clip through the finite scalar quantiser."""

    metric_names = ("train/codebook_usage",)

    def __init__(self, sizes: ModelSizes, settings: VideoTokenizerConfig | None = None) -> None:
        frame_by_frame = settings is not None and settings.frame_by_frame
        unusual_weight = settings.unusual_weight if settings is not None else 0.0
        super().__init__(VideoTokenizer(sizes, frame_by_frame=frame_by_frame))
        if frame_by_frame:
            self.clip_frames = 1
        self.unusual_weight = unusual_weight
        self.codebook_size = sizes.num_bins**sizes.latent_dim

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(inputs[0])
        if self.unusual_weight == 0:
            return output.loss, output.indices
        weights = 1 + self.unusual_weight * unusual_pixels(inputs[0])
        errors = F.smooth_l1_loss(output.recon, inputs[0], reduction="none")
        return (weights * errors).mean() / weights.mean(), output.indices

    def metrics(self, codes: Tensor) -> Tensor:
        return (counts_of(codes, self.codebook_size) > 0).double().mean()[None]

    @torch.no_grad()
    def examples(self, frames_BTCHW: Tensor) -> tuple[Tensor, Tensor, str]:
        return frames_BTCHW, self.model(frames_BTCHW).recon.clamp(-1, 1), "reconstruction"


class LatentActionsObjective(Objective):
    """Stage 2: infer the action between two frames from the frames alone."""

    metric_names = ("latent_actions/codebook_usage", "action_entropy", "unique_actions")

    def __init__(self, sizes: ModelSizes, settings: LatentActionsConfig | None = None) -> None:
        options = settings.model_dump(include=set(LATENT_ACTION_KEYS)) if settings else {}
        super().__init__(LatentActionModel(sizes, **options))
        if settings is not None and settings.frame_pairs:
            self.clip_frames = 2
        self.n_actions = sizes.n_actions

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(inputs[0])
        return output.loss, output.indices

    def metrics(self, codes: Tensor) -> Tensor:
        counts = counts_of(codes, self.n_actions)
        used = (counts > 0).double()
        shares = counts / counts.sum()
        return torch.stack((used.mean(), -torch.xlogy(shares, shares).sum() + 0.0, used.sum()))

    @torch.no_grad()
    def examples(self, frames_BTCHW: Tensor) -> tuple[Tensor, Tensor, str]:
        return (
            frames_BTCHW[:, 1:],
            self.model(frames_BTCHW).pred_frames.clamp(-1, 1),
            "prediction of the action decoder",
        )


class DynamicsObjective(Objective):
    """Stage 3: predict masked tokens from the unmasked ones and the latent actions."""

    metric_names = ("train/codebook_usage",)

    def __init__(self, sizes: ModelSizes, tokenizer: VideoTokenizer, latent_actions: LatentActionModel) -> None:
        super().__init__(DynamicsModel(sizes))
        # In a tuple, so that nn.Module registers neither their parameters nor their state.
        self._frozen = (tokenizer, latent_actions)
        self.codebook_size = sizes.num_bins**sizes.latent_dim

    @property
    def all_models(self) -> tuple[nn.Module, ...]:
        return (self.model, *self._frozen)

    @torch.no_grad()
    def prepare(self, clips: Tensor | TokenClips) -> tuple[Tensor, ...]:
        assert isinstance(clips, Tensor)
        tokenizer, latent_actions = self._frozen
        latents_BTPL = tokenizer.encode(clips)
        indices_BTP = tokenizer.quantizer.indices_from_latents(latents_BTPL)
        actions_BTA = latent_actions.encode(clips)
        batch, frames, patches = indices_BTP.shape
        mask_BTP = self.model.sample_mask(batch, frames, patches).to(indices_BTP.device)  # type: ignore[operator]
        return latents_BTPL, indices_BTP, actions_BTA, mask_BTP

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        latents_BTPL, indices_BTP, actions_BTA, mask_BTP = inputs
        output = self.model.loss(latents_BTPL, indices_BTP, actions_BTA, mask_BTP)  # type: ignore[operator]
        return output.loss, indices_BTP

    def metrics(self, codes: Tensor) -> Tensor:
        return (counts_of(codes, self.codebook_size) > 0).double().mean()[None]

    @torch.no_grad()
    def examples(self, frames_BTCHW: Tensor) -> tuple[Tensor, Tensor, str]:
        """Predict the last frame of each clip in one step from all frames before it; reconstruct the others."""
        tokenizer, latent_actions = self._frozen
        latents_BTPL = tokenizer.encode(frames_BTCHW)
        mask_BTP = torch.zeros(latents_BTPL.shape[:3], dtype=torch.bool, device=frames_BTCHW.device)
        mask_BTP[:, -1] = True
        logits = self.model(latents_BTPL, latent_actions.encode(frames_BTCHW), mask_BTP)
        last_BPL = tokenizer.quantizer.latents_from_indices(logits[:, -1].argmax(-1))
        predicted = tokenizer.decode(torch.cat([latents_BTPL[:, :-1], last_BPL[:, None]], dim=1))
        return frames_BTCHW, predicted.clamp(-1, 1), "last frame predicted in one step, the others reconstructed"
