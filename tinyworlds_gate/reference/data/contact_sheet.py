"""Summarise a frames file: statistics and a contact sheet PNG. Run as ``tinyworlds-gate data show FILE|NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.clips import clip_starts, copy_last_mse_by_step
from tinyworlds_gate.reference.data.frames_file import FramesData, run_starts

ROWS, COLUMNS = 8, 12
_GAP_PX = 2
_GAP_COLOUR = 255
_MAX_CLIPS = 256


@dataclass(frozen=True)
class FramesNumbers:
    """Statistics of a frames file: counts, size in pixels, and the MSE of copying the last frame (frames in [0, 1])."""

    frames: int
    height: int
    width: int
    episodes: int
    true_episodes: bool
    shortest_episode: int
    longest_episode: int
    clips: int
    copy_last_mse: tuple[float, ...]


def measure(data: FramesData, context: int = 3, steps: int = 12) -> FramesNumbers:
    """Compute the statistics; the copy-last error is measured on at most 256 evenly spread clips.

    ``steps`` is lowered when the episodes are too short; without any clip the list of errors is empty.
    """
    lengths = np.diff(np.append(run_starts(data.episode), len(data.episode)))
    steps = max(0, min(steps, int(lengths.max()) - context))
    clips, errors = 0, list[float]()
    if steps > 0:
        starts = clip_starts(data, context + steps, np.unique(data.episode))
        starts = starts[np.linspace(0, len(starts) - 1, min(len(starts), _MAX_CLIPS)).astype(np.int64)]
        clips, errors = len(starts), copy_last_mse_by_step(data, starts, context, steps)
    return FramesNumbers(
        frames=len(data.frames),
        height=data.frame_size[0],
        width=data.frame_size[1],
        episodes=len(np.unique(data.episode)),
        true_episodes=data.has_true_episodes,
        shortest_episode=int(lengths.min()),
        longest_episode=int(lengths.max()),
        clips=clips,
        copy_last_mse=tuple(errors),
    )


def describe(numbers: FramesNumbers) -> str:
    """Return the statistics as text, one per line."""
    kind = "episodes" if numbers.true_episodes else "blocks (the file does not record where episodes end)"
    lines = [
        f"frames            {numbers.frames}",
        f"size              {numbers.height} x {numbers.width} px",
        f"episodes          {numbers.episodes} {kind}",
        f"episode length    {numbers.shortest_episode} to {numbers.longest_episode} frames",
    ]
    if numbers.copy_last_mse:
        mean = float(np.mean(numbers.copy_last_mse))
        lines.append(f"copy-last MSE     mean {mean:.4f} over {numbers.clips} clips, by step ahead:")
        lines += [f"  {step:2d}              {error:.4f}" for step, error in enumerate(numbers.copy_last_mse, start=1)]
    else:
        lines.append("copy-last MSE     not measured: every episode is shorter than 4 frames")
    return "\n".join(lines)


def contact_sheet(data: FramesData) -> np.ndarray:
    """Return uint8 [height, width, 3]: a row for each of up to 8 episodes, 12 frames spread over the episode."""
    bounds = np.append(run_starts(data.episode), len(data.episode))
    chosen = np.unique(np.linspace(0, len(bounds) - 2, ROWS).astype(np.int64))
    rows = []
    for run in chosen:
        low, high = int(bounds[run]), int(bounds[run + 1])
        index = np.linspace(low, high - 1, COLUMNS).astype(np.int64)
        rows.append(np.concatenate([_pad(frame) for frame in data.frames[index]], axis=1))
    return np.concatenate(rows, axis=0)


def _pad(frame: np.ndarray) -> np.ndarray:
    return np.pad(frame, ((0, _GAP_PX), (0, _GAP_PX), (0, 0)), constant_values=_GAP_COLOUR)


def write_contact_sheet(data: FramesData, output: Path) -> None:
    """Write the contact sheet as a PNG. Raises ``DataError`` when the folder cannot be written."""
    from PIL import Image

    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(contact_sheet(data)).save(output, format="PNG")
    except OSError as error:
        raise DataError(f"the picture {output} cannot be written ({error}); fix: choose another --output") from error
