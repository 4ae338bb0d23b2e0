"""Where a display lies, in pixels of the frames.

pytest tests/unit/gate/measures/objects/test_displays.py
"""

from __future__ import annotations

import numpy as np

from tinyworlds_gate.gate.measures.objects.displays import _place


def test_the_place_of_a_display_is_that_in_the_whole_frame() -> None:
    display = np.zeros((8, 9), bool)
    display[2:5, 1:7] = True
    place = _place(display, (10, 3), 2)
    assert place == {"top_px": 24, "left_px": 8, "height_px": 6, "width_px": 12}
