"""The code and the action of transitions in training frames, from which `meanings` learns what a code does."""

from __future__ import annotations

import numpy as np
import torch

from tinyworlds_gate.reference.data.clips import gather_clips, to_model_range
from tinyworlds_gate.reference.data.frames_file import FramesData
from tinyworlds_gate.reference.data.split import draw_clips, starts_in_episodes
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.translation import explained_translation

CLIPS = 240
"""At most, spread over the episodes."""
BATCH = 30


@torch.no_grad()
def observe(
    model: LatentActionModel, data: FramesData, episodes: tuple[int, ...], device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Return the inferred code and the action of transitions in these episodes, int64 [N] each.

    The actions are those of the file, or without any the index in `MOTIONS` of the camera's motion. The clips are as
    long as those that the model was trained on.
    """
    length = model.sizes.context_length
    starts = starts_in_episodes(data.episode, length, episodes)
    chosen = draw_clips(starts, data.episode[starts], min(CLIPS, len(starts)), seed=0)
    codes, actions = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for first in range(0, len(chosen), BATCH):
        part = chosen[first : first + BATCH]
        frames = to_model_range(torch.from_numpy(gather_clips(data.frames, part, length))).to(device)
        codes.append(model.action_indices(model.encode(frames)).flatten().cpu().numpy())
        if data.actions is not None:
            actions.append(data.actions[part[:, None] + np.arange(length - 1)].flatten().astype(np.int64))
        else:
            pairs = torch.stack((frames[:, :-1], frames[:, 1:]), dim=2).flatten(0, 1)
            actions.append(motions(pairs).cpu().numpy())
    return np.concatenate(codes), np.concatenate(actions)


def motions(pairs_N2CHW: torch.Tensor) -> torch.Tensor:
    """Return the index in `MOTIONS` of the camera's motion between the two frames of each pair, int64 [N]."""
    first, second, moved = explained_translation(pairs_N2CHW).unbind(1)  # of the picture: left is (1, 1)
    direction = torch.where(first == second, torch.where(first > 0, 2, 1), torch.where(first > 0, 4, 3))
    return torch.where(moved > 0, direction, 0)
