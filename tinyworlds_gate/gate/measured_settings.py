"""What a rollout measures, from the settings of a verdict: two spellings of one meaning give the same (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.schema import InferenceConfig
from tinyworlds_gate.gate.binding import MEASURING_KEYS
from tinyworlds_gate.names import EVALUATION
from tinyworlds_gate.reference.data.datasets import dataset_stride, made_by_runs, stride_from_fps

NO_RULES = ("dataset", "fps", "tf32", "seed", "clips", "clip_seed")
"""Settings that choose clips or change last digits only; dataset and fps count as the stride that they give."""
ALMOST_ZERO = 0.01
"""Temperatures below it take the likeliest token in practice."""


def measured_settings(config: Mapping[str, Any], frames: Path | None = None) -> dict[str, Any]:
    """Return what is measured under the settings of a verdict's binding, without the choice of clips.

    Args:
        config: dotted setting → value; a setting that an older version did not have has its default.
        frames: the frames file, which may record its rate.
    """
    found = {key: _setting(config, key) for key in MEASURING_KEYS if key not in NO_RULES}
    steps, horizon = int(found["generation_steps"]), int(found["prediction_horizon"])
    trained_on = config.get("training.context_length")
    context = found["context_window"] or (None if trained_on is None else trained_on - horizon)
    memory = found["memory_window"] or context
    if context is not None:  # the last step sees no more frames than these
        memory = min(memory, context + (steps - 1) * horizon)
    found |= {"context_window": context, "memory_window": memory, "stride": _stride(config, frames)}
    found["decode_steps"] = _passes(config, int(found["decode_steps"]), horizon)
    if found["temperature"] < ALMOST_ZERO:
        found["temperature"] = 0.0
    if steps == 1:  # nothing is fed back
        del found["rollout"], found["teacher_forced"]
    return found


def same_game(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether two bindings name the same frames file, or the same game."""
    if was.get("dataset_sha256") is not None and was.get("dataset_sha256") == now.get("dataset_sha256"):
        return True
    one, two = (str(_setting(each.get("config") or {}, "dataset")).upper() for each in (was, now))
    return one == two


def _setting(config: Mapping[str, Any], key: str) -> Any:
    value = config.get(f"inference.{key}")
    field = InferenceConfig.model_fields[key]
    return None if value is None and field.is_required() else field.default if value is None else value


def _stride(config: Mapping[str, Any], frames: Path | None) -> int:
    dataset, fps = str(_setting(config, "dataset")).upper(), int(_setting(config, "fps"))
    if config.get("inference.clip_draw") == EVALUATION or made_by_runs(dataset):
        return 1
    return stride_from_fps(fps) if frames is None else dataset_stride(frames, dataset, fps)


def _passes(config: Mapping[str, Any], decode_steps: int, horizon: int) -> Any:
    """The tokens that each pass of the decoding reveals; passes that reveal none change nothing."""
    size, patch = config.get("training.frame_size"), config.get("training.patch_size")
    if size is None or patch is None:
        return decode_steps
    from tinyworlds_gate.reference.models.maskgit import reveal_counts

    return [count for count in reveal_counts(horizon * (size // patch) ** 2, decode_steps) if count]
