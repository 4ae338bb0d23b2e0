"""Clips as tokens: each frame tokenised once before training, where its tokens and actions are the same in every clip.

That is so for a tokenizer of single frames and latent actions of pairs (`frame_by_frame`, `frame_pairs`). The frozen
models then run once over the frames instead of once over every batch.

Legend: N frames of the file, B clips, T frames of a clip, P patches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tinyworlds_gate.reference.data.clips import to_model_range
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer

FRAMES_AT_ONCE = 512


class TokenClips(NamedTuple):
    """A batch of clips: token indices `[B, T, P]` and action codes `[B, T-1]`, int64; frames if asked for."""

    indices_BTP: Tensor
    codes_BT: Tensor
    frames_BTCHW: Tensor | None


class TokenTable:
    """Tokens of all frames, and the action code from each frame to the next, on one device."""

    def __init__(self, indices_NP: Tensor, codes_N: Tensor) -> None:
        self.indices_NP, self.codes_N = indices_NP, codes_N

    def clips(self, starts_B: Tensor, length: int, frames_BTCHW: Tensor | None = None) -> TokenClips:
        """The clips of so many frames that start there (int64 on the table's device)."""
        at = starts_B[:, None] + torch.arange(length, device=starts_B.device)
        return TokenClips(self.indices_NP[at].long(), self.codes_N[at[:, :-1]].long(), frames_BTCHW)


def cacheable(tokenizer: VideoTokenizer, latent_actions: LatentActionModel) -> bool:
    """Whether a frame has the same tokens, and a pair the same action, wherever a clip begins."""
    return tokenizer.frame_by_frame and latent_actions.frame_pairs


@torch.no_grad()
def tokenize_all(
    tokenizer: VideoTokenizer,
    latent_actions: LatentActionModel,
    frames_NHWC: Tensor,
    device: torch.device,
    *,
    autocast: bool,
) -> TokenTable:
    """Tokenise uint8 frames `[N, H, W, C]`, which may lie in the host's memory.

    The action of the last frame, and of the last of an episode, joins frames of no clip; nobody reads it.
    """
    tokens: list[Tensor] = []
    codes: list[Tensor] = []
    count = len(frames_NHWC)
    for low in range(0, count, FRAMES_AT_ONCE):
        # One more frame than is tokenised, for the last pair; the last window is filled up, so that all are alike.
        at = torch.arange(low, low + FRAMES_AT_ONCE + 1).clamp(max=count - 1).to(frames_NHWC.device)
        frames = to_model_range(frames_NHWC[at].to(device)[None])[0]
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            latents = tokenizer.encode(frames[:-1, None])[:, 0]
            actions = latent_actions.encode(torch.stack((frames[:-1], frames[1:]), dim=1))[:, 0]
        tokens.append(tokenizer.quantizer.indices_from_latents(latents).to(torch.int32))
        codes.append(latent_actions.action_indices(actions).to(torch.int32))
    return TokenTable(torch.cat(tokens)[:count], torch.cat(codes)[:count])
