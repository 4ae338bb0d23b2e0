"""The picture saved with each checkpoint of a stage: true frames above the model's frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.drawing import plain_style

MAX_CLIPS = 3


@plain_style()
def save_comparison(path: Path, true_BTCHW: Tensor, model_BTCHW: Tensor, title: str) -> None:
    """Write a PNG with two rows for each of up to three clips: true frames, and the model's frames below.

    Args:
        path: the PNG; its folder is created.
        true_BTCHW: frames in [-1, 1].
        model_BTCHW: frames in [-1, 1], of the same shape.
        title: one line above the picture.
    """
    from matplotlib.figure import Figure

    clips = min(MAX_CLIPS, true_BTCHW.shape[0])
    num_frames = true_BTCHW.shape[1]
    figure = Figure(figsize=(1.6 * num_frames + 0.8, 3.4 * clips + 0.6), layout="constrained")
    axes = figure.subplots(2 * clips, num_frames, squeeze=False)
    for clip in range(clips):
        for offset, (name, source) in enumerate((("true", true_BTCHW), ("model", model_BTCHW))):
            for frame in range(num_frames):
                axis = axes[2 * clip + offset][frame]
                axis.imshow(_to_image(source[clip, frame]), interpolation="nearest")
                axis.set_xticks([])
                axis.set_yticks([])
                if frame == 0:
                    axis.set_ylabel(name)
    figure.suptitle(title, fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=80)


def _to_image(frame_CHW: Tensor) -> np.ndarray:
    image = ((frame_CHW.float().cpu() + 1) * 127.5).round().clamp(0, 255)
    return image.permute(1, 2, 0).numpy().astype(np.uint8)
