"""What stands still stays as it was: noise, lines, veils and tints fail; blur, brightness and a lossy format do not."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from PIL import Image

from tests.helpers.object_games import FAULTS, games, generated, rollouts
from tinyworlds_gate.gate.measures.objects.cells import blur, to_cells
from tinyworlds_gate.gate.measures.objects.scene import Scene, see
from tinyworlds_gate.gate.measures.objects.still import measure_still
from tinyworlds_gate.gate.still_rule import still_faults


def rounded(frames: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def noisy(frames: np.ndarray, sigma: float) -> np.ndarray:
    return rounded(frames + np.random.default_rng(0).normal(0, sigma, frames.shape))


def snow(frames: np.ndarray) -> np.ndarray:
    """Return the frames with one white pixel of 25, always the same."""
    return np.where((np.random.default_rng(1).random(frames.shape[2:4]) < 0.04)[..., None], np.uint8(255), frames)


def lined(frames: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    changed = frames.copy()
    changed[:, :, rows, columns] = 255
    return changed


def veiled(frames: np.ndarray, share: float) -> np.ndarray:
    changed = frames.copy()
    part = changed[:, :, 8:40, 20:52]
    changed[:, :, 8:40, 20:52] = rounded((1 - share) * part + share * np.array([240.0, 40, 40]))
    return changed


def retextured(frames: np.ndarray) -> np.ndarray:
    """Return the frames with the pixels of each block of 4 x 4 in another order, the same in all of them."""
    blocks = frames.reshape(*frames.shape[:2], 16, 4, 16, 4, 3).swapaxes(3, 4).reshape(*frames.shape[:2], 256, 16, 3)
    mixed = blocks[:, :, :, np.random.default_rng(0).permutation(16)].reshape(*frames.shape[:2], 16, 16, 4, 4, 3)
    return mixed.swapaxes(3, 4).reshape(frames.shape)


def as_jpeg(frames: np.ndarray) -> np.ndarray:
    lossy = []
    for frame in frames.reshape(-1, *frames.shape[2:]):
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=90)
        lossy.append(np.asarray(Image.open(file).convert("RGB")))
    return np.stack(lossy).reshape(frames.shape)


WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "noise of 25 levels": lambda frames: noisy(frames, 25),
    "noise of 18 levels": lambda frames: noisy(frames, 18),
    "white dots": snow,
    "a line across": lambda frames: lined(frames, slice(24, 25), slice(4, 60)),
    "a line down": lambda frames: lined(frames, slice(None), slice(40, 42)),
    "a veil": lambda frames: veiled(frames, 0.5),
    "a tint": lambda frames: rounded(frames + np.array([25.0, 0, -25])),
    "another texture": lambda frames: retextured(frames),
    "stripes": lambda frames: rounded(frames + 30.0 * (np.arange(64) % 4 < 2)[:, None, None]),
}
RIGHT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda frames: frames,
    "noise of 8 levels": lambda frames: noisy(frames, 8),
    "blur": lambda frames: rounded(np.stack([blur(clip.astype(np.float32), 2.0) for clip in frames])),
    "JPEG": as_jpeg,
    "brighter": lambda frames: rounded(1.1 * frames),
    "darker": lambda frames: rounded(0.9 * frames),
    "8 levels brighter": lambda frames: rounded(frames + 8.0),
    "less contrast": lambda frames: rounded(128 + 0.9 * (frames - 128.0)),
    "more contrast": lambda frames: rounded(128 + 1.1 * (frames - 128.0)),
    "a pixel to the right": lambda frames: np.roll(frames, 1, axis=3),
}


@cache
def seen(scroll: bool) -> tuple[Scene, np.ndarray]:
    context, true = rollouts(games(1, clips=8, scroll=scroll))
    return see(context, true), true


def faults(scene: Scene, true: np.ndarray, made: np.ndarray) -> list[str]:
    row = measure_still(scene, (true, made), (to_cells(true), to_cells(made)), np.arange(len(true)))
    return list(still_faults({"still": row}))


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("scroll", [True, False], ids=["scrolling", "still"])
@pytest.mark.parametrize("change", WRONG)
def test_what_is_in_no_true_frame_fails(change: str, scroll: bool) -> None:
    scene, true = seen(scroll)
    (fault,) = faults(scene, true, WRONG[change](true))
    assert fault.startswith("what stands still in the true frames does not stay as it was")


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("scroll", [True, False], ids=["scrolling", "still"])
@pytest.mark.parametrize("change", RIGHT)
def test_blur_light_and_a_lossy_format_pass(change: str, scroll: bool) -> None:
    scene, true = seen(scroll)
    assert faults(scene, true, RIGHT[change](true)) == []


def test_objects_that_are_lost_or_too_many_are_no_fault_of_what_stands_still() -> None:
    scene, true = seen(False)
    clips = games(1, clips=8, scroll=False)
    for name in ("no objects", "one more that moves"):
        assert faults(scene, true, generated(clips, FAULTS[name])) == [], name


def test_noise_in_the_true_frames_is_not_missed_in_the_generated_ones() -> None:
    context, clean = rollouts(games(1, clips=6))
    noisy_context, noisy_true = rollouts(games(1, clips=6, noise=8.0))
    assert faults(see(noisy_context, noisy_true), noisy_true, clean) == []
    assert context.shape == noisy_context.shape


def test_fewer_than_thirty_blocks_or_five_episodes_are_not_judged() -> None:
    row = {"blocks": 30, "episodes": 5, "wrong": 0.5, "wrong_low": 0.11}
    assert still_faults({}) is not None
    assert len(list(still_faults({"still": row}))) == 1
    for less in ({"blocks": 29}, {"episodes": 4}, {"wrong_low": 0.1}, {"wrong_low": None}):
        assert list(still_faults({"still": row | less})) == []
    assert list(still_faults({})) == []
