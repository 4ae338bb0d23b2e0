"""What the measured clips say without any model, read by the harness itself from the frames file.

The inference process writes what models made of the clips; what the clips are it only claims. Here they are cut out of
the file again, with their digest, the error of copying the last frame, the memory references, the true actions and the
player's displacements. `claims.py` holds what the process states to them.

Axes: B clips, T = P + S frames, P context frames, S generated frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.measures.baselines import Baselines, TrainingFrames, baselines
from tinyworlds_gate.gate.measures.information import displacements
from tinyworlds_gate.gate.measures.memory_references import MemoryErrors, memory_references
from tinyworlds_gate.gate.measures.raw import MeasuresError
from tinyworlds_gate.reference.data.clip_reader import read_clips
from tinyworlds_gate.reference.data.split import clip_digest

ORIGIN_KEYS = ("data_path", "stride", "frame_size", "context", "generation_steps", "clip_digest")


@dataclass(frozen=True)
class ClipFacts:
    """Known of the clips of one inference run, whatever the models are.

    ``memory`` is None with the reason in ``memory_note``; ``true_actions`` and ``displacements`` are ``[B, S]``, the
    transition into each generated frame, or None where the file does not tell. ``true_BSHWC`` are the frames that were
    to be generated, uint8, ``context_BPHWC`` the P frames before them, and ``episodes`` [B] the episode of each clip.
    """

    file: str
    clip_digest: str
    true_BSHWC: np.ndarray
    context_BPHWC: np.ndarray
    episodes: np.ndarray
    copy_last_mse_BS: np.ndarray
    memory: MemoryErrors | None
    memory_note: str
    true_actions: np.ndarray | None
    displacements: np.ndarray | None
    baselines: Baselines
    objects: np.ndarray | None = None
    """Labels of the true frames: a table [L] of clip, step, kind, x, y (pixels); None where the file has none."""


def clip_facts(raw: dict[str, Any], root: Path, training: TrainingFrames | None = None) -> ClipFacts:
    """The facts of the clips that raw measures name.

    ``root`` is the folder that a relative ``data_path`` starts from; ``training`` None: the training frames are not
    known.

    Raises:
        MeasuresError: the measures do not say which clips were measured, or these cannot be read again.
    """
    untold = [key for key in ORIGIN_KEYS if raw.get(key) is None]
    if untold:
        raise MeasuresError(
            f"the measures do not say which clips they are errors of (no {', '.join(untold)}); run inference again"
        )
    path, context = root / raw["data_path"], int(raw["context"])
    starts = np.array([clip["start"] for clip in raw["clips"]], np.int64)
    length = context + int(raw["generation_steps"])
    try:
        clips = read_clips(path, starts, length, frame_size=int(raw["frame_size"]), stride=int(raw["stride"]))
        found = baselines(clips.frames[:, :context], clips.frames[:, context:], clips.episode, training)
    except DataError as error:
        raise MeasuresError(f"the clips that were measured cannot be read again: {error}") from error
    memory, note = _memory(clips.frames, clips.player_position, context)
    return ClipFacts(
        file=path.name,
        clip_digest=clip_digest(clips.frames, starts),
        true_BSHWC=clips.frames[:, context:],
        context_BPHWC=clips.frames[:, :context],
        episodes=clips.episode,
        copy_last_mse_BS=_copy_last(clips.frames, context),
        memory=memory,
        memory_note=note,
        true_actions=None if clips.actions is None else clips.actions[:, context - 1 : -1].astype(np.int64),
        displacements=None if clips.player_position is None else displacements(clips.player_position)[:, context - 1 :],
        baselines=found,
        objects=_objects(clips.objects, context),
    )


def _objects(labels: np.ndarray | None, context: int) -> np.ndarray | None:
    """The labels of the frames after the context, counted from there."""
    if labels is None:
        return None
    labels = labels[labels["step"] >= context].copy()
    labels["step"] -= context
    return labels


def _copy_last(clips_BTHWC: np.ndarray, context: int) -> np.ndarray:
    """Errors ``[B, S]`` of repeating the last context frame, from the file's bytes, in float64."""
    errors = np.empty((len(clips_BTHWC), clips_BTHWC.shape[1] - context))
    for number, clip in enumerate(clips_BTHWC):
        difference = clip[context:].astype(np.int32) - clip[context - 1]
        errors[number] = np.square(difference).mean(axis=(1, 2, 3), dtype=np.float64) / 255.0**2
    return errors


def _memory(clips: np.ndarray, positions: np.ndarray | None, context: int) -> tuple[MemoryErrors | None, str]:
    if positions is None:
        return None, "the frames file has no player_position"
    try:
        return memory_references(clips, positions, context), ""
    except DataError as error:
        return None, str(error)
