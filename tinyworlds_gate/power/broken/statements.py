"""Defects of stated numbers that the harness can compute itself: baselines, floor, episodes, stride, finiteness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinyworlds_gate.power.broken.registry import BROKEN, changes_result, defect, patched, replaces
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.rollout import inference, measure, probe
from tinyworlds_gate.reference.rollout.clip_set import ClipSet, cut_clips
from tinyworlds_gate.run.drawing import load_matplotlib


def _clips_state(name: str, change: Callable[[dict[str, Any], int], object]) -> None:
    """Register a defect that changes what is stated of each clip; ``change`` gets the clip and its number."""

    def changed(found: measure.Measurement) -> measure.Measurement:
        for number, clip in enumerate(found.raw["clips"]):
            change(clip, number)
        return found

    changes_result(name, inference, "measure_clips", changed)


def _times(factor: float, key: str) -> Callable[[dict[str, Any], int], object]:
    return lambda clip, number: clip.update({key: [factor * value for value in clip[key]]})


_clips_state("copy-last-overstated", _times(4, "copy_last_mse"))
_clips_state("mean-frame-overstated", _times(4, "mean_frame_mse"))
_clips_state("mean-frame-of-two-steps", lambda clip, number: clip["mean_frame_mse"].reverse())
_clips_state("random-actions-overstated", _times(4, "random_action_mse"))
_clips_state("random-actions-made-up", lambda clip, number: clip.update(random_action_mse=[0.25] * 6))
_clips_state("floor-overstated", lambda clip, number: clip.update(tokenizer_recon_mse=0.5))
_clips_state("floor-understated", lambda clip, number: clip.update(tokenizer_recon_mse=0.0))
_clips_state("floor-negative", lambda clip, number: clip.update(tokenizer_recon_mse=-0.01))
_clips_state("floor-nan", lambda clip, number: clip.update(tokenizer_recon_mse=float("nan")))
_clips_state("episodes-numbered", lambda clip, number: clip.update(episode=number))
_clips_state("episodes-shifted", lambda clip, number: clip.update(episode=clip["episode"] + 1))


def _without_random(found: measure.Measurement) -> measure.Measurement:
    return replace(found, generated=replace(found.generated, random=None))


def _random_is_noise(found: measure.Measurement) -> measure.Measurement:
    """Return the measurement with other frames of random actions than the stated errors are of."""
    noise = np.random.default_rng(0).integers(0, 256, found.generated.predicted.shape, np.uint8)
    return replace(found, generated=replace(found.generated, random=noise))


changes_result("random-frames-left-out", inference, "measure_clips", _without_random)
changes_result("random-frames-of-noise", inference, "measure_clips", _random_is_noise)


def _uncounted(found: measure.Measurement) -> measure.Measurement:
    return replace(found, raw=found.raw | {"non_finite_values": 0})


@defect("non-finite-not-counted")
def _non_finite_not_counted() -> Iterator[None]:
    """Generate infinite pixels and report that all are finite."""

    def make(old: Any) -> Any:
        return lambda *arguments, **options: _uncounted(old(*arguments, **options))

    with BROKEN["inf-pixels"](), patched(inference, "measure_clips", make):
        yield


def _every_frame(drawn: ClipSet) -> ClipSet:
    """Return clips at the same starts of the file without its stride, with the mean frame of the strided one."""
    data = load_frames(drawn.data_path, frame_size=drawn.frames_BTCHW.shape[-1])
    return cut_clips(
        data,
        drawn.starts,
        drawn.frames_BTCHW.shape[1],
        context=drawn.context,
        data_sha256=drawn.data_sha256,
        mean_over=drawn.mean_frame_CHW,
    )


changes_result("stride-of-one", inference, "draw_held_out", _every_frame)


def _picture_is(name: str, pixels: np.ndarray) -> None:
    """Register a defect that writes other pixels into the new picture."""

    def change(path: Path) -> Path:
        load_matplotlib()
        from matplotlib.image import imsave

        imsave(path, pixels)
        return path

    changes_result(name, inference, "save_rollout_picture", change)


_picture_is("picture-of-one-pixel", np.zeros((1, 1, 3)))
_picture_is("picture-of-one-colour", np.full((400, 600, 3), 0.5))


def _half_and_half(old: Any, models: Any, frames: torch.Tensor, **arguments: Any) -> Any:
    output, context = old(models, frames, **arguments), arguments["context"]
    blend = (frames[:, context - 1 : context] + frames[:, :context].mean(dim=1, keepdim=True)) / 2
    return output._replace(predicted_BTCHW=blend.expand_as(output.predicted_BTCHW))


replaces("half-last-half-mean", (measure, probe), "rollout", _half_and_half)
