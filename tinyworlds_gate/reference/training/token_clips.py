"""Clips as cached tokens: tokenise every frame once before training instead of in every batch.

This requires that a frame has the same tokens and a pair of frames the same action in every clip, as with the settings
`frame_by_frame` and `frame_pairs`.

Axes: N frames of the file, B clips, T frames of a clip, P patches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tinyworlds_gate.reference.data.clips import to_model_range
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.training.distributed import Worker

FRAMES_AT_ONCE = 512
FRAMES_AT_ONCE_ON_CPU = 32
"""Larger activations leave the cache and cost page faults: 512 take 3.5 times as long."""


class TokenClips(NamedTuple):
    """A batch of clips: token indices `[B, T, P]` and action codes `[B, T-1]`, int64; optionally frames."""

    indices_BTP: Tensor
    codes_BT: Tensor
    frames_BTCHW: Tensor | None


class TokenTable:
    """Tokens of all frames `[N, P]` and action codes from each frame to the next `[N]`, on one device."""

    def __init__(self, indices_NP: Tensor, codes_N: Tensor) -> None:
        self.indices_NP, self.codes_N = indices_NP, codes_N

    def clips(self, starts_B: Tensor, length: int, frames_BTCHW: Tensor | None = None) -> TokenClips:
        """Return the clips of ``length`` frames at ``starts_B`` (int64 on the table's device)."""
        at = starts_B[:, None] + torch.arange(length, device=starts_B.device)
        return TokenClips(self.indices_NP[at].long(), self.codes_N[at[:, :-1]].long(), frames_BTCHW)


def cacheable(tokenizer: VideoTokenizer, latent_actions: LatentActionModel) -> bool:
    """Whether a frame's tokens and a pair's action do not depend on the clip around them."""
    return tokenizer.frame_by_frame and latent_actions.frame_pairs


@torch.no_grad()
def tokenize_all(
    tokenizer: VideoTokenizer,
    latent_actions: LatentActionModel,
    frames_NHWC: Tensor,
    worker: Worker,
    *,
    autocast: bool,
) -> TokenTable:
    """Tokenise uint8 frames `[N, H, W, C]`, which may be in host memory. Each rank does a share of the windows.

    The action codes of the last frame and of each episode's last frame have no meaning: no clip uses them.
    """
    device, count = worker.device, len(frames_NHWC)
    at_once = FRAMES_AT_ONCE_ON_CPU if device.type == "cpu" else FRAMES_AT_ONCE
    padded = -(-count // at_once) * at_once
    tokens = torch.zeros(padded, tokenizer.sizes.grid**2, dtype=torch.int32, device=device)
    codes = torch.zeros(padded, dtype=torch.int32, device=device)
    for low in range(worker.rank * at_once, count, worker.world_size * at_once):
        # One extra frame for the last pair; the last window is padded, so that all have the same shape.
        at = torch.arange(low, low + at_once + 1).clamp(max=count - 1).to(frames_NHWC.device)
        frames = to_model_range(frames_NHWC[at].to(device)[:, None])
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            latents = tokenizer.encode(frames[:-1]).squeeze(1)
            actions = latent_actions.encode(torch.cat((frames[:-1], frames[1:]), dim=1)).squeeze(1)
        tokens[low : low + at_once] = tokenizer.quantizer.indices_from_latents(latents)
        codes[low : low + at_once] = latent_actions.action_indices(actions)
    return TokenTable(worker.sum(tokens)[:count], worker.sum(codes)[:count])
