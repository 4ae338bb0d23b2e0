"""Record what the page shows as an MP4 video."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np

MOST_FRAMES = 9000
"""Frames of a recording, at most: five minutes at 30 frames a second."""
LEAST_SIDE = 256
"""Pixels: smaller pictures are enlarged by a whole factor."""
GAP = 4
"""Pixels between the model's picture and the true game's, before enlarging."""


def side_by_side(model_HWC: np.ndarray, game_HWC: np.ndarray | None) -> np.ndarray:
    """Return the model's frame, with that of the true game to its right."""
    if game_HWC is None:
        return model_HWC
    gap = np.zeros((model_HWC.shape[0], GAP, 3), np.uint8)
    return np.concatenate((model_HWC, gap, game_HWC), axis=1)


def mp4(frames: Sequence[np.ndarray], fps: int) -> bytes:
    """Return frames uint8 [H, W, 3] of one shape as an H.264 video, enlarged without smoothing."""
    import av

    height, width = frames[0].shape[:2]
    factor = max(1, -(-LEAST_SIDE // height))
    target = BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "18", "preset": "veryfast"})
        # Chroma has half the resolution, so both sides are even.
        stream.height, stream.width = (side * factor // 2 * 2 for side in (height, width))
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            large = frame.repeat(factor, axis=0).repeat(factor, axis=1)[: stream.height, : stream.width]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(large), format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()
