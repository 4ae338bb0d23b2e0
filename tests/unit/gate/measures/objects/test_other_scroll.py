"""Parts of the screen that scroll otherwise than the rest are scenes of their own.

pytest tests/unit/gate/measures/objects/test_other_scroll.py
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.gate_evidence import objects
from tinyworlds_gate.gate.measures.objects.measure import measure_objects
from tinyworlds_gate.gate.measures.objects.other_scroll import cut_bands
from tinyworlds_gate.gate.measures.objects.scene import see
from tinyworlds_gate.gate.object_rule import judge_objects

CLIPS, CONTEXT, FRAMES, SIDE, BALL = 14, 3, 11, 64, 6


def ground(rng: np.random.Generator, colours: tuple[int, int]) -> np.ndarray:
    """Return a world of blocks, uint8 [SIDE, 3 * SIDE, 3]."""
    return rng.integers(*colours, (SIDE // 4, 3 * SIDE // 4, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)


def film(cut: int, speeds: tuple[int, int], *, lost: slice = slice(0), turned: bool = False) -> np.ndarray:
    """Return clips uint8 [N, F, H, W, 3] of balls before a ground that scrolls above and below row ``cut``.

    Args:
        cut: the first row of the lower part.
        speeds: pixels a frame of each part, to the left.
        lost: the rows in which balls are not drawn after the context.
        turned: with rows and columns exchanged.
    """
    films = []
    for number in range(CLIPS):
        rng = np.random.default_rng([3, number])
        worlds = [ground(rng, (10, 90)), ground(rng, (80, 160))]
        at, by = rng.integers(4, SIDE - BALL - 4, (3, 2)), rng.choice([-3, -2, 2, 3], (3, 2))
        for frame in range(FRAMES):
            low = [SIDE + speed * (frame - FRAMES // 2) for speed in speeds]
            shown = worlds[0][:, low[0] : low[0] + SIDE].copy()
            shown[cut:] = worlds[1][cut:, low[1] : low[1] + SIDE]
            for y, x in at:
                if frame < CONTEXT or not lost.start or y not in range(lost.start, lost.stop):
                    shown[y : y + BALL, x : x + BALL] = (250, 230, 40)
            by = np.where((at + by < 1) | (at + by > SIDE - BALL - 1), -by, by)
            at = at + by
            films.append(shown.swapaxes(0, 1) if turned else shown)
    return np.stack(films).reshape(CLIPS, FRAMES, SIDE, SIDE, 3)


def bands(film_NFHWC: np.ndarray) -> list[tuple[int, ...]]:
    """Return the heights and widths of the bands."""
    context, true = film_NFHWC[:, :CONTEXT], film_NFHWC[:, CONTEXT:]
    return [one[0].shape[2:4] for one in cut_bands(see(context, true), (context, true))]


CASES = {
    "two players": (32, (2, -2), False, (24, 36)),
    "two players side by side": (32, (2, -2), True, (24, 36)),
    "far hills": (40, (1, 3), False, (20, 44)),
    "a river below": (36, (-3, 2), False, (20, 44)),
}


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("case", CASES)
def test_a_part_that_scrolls_otherwise_is_cut_out(case: str) -> None:
    cut, speeds, turned, (least, most) = CASES[case]
    found = bands(film(cut, speeds, turned=turned))
    assert found
    for height, width in found:
        across, along = (width, height) if turned else (height, width)
        assert (least <= across <= most, along) == (True, SIDE)


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("cut", "speeds"), [(32, (2, 2)), (32, (0, 0)), (48, (2, 0)), (20, (0, 3))], ids=["one", "none", "bar", "top bar"]
)
def test_one_scroll_a_still_screen_and_a_bar_have_no_such_part(cut: int, speeds: tuple[int, int]) -> None:
    assert bands(film(cut, speeds)) == []


@pytest.mark.slow
@pytest.mark.requirement("G6")
@pytest.mark.parametrize("lost", [slice(1, 30), slice(33, 64)], ids=["upper", "lower"])
def test_objects_that_one_part_loses_fail_and_exact_frames_pass(lost: slice) -> None:
    true, made = film(32, (2, -2)), film(32, (2, -2), lost=lost)
    for generated, verdict in ((true, "PASS"), (made, "FAIL")):
        record = measure_objects(true[:, :CONTEXT], true[:, CONTEXT:], generated[:, CONTEXT:], np.arange(CLIPS))
        assert judge_objects(record, 0.9)[0] == verdict


@pytest.mark.requirement("G6")
def test_faults_of_a_part_fail_and_a_part_with_objects_is_an_occasion() -> None:
    good = objects() | {"no_occasion": None}
    poor = objects(recall=0.4) | {"no_occasion": None}
    assert judge_objects({**good, "bands": [poor]}, 0.9)[0] == "FAIL"
    assert "in the part that scrolls by itself: 40 % of" in judge_objects({**good, "bands": [poor]}, 0.9)[1]
    nothing = good | {"no_occasion": "the true frames show 0 small objects"}
    assert judge_objects({**nothing, "bands": [nothing]}, 0.9)[0] == "NOT-RUN"
    assert judge_objects({**nothing, "bands": [nothing, good]}, 0.9)[0] == "PASS"
