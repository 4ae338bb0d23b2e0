"""The raw measures that an inference run writes: every clip's errors by step; read, and checked to be whole.

Schema 1 lacks the keys named optional here; its files are still read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.plain_json import load_json

PER_STEP_KEYS = ("rollout_mse", "random_action_mse", "copy_last_mse", "mean_frame_mse")
OPTIONAL_PER_STEP_KEYS = ("strict_mse", "teacher_forced_mse", "rollout_ssim")
RUN_KEYS = ("generation_steps", "context", "clip_digest", "n_actions", "teacher_forced", "seed")
CLIP_KEYS = ("start", "episode", "tokenizer_recon_mse", "latent_actions")


class MeasuresError(GateError):
    """The measures file of an inference run is missing or contradicts itself."""


def read_raw(path: Path) -> dict[str, Any]:
    """Read the raw measures of an inference run and check that they are whole.

    Raises:
        MeasuresError: the file is missing, is not JSON, or a clip lacks a value.
    """
    try:
        raw = load_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MeasuresError(f"{path}: the inference run left no measures; read its log for the reason") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MeasuresError(f"{path}: the measures are not readable JSON ({error}); run inference again") from error
    _require_whole(path, raw)
    return raw


def _require_whole(path: Path, raw: Any) -> None:
    if not isinstance(raw, dict):
        raise MeasuresError(f"{path}: the measures are a {type(raw).__name__}, not a mapping; run inference again")
    if not raw.get("clips"):
        raise MeasuresError(f"{path}: the measures hold no clip; nothing was evaluated, and that is not a pass")
    for key in RUN_KEYS:
        if raw.get(key) is None:
            raise MeasuresError(f"{path}: the measures have no {key}; run inference again")
    for number, clip in enumerate(raw["clips"], start=1):
        if not isinstance(clip, dict):
            raise MeasuresError(f"{path}: clip number {number} is no mapping; run inference again")
        _require_whole_clip(f"{path}: clip at {clip.get('start')}", clip, raw["generation_steps"])
    for key in OPTIONAL_PER_STEP_KEYS:
        having = sum(clip.get(key) is not None for clip in raw["clips"])
        if having not in (0, len(raw["clips"])):
            raise MeasuresError(f"{path}: {having} of {len(raw['clips'])} clips have {key}; all or none must")


def _require_whole_clip(where: str, clip: dict[str, Any], steps: int) -> None:
    present = [key for key in OPTIONAL_PER_STEP_KEYS if clip.get(key) is not None]
    for key in (*PER_STEP_KEYS, *present):
        values = clip.get(key) or []
        if len(values) != steps:
            raise MeasuresError(f"{where} has {len(values)} values of {key}, expected {steps}")
        strange = [value for value in values if not isinstance(value, int | float)]
        if strange:
            raise MeasuresError(f"{where} has the value {strange[0]!r} in {key}; only numbers are errors")
    for key in CLIP_KEYS:
        if clip.get(key) is None:
            raise MeasuresError(f"{where} has no {key}; run inference again")
