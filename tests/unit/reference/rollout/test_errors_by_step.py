"""Batches and the conditions of SSIM (its values: tests/unit/gate/measures/test_bootstrap_and_errors.py).

pytest tests/unit/reference/rollout/test_errors_by_step.py
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchmetrics.functional.image as metrics
from torch import Tensor

from tinyworlds_gate.reference.rollout.errors_by_step import (
    in_batches,
    mean_frame_error,
    mse_by_clip_and_step,
    ssim_by_clip_and_step,
    unit_range,
)


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(0, 4, []), (1, 4, [(0, 1)]), (4, 4, [(0, 4)]), (5, 4, [(0, 4), (4, 5)]), (3, 1, [(0, 1), (1, 2), (2, 3)])],
)
def test_batches_cover_every_clip_once(count: int, size: int, expected: list[tuple[int, int]]) -> None:
    assert in_batches(count, size) == [slice(*ends) for ends in expected]


@pytest.mark.parametrize(
    ("height", "width", "known"), [(11, 11, True), (10, 20, False), (20, 10, False), (11, 30, True)]
)
def test_ssim_needs_frames_of_the_window_on_both_sides(height: int, width: int, known: bool) -> None:
    frames = torch.rand(1, 2, 3, height, width) * 2 - 1
    found = ssim_by_clip_and_step(frames, frames)
    assert (found is not None) is known
    if found is not None:
        torch.testing.assert_close(found, torch.ones(1, 2))


def test_frames_are_clamped_and_mapped_to_0_and_1() -> None:
    assert unit_range(torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_ssim_is_computed_clip_by_clip_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    def noted(predicted: Tensor, true: Tensor, **named: Any) -> Tensor:
        seen.append((predicted.mean().item(), true.mean().item(), named, torch.backends.cudnn.allow_tf32))
        return predicted.mean(dim=(1, 2, 3))

    monkeypatch.setattr(metrics, "structural_similarity_index_measure", noted)
    predicted = torch.tensor([-1.0, 1.0])[:, None, None, None, None].expand(2, 3, 3, 12, 12)
    found = ssim_by_clip_and_step(predicted, torch.zeros_like(predicted))
    assert found is not None
    assert found.tolist() == [[0.0] * 3, [1.0] * 3]
    settings = {"data_range": 1.0, "reduction": "none"}
    assert seen == [(0.0, 0.5, settings, False), (1.0, 0.5, settings, False)]


def test_the_mean_frame_is_compared_with_every_frame_and_other_shapes_with_none() -> None:
    true = torch.rand(2, 3, 3, 4, 4) * 2 - 1
    mean = torch.rand(3, 4, 4) * 2 - 1
    expected = ((mean - true) / 2).square().mean(dim=(2, 3, 4))
    torch.testing.assert_close(mean_frame_error(true, mean), expected)
    for metric in (mse_by_clip_and_step, ssim_by_clip_and_step):
        with pytest.raises(ValueError, match=r"predicted \(2, 2, 3, 4, 4\) against true \(2, 3, 3, 4, 4\)"):
            metric(true[:, :2], true)
