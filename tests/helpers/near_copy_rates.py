"""Measure how often clips of other episodes count as near copies, and how often near copies are found (docs/gate.md).

tinyworlds-gate data make crafter --frame-size 64 --num-frames 20000 --output crafter.h5
python -m tests.helpers.near_copy_rates crafter.h5
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tinyworlds_gate.reference.data.clips import gather_clips
from tinyworlds_gate.reference.data.frame_codes import KnownFrames, frame_codes, known_frames
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.near_copies import shared_by_chance, shared_courses
from tinyworlds_gate.reference.data.split import held_out_clips, split_episodes

LENGTH, OTHERS, COPIES = 15, 2000, 200


def rate(clips: np.ndarray, known: KnownFrames) -> float:
    """Return the share of clips uint8 [K, T, H, W, C] that count as copies."""
    codes = frame_codes(clips.reshape(-1, *clips.shape[2:])).reshape(*clips.shape[:2], -1)
    return float((shared_courses(codes, known) >= shared_by_chance(known, LENGTH).least).mean())


def jpeg(clips: np.ndarray, quality: int) -> np.ndarray:
    """Return the clips after encoding each frame as JPEG."""

    def again(frame: np.ndarray) -> np.ndarray:
        file = BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return np.stack([again(one) for one in clips.reshape(-1, *clips.shape[2:])]).reshape(clips.shape)


def main(path: Path) -> None:
    """Print the rates as rows of a table."""
    data = load_frames(path)
    split = split_episodes(data.episode, 0.5, 0)
    known = known_frames([(0, data.frames)], data.episode, split.train, name=path.name, stride=1)

    def drawn(episodes: tuple[int, ...], count: int) -> np.ndarray:
        starts = held_out_clips(path, data.episode, episodes, length=LENGTH, count=count, seed=0, draw=0)
        return gather_clips(data.frames, starts, LENGTH)

    clips, rng = drawn(split.train, COPIES), np.random.default_rng(0)

    def noisy(levels: int) -> np.ndarray:
        changed = clips.astype(int) + rng.integers(-levels, levels + 1, clips.shape)
        return np.clip(changed, 0, 255).astype(np.uint8)

    kinds = {
        "clips of other episodes": drawn(split.held_out, OTHERS),
        "the same pixels": clips,
        "one level more": np.clip(clips.astype(int) + 1, 0, 255).astype(np.uint8),
        "noise of ±2 levels": noisy(2),
        "noise of ±8 levels": noisy(8),
        **{f"JPEG, quality {quality}": jpeg(clips, quality) for quality in (90, 75, 50)},
    }
    for kind, frames in kinds.items():
        print(f"| {kind} | {len(frames)} | {100 * rate(frames, known):.1f} % |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
