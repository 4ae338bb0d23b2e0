"""The picture of a comparison: the clips whose error changed most, true frames and those of both sides.

Axes: S generated frames, H height, W width, C colours.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyworlds_gate.compare.comparison import Comparison
from tinyworlds_gate.compare.sentences import amount_text, value_text
from tinyworlds_gate.compare.table import side_text
from tinyworlds_gate.reports.verdict_picture.film_strips import framed
from tinyworlds_gate.reports.verdict_picture.page import INK, MUTED, Page, resized
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.drawing import plain_style

WIDTH_IN, MARGIN_IN, SIDE_IN, GAP_IN, LINE_IN = 11.0, 0.3, 2.6, 0.05, 0.24
MOST_STEPS, MOST_CELL_IN, DPI = 8, 1.0, 110
COLOURS = {"WORSE": "#a4262c", "BETTER": "#1a7f37", "SAME": "#57606a"}
MOST_CLIPS = 4


@dataclass(frozen=True)
class ClipFrames:
    """Frames of a clip, uint8 [S, H, W, C]."""

    true_SHWC: np.ndarray
    generated_SHWC: np.ndarray


Frames = Mapping[str, ClipFrames]
"""Digest of a clip → its frames."""


def draw_picture(found: Comparison, a: Frames, b: Frames, path: Path) -> None:
    """Write a PNG; a side whose frames are not there says so.

    Raises:
        OSError: the folder cannot be written.
    """
    clips = [clip for clip in found.changed_clips if clip["digest"] in a or clip["digest"] in b][:MOST_CLIPS]
    lines = textwrap.wrap(found.sentence, 118)
    effects = [one for one in found.effects if one.change is not None]
    shown = [(a.get(str(clip["digest"])), b.get(str(clip["digest"]))) for clip in clips]
    cells = [_cell(pair) for pair in shown]
    head = 0.3 + LINE_IN * (len(lines) + len(effects) + 3)
    height = 2 * MARGIN_IN + head + sum(3 * (high + GAP_IN) + 0.35 for high, _ in cells) + (0 if clips else LINE_IN)
    with plain_style():
        page = Page(WIDTH_IN, height, DPI)
        top = _draw_head(page, found, lines)
        if not clips:
            page.text(
                MARGIN_IN, top, "No frames are there to show: neither side is a run or a file of frames.", size=10
            )
        for clip, pair, cell in zip(clips, shown, cells, strict=True):
            _draw_clip(page, clip, pair, cell, top)
            top += 3 * (cell[0] + GAP_IN) + 0.35
        with atomic_path(path) as temporary:
            page.figure.savefig(temporary, format="png", dpi=DPI)


def _draw_head(page: Page, found: Comparison, lines: Sequence[str]) -> float:
    colour = COLOURS.get(found.verdict, INK)
    top = MARGIN_IN + 0.1
    for number, line in enumerate(lines):
        weight = "bold" if number == 0 else "normal"
        page.text(MARGIN_IN, top, line, size=10, colour=colour if number == 0 else INK, weight=weight)
        top += LINE_IN
    for name, side in (("A, the baseline: ", found.a), ("B, the new one: ", found.b)):
        page.text(MARGIN_IN, top, textwrap.shorten(name + side_text(side), 125, placeholder=" …"), size=9, colour=MUTED)
        top += LINE_IN
    for one in found.effects:
        if one.change is None or one.a is None or one.b is None:
            continue
        texts = (one.label, value_text(one, one.a), value_text(one, one.b), amount_text(one, one.change), one.verdict)
        for x, text in zip((0.0, 4.6, 5.8, 7.0, 8.4), texts, strict=True):
            page.text(MARGIN_IN + x, top, text, size=9, colour=COLOURS.get(one.verdict, INK) if x == 8.4 else INK)
        top += LINE_IN
    return top + 0.15


def _cell(pair: tuple[ClipFrames | None, ClipFrames | None]) -> tuple[float, float]:
    """Height and width of a frame, in inches."""
    frames = next(one for one in pair if one is not None).true_SHWC
    steps = min(MOST_STEPS, len(frames))
    wide = min(MOST_CELL_IN, (WIDTH_IN - 2 * MARGIN_IN - SIDE_IN) / steps - GAP_IN)
    return wide * frames.shape[1] / frames.shape[2], wide


def _draw_clip(
    page: Page,
    clip: Mapping[str, object],
    pair: tuple[ClipFrames | None, ClipFrames | None],
    cell: tuple[float, float],
    top: float,
) -> None:
    known = next(one for one in pair if one is not None)
    steps = np.unique(np.linspace(0, len(known.true_SHWC) - 1, MOST_STEPS).round().astype(int))
    old, new = pair
    rows = (
        ("true frames", f"clip {clip['digest']}, episode {clip['episode']}", known.true_SHWC),
        ("A, the baseline", f"error {clip['a']:.4f}", None if old is None else old.generated_SHWC),
        ("B, the new one", f"error {clip['b']:.4f}", None if new is None else new.generated_SHWC),
    )
    high, wide = page.pixels(cell[0]), page.pixels(cell[1])
    for name, detail, frames in rows:
        page.text(MARGIN_IN, top + 0.12, name, size=9.5, weight="bold")
        page.text(MARGIN_IN, top + 0.34, detail, size=8.5, colour=MUTED)
        if frames is None:
            page.text(MARGIN_IN + SIDE_IN, top + 0.3, "its frames are not here", size=9, colour=MUTED)
        else:
            for column, frame in enumerate(resized(frames[steps], high, wide)):
                page.image(MARGIN_IN + SIDE_IN + column * (cell[1] + GAP_IN), top, framed(frame))
        top += cell[0] + GAP_IN
