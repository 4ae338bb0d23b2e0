"""The light of the frames: day and night, flashes, an alarm, a lamp over a part of them.

pytest tests/unit/gate/measures/objects/test_light.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tinyworlds_gate.gate.light_rule import LEAST_EPISODES, LEAST_FRAMES, light_faults
from tinyworlds_gate.gate.measures.objects.light import measure_light

CLIPS, GIVEN, STEPS, SIDE = 10, 4, 10, 16
Light = Callable[[int, np.ndarray], np.ndarray]
"""Clip and frames [T] → factors [T, H, W, 3] or what broadcasts to them."""


def night(clip: int, times: np.ndarray) -> np.ndarray:
    return (1 - 0.35 * (0.5 - 0.5 * np.cos(clip + 0.5 * times)))[:, None, None, None]


def flashes(clip: int, times: np.ndarray) -> np.ndarray:
    return (1 + 0.4 * ((times + clip) % 5 == 0))[:, None, None, None]


def alarm(clip: int, times: np.ndarray) -> np.ndarray:
    """Red up, green and blue down: the brightness stays."""
    up = 0.4 * ((times + clip) % 3 == 0)
    return 1 + np.stack([up, -up / 2, -up / 2], axis=-1)[:, None, None]


def lamp(clip: int, times: np.ndarray) -> np.ndarray:
    """A lamp over the lower left quarter."""
    light = np.ones((len(times), SIDE, SIDE, 3))
    light[:, SIDE // 2 :, : SIDE // 2] += 0.5 * ((times + clip) % 4 < 2)[:, None, None, None]
    return light


def clips(light: Light, frozen: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Return context and later frames; ``frozen``: these have the light of the last context frame, or the usual one."""
    room = np.random.default_rng(0).integers(60, 160, (CLIPS, 1, SIDE, SIDE, 3))
    factors = np.stack([np.broadcast_to(light(clip, np.arange(GIVEN + STEPS)), (GIVEN + STEPS, SIDE, SIDE, 3))
                        for clip in range(CLIPS)])  # fmt: skip
    if frozen == "last":
        factors[:, GIVEN:] = factors[:, GIVEN - 1 : GIVEN]
    elif frozen == "usual":
        factors[:, GIVEN:] = np.median(factors[:, :GIVEN], axis=1, keepdims=True)
    frames = (room * factors).clip(0, 255).astype(np.uint8)
    return frames[:, :GIVEN], frames[:, GIVEN:]


def faults(context: np.ndarray, true: np.ndarray, made: np.ndarray) -> list[str]:
    return list(light_faults({"light": measure_light(context, true, made, np.arange(len(true)))}))


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("light", [night, flashes, alarm, lamp])
def test_frames_with_the_true_light_pass_and_those_without_fail(light: Light) -> None:
    context, true = clips(light)
    assert faults(context, true, true) == []
    close = np.clip(true + np.random.default_rng(1).normal(4, 8, true.shape), 0, 255).astype(np.uint8)
    assert faults(context, true, close) == [], "4 levels brighter, with noise"
    for frozen in ("last", "usual"):
        (fault,) = faults(context, true, clips(light, frozen)[1])
        assert fault.startswith("the light of the ")
    assert "lower left" in fault if light is lamp else "whole frame" in fault


def test_half_of_the_change_passes() -> None:
    context, true = clips(night)
    made = ((true.astype(int) + np.repeat(context[:, -1:], STEPS, axis=1)) // 2).astype(np.uint8)
    assert faults(context, true, made) == []


def test_light_that_does_not_change_says_nothing() -> None:
    context, true = clips(lambda clip, times: np.ones((len(times), 1, 1, 1)))
    assert measure_light(context, true, np.zeros_like(true), np.arange(CLIPS)) == []


def test_the_rows_count_frames_and_episodes() -> None:
    context, true = clips(flashes)
    rows = measure_light(context, true, true, np.arange(CLIPS) // 2)
    whole = [row for row in rows if row["area"] == "the whole frame"]
    assert [row["reference"] for row in whole] == ["the last context frame", "the median of the context frames"]
    assert whole[1]["frames"] == 2 * CLIPS, "every fifth of ten frames"
    assert whole[1]["episodes"] == CLIPS // 2
    assert whole[1]["skill"] == 1.0


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({}, True),
        ({"skill_high": 0.11}, False),
        ({"frames": LEAST_FRAMES - 1}, False),
        ({"episodes": LEAST_EPISODES - 1}, False),
        ({"skill_high": None}, False),
    ],
)
def test_the_rule_needs_enough_frames_and_an_upper_end_above_its_limit(changes: dict[str, object], fails: bool) -> None:
    row = {
        "area": "the whole frame",
        "reference": "the last context frame",
        "frames": LEAST_FRAMES,
        "episodes": LEAST_EPISODES,
        "change": 9.0,
        "skill": 0.0,
        "skill_low": -0.1,
        "skill_high": 0.1,
    }
    found = list(light_faults({"light": [row | changes]}))
    assert bool(found) is fails
    assert not fails or found[0] == (
        "the light of the whole frame changes in 10 true frames, and the generated frames have it no better than the "
        "last context frame (skill 0.00, 95 % interval to 0.10; more than 0.1 is required)"
    )


def test_records_of_older_versions_have_no_light() -> None:
    assert list(light_faults({})) == []
