"""Clips cut from loaded frames: pixels, origin, digest and the mean frame.

pytest tests/unit/reference/rollout/test_clip_set.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tinyworlds_gate.reference.data.frames_file import FramesData
from tinyworlds_gate.reference.rollout.clip_set import ClipSet, cut_clips

EPISODE = np.repeat(np.arange(3), 10)


def frames_data() -> FramesData:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 4, 6, 3), np.uint8)
    return FramesData(Path("data/x.h5"), pixels, EPISODE, None, None, 2, True)


def cut(data: FramesData, starts: list[int], mean_over: torch.Tensor | list[int]) -> ClipSet:
    return cut_clips(data, np.array(starts), 4, context=2, data_sha256="ab", mean_over=mean_over)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("episodes", [[0], [0, 2], [1, 0, 2]])
def test_the_mean_frame_is_that_of_the_pixels_of_its_episodes(episodes: list[int]) -> None:
    data = frames_data()
    found = cut(data, [0], episodes).mean_frame_CHW
    pixels = data.frames[np.isin(EPISODE, episodes)].astype(np.float64)
    expected = (pixels.mean(axis=0) / 255 * 2 - 1).transpose(2, 0, 1)
    assert (found.dtype, found.shape) == (torch.float32, (3, 4, 6))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.requirement("G5")
def test_a_black_and_a_white_frame_are_the_ends_of_the_range() -> None:
    for value, expected in ((0, -1.0), (255, 1.0)):
        data = frames_data()
        data.frames[:] = value
        found = cut(data, [5], [0, 1])
        assert found.mean_frame_CHW.unique().tolist() == [expected]
        assert found.frames_BTCHW.unique().tolist() == [expected]


def test_a_mean_frame_from_elsewhere_is_taken_as_it_is() -> None:
    mean = torch.rand(3, 4, 6)
    assert cut(frames_data(), [0], mean).mean_frame_CHW is mean


@pytest.mark.requirement("G5", "L8")
def test_clips_are_consecutive_frames_and_their_origin_is_plain_data() -> None:
    data = frames_data()
    found = cut(data, [3, 21], [0])
    expected = torch.from_numpy(np.stack([data.frames[start : start + 4] for start in (3, 21)]))
    torch.testing.assert_close(found.frames_BTCHW, expected.permute(0, 1, 4, 2, 3).float() / 127.5 - 1)
    assert found.episodes.tolist() == [0, 2]
    assert found.origin() == {
        "clip_digest": found.digest,
        "data_path": "data/x.h5",
        "data_sha256": "ab",
        "stride": 2,
        "frame_size": 6,
        "context": 2,
    }
    others = [cut(data, [3, 20], [0]), cut(data, [21, 3], [0])]
    assert len({found.digest, *(one.digest for one in others)}) == 3
    assert cut(data, [3, 21], [1]).digest == found.digest, "the mean frame is no part of it"
