"""What the measured clips say without any model, read by the harness itself from the frames file.

The inference process writes what models made of the clips; what the clips are it only claims. Here they are cut out of
the file again: their digest and the error of copying the last frame must be those that the process wrote, else its
errors are no evidence. Beside them the memory references, the true actions and the player's displacements.

Axes: B clips, T = context + S frames, S generated frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.information import displacements
from tinyworlds_gate.gate.memory_references import MemoryErrors, memory_references
from tinyworlds_gate.gate.raw_measures import MeasuresError
from tinyworlds_gate.reference.data.clip_draw import clip_digest
from tinyworlds_gate.reference.data.clip_reading import read_clips

ORIGIN_KEYS = ("data_path", "stride", "frame_size", "context", "generation_steps", "clip_digest")
AGREEMENT = 1e-3
"""Relative: the process computes in float32."""
LEAST_ERROR = 1e-7
"""Absolute: where nothing moves."""


@dataclass(frozen=True)
class ClipFacts:
    """Known of the clips of one inference run, whatever the models are.

    ``memory`` is None with the reason in ``memory_note``; ``true_actions`` and ``displacements`` are ``[B, S]``, the
    transition into each generated frame, or None where the file does not tell.
    """

    copy_last_mse_BS: np.ndarray
    memory: MemoryErrors | None
    memory_note: str
    true_actions: np.ndarray | None
    displacements: np.ndarray | None


def clip_facts(raw: dict[str, Any], root: Path) -> ClipFacts | None:
    """The facts of the clips that raw measures name; None when the measures do not say where their clips lie.

    ``root`` is the folder that a relative ``data_path`` starts from.

    Raises:
        MeasuresError: the clips cannot be read again, or are not those that were measured.
    """
    if any(raw.get(key) is None for key in ORIGIN_KEYS):
        return None
    path, context = root / raw["data_path"], int(raw["context"])
    starts = np.array([clip["start"] for clip in raw["clips"]], np.int64)
    length = context + int(raw["generation_steps"])
    try:
        clips = read_clips(path, starts, length, frame_size=int(raw["frame_size"]), stride=int(raw["stride"]))
    except DataError as error:
        raise MeasuresError(f"the clips that were measured cannot be read again: {error}") from error
    if clip_digest(clips.frames, starts) != raw["clip_digest"]:
        raise MeasuresError(
            f"the clips in {path.name} are not those that were measured (another digest): the file changed, or the "
            "inference run read other frames; run inference again"
        )
    copied = _copy_last(clips.frames, context)
    _require_same_errors(raw, copied)
    memory, note = _memory(clips.frames, clips.player_position, context)
    return ClipFacts(
        copy_last_mse_BS=copied,
        memory=memory,
        memory_note=note,
        true_actions=None if clips.actions is None else clips.actions[:, context - 1 : -1].astype(np.int64),
        displacements=None if clips.player_position is None else displacements(clips.player_position)[:, context - 1 :],
    )


def _copy_last(clips_BTHWC: np.ndarray, context: int) -> np.ndarray:
    """Errors ``[B, S]`` of repeating the last context frame, from the file's bytes, in float64."""
    errors = np.empty((len(clips_BTHWC), clips_BTHWC.shape[1] - context))
    for number, clip in enumerate(clips_BTHWC):
        difference = clip[context:].astype(np.int32) - clip[context - 1]
        errors[number] = np.square(difference).mean(axis=(1, 2, 3), dtype=np.float64) / 255.0**2
    return errors


def _require_same_errors(raw: dict[str, Any], copied_BS: np.ndarray) -> None:
    claimed = np.array([clip["copy_last_mse"] for clip in raw["clips"]], np.float64)
    wrong = ~np.isclose(claimed, copied_BS, rtol=AGREEMENT, atol=LEAST_ERROR)
    if wrong.any():
        clip, step = np.argwhere(wrong)[0]
        raise MeasuresError(
            f"clip at {raw['clips'][clip]['start']}, step {step + 1}: the inference run states an error of "
            f"{claimed[clip, step]:.6f} for copying the last frame, from the file it is {copied_BS[clip, step]:.6f}: "
            "its frames were scaled, cut or mixed up before they were compared, so its other errors are no evidence"
        )


def _memory(clips: np.ndarray, positions: np.ndarray | None, context: int) -> tuple[MemoryErrors | None, str]:
    if positions is None:
        return None, "the frames file has no player_position"
    try:
        return memory_references(clips, positions, context), ""
    except DataError as error:
        return None, str(error)
