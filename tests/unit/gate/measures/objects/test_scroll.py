"""The scroll of the background, also where a bright object moves another way.

python -m pytest tests/unit/gate/measures/objects/test_scroll.py
"""

from __future__ import annotations

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.objects.scroll import scroll_offsets

FRAMES, SIDE = 6, 64


def scrolled(down: int, right: int, square: bool) -> np.ndarray:
    """A texture that scrolls by (down, right) a frame, float [F, H, W], with a square that moves 4 px to the right."""
    rng = np.random.default_rng(0)
    world = rng.integers(0, 160, (SIDE * 2, SIDE * 2)).astype(np.float64)
    frames = np.stack(
        [
            world[
                SIDE // 2 - down * t : SIDE // 2 - down * t + SIDE, SIDE // 2 - right * t : SIDE // 2 - right * t + SIDE
            ]
            for t in range(FRAMES)
        ]
    )
    if square:
        for t, frame in enumerate(frames):
            frame[30:35, 8 + 4 * t : 13 + 4 * t] = 255.0
    return frames


@pytest.mark.parametrize("square", [False, True], ids=["background", "with a square"])
@pytest.mark.parametrize("step", [(-1, 1), (1, 0), (0, -2), (2, 3), (0, 0)])
def test_the_scroll_is_found_to_the_pixel(step: tuple[int, int], square: bool) -> None:
    offsets = scroll_offsets(scrolled(*step, square))
    assert offsets.tolist() == [[step[0] * t, step[1] * t] for t in range(FRAMES)]
