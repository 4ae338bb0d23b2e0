"""What each stage learns: the model, the part of a step without gradients, the loss, and the logged metrics.

Legend: B clips, T frames, C channels, P patches, L latent dims, A action dims.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
    "film_std",
    "translation_weight",
    "code_entropy_floor",
    "code_entropy_weight",
)
"""Settings of the stage that are arguments of its model."""


@dataclass
class StepOutput:
    """One micro-batch: the scalar loss with its graph, and the codes that the metrics count."""

    loss: Tensor
    codes: Tensor


class Objective(nn.Module):
    """A stage's training step. DDP wraps it, so its parameters are exactly the trained ones."""

    clip_frames: int | None = None
    """Frames of a training clip; None: context_length of them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def use_tokens(self, batches: BatchSource, *, autocast: bool) -> None:
        """Let the batches be tokens where the stage can learn from these alone."""

    @torch.no_grad()
    def prepare(self, clips: Tensor | TokenClips) -> tuple[Tensor, ...]:
        """The inputs of ``forward`` for a batch of frames in [-1, 1] (or of tokens); anything frozen runs here."""
        assert isinstance(clips, Tensor)
        return (clips,)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The loss (scalar, with graph) and the integer codes of the batch (without)."""
        raise TypeError("an Objective is one of the three stages")

    metric_names: tuple[str, ...] = ()

    def measured(self, codes: Tensor) -> Tensor:
        """The numbers named by ``metric_names``, float64 on the device of the codes of this rank's clips (rank 0 logs
        its own). Nothing here waits for a GPU."""
        raise TypeError("an Objective is one of the three stages")

    @property
    def all_models(self) -> tuple[nn.Module, ...]:
        """The trained model, and those that it is trained on."""
        return (self.model,)

    def to_device(self, device: torch.device) -> Objective:
        """Move the trained model and those that it is trained on."""
        self.frozen_to(device)
        return self.to(device)

    def frozen_to(self, device: torch.device) -> None:
        """Move only the models that the trained one is trained on."""
        for model in self.all_models:
            if model is not self.model:
                model.to(device)

    @torch.no_grad()
    def examples(self, frames_BTCHW: Tensor) -> tuple[Tensor, Tensor, str]:
        """For the stage's picture: true frames, the model's frames (both [B, T', C, H, W]) and what they are."""
        raise TypeError("an Objective is one of the three stages")


def counts_of(codes: Tensor, size: int) -> Tensor:
    """How often each of ``size`` codes occurs, float64; what a NaN was rounded to counts as the first or the last."""
    flat = codes.flatten().clamp(0, size - 1)
    counts = torch.zeros(size, dtype=torch.int64, device=flat.device)
    return counts.scatter_add_(0, flat, torch.ones_like(flat)).double()


class TokenizerObjective(Objective):
    """Stage 1: reconstruct the clip through the finite scalar quantiser."""

    metric_names = ("train/codebook_usage",)

    def __init__(self, sizes: ModelSizes, settings: VideoTokenizerConfig | None = None) -> None:
        frame_by_frame = settings is not None and settings.frame_by_frame
        super().__init__(VideoTokenizer(sizes, frame_by_frame=frame_by_frame))
        if frame_by_frame:
            self.clip_frames = 1
        self.codebook_size = sizes.num_bins**sizes.latent_dim

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(inputs[0])
        return output.loss, output.indices

    def measured(self, codes: Tensor) -> Tensor:
        return (counts_of(codes, self.codebook_size) > 0).double().mean()[None]

    @torch.no_grad()
    def examples(self, frames_BTCHW: Tensor) -> tuple[Tensor, Tensor, str]:
        return frames_BTCHW, self.model(frames_BTCHW).recon.clamp(-1, 1), "reconstruction"


class LatentActionsObjective(Objective):
    """Stage 2: infer the action between two frames from the frames alone."""

    metric_names = ("latent_actions/codebook_usage", "action_entropy", "unique_actions")

    def __init__(self, sizes: ModelSizes, settings: LatentActionsConfig | None = None) -> None:
        asked = settings.model_dump(include=set(LATENT_ACTION_KEYS)) if settings else {}
        super().__init__(LatentActionModel(sizes, **asked))
        if settings is not None and settings.frame_pairs:
            self.clip_frames = 2
        self.n_actions = sizes.n_actions

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(inputs[0])
        return output.loss, output.indices

    def measured(self, codes: Tensor) -> Tensor:
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
        # Held in a tuple so that the frozen models are neither parameters of the stage nor in its checkpoint.
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

    def measured(self, codes: Tensor) -> Tensor:
        return (counts_of(codes, self.codebook_size) > 0).double().mean()[None]

    @torch.no_grad()
    def examples(self, frames_BTCHW: Tensor) -> tuple[Tensor, Tensor, str]:
        """The last frame of each clip, predicted in one step from all frames before it."""
        tokenizer, latent_actions = self._frozen
        latents_BTPL = tokenizer.encode(frames_BTCHW)
        mask_BTP = torch.zeros(latents_BTPL.shape[:3], dtype=torch.bool, device=frames_BTCHW.device)
        mask_BTP[:, -1] = True
        logits = self.model(latents_BTPL, latent_actions.encode(frames_BTCHW), mask_BTP)
        last_BPL = tokenizer.quantizer.latents_from_indices(logits[:, -1].argmax(-1))
        predicted = tokenizer.decode(torch.cat([latents_BTPL[:, :-1], last_BPL[:, None]], dim=1))
        return frames_BTCHW, predicted.clamp(-1, 1), "last frame predicted in one step, the others reconstructed"
