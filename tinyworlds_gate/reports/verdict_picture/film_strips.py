"""The film strips in the picture of a verdict: true, predicted, error, a column a step, frames as hard pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyworlds_gate.gate.measures.recomputed_errors import WHITE
from tinyworlds_gate.reports.verdict_picture.captions import mse_text
from tinyworlds_gate.reports.verdict_picture.data import Strip
from tinyworlds_gate.reports.verdict_picture.page import MUTED, Page, resized

ERROR_SCALE = 0.5
"""The absolute error (of 1) that is drawn in the brightest colour."""
SIDE_IN, ROWS_IN, GAP_IN = 1.8, 0.8, 0.05
HEAD_IN, STEP_IN, FOOT_IN = 0.34, 0.22, 0.34
MOST_CELL_IN = 1.1
EDGE = (196, 206, 216)
LINE_IN = 0.2
ROWS = ("true", "predicted", "error")
RANKS = {"best": "Best clip", "median": "Median clip", "worst": "Worst clip", "only": "The only clip"}


def strips_height(strips: Sequence[Strip], width: float) -> float:
    """Inches that the strips take."""
    return HEAD_IN + sum(_height(strip, width) for strip in strips) if strips else 0.0


def draw_strips(page: Page, strips: Sequence[Strip], clips: int, left: float, top: float, width: float) -> None:
    """The strips below each other, with the scale of their errors."""
    if not strips:
        return
    page.text(left, top + 0.14, "What it generated", size=11.5, weight="bold")
    _draw_scale(page, left + width - 3.95, top + 0.14)
    top += HEAD_IN
    for strip in strips:
        _draw_side(page, strip, clips, left, top)
        _draw_frames(page, strip, left + SIDE_IN + ROWS_IN, top, _cell(strip, width))
        top += _height(strip, width)


def _cell(strip: Strip, width: float) -> tuple[float, float]:
    """Height and width of a frame, in inches."""
    wide = min(MOST_CELL_IN, (width - SIDE_IN - ROWS_IN) / len(strip.steps) - GAP_IN)
    pixels_high, pixels_wide = strip.context_HWC.shape[:2]
    return wide * pixels_high / pixels_wide, wide


def _height(strip: Strip, width: float) -> float:
    rows = 3 * (_cell(strip, width)[0] + GAP_IN)
    side = _side_picture(strip)[0] + LINE_IN * (len(_side_lines(strip)) + 1)
    return STEP_IN + max(rows, side) + FOOT_IN


def _draw_frames(page: Page, strip: Strip, left: float, top: float, cell: tuple[float, float]) -> None:
    """Three rows of frames as one picture, with a heading and the error of each column."""
    cell_high, cell_wide = cell
    pitch_high, pitch_wide = cell_high + GAP_IN, cell_wide + GAP_IN
    high, wide = page.pixels(cell_high), page.pixels(cell_wide)
    tall, broad = page.pixels(3 * pitch_high), page.pixels(len(strip.steps) * pitch_wide)
    canvas = np.full((tall, broad, 3), int(WHITE), np.uint8)
    tables = (strip.true_SHWC, strip.predicted_SHWC, _colours(strip.error_SHW))
    for row, (name, table) in enumerate(zip(ROWS, tables, strict=True)):
        upper = page.pixels(row * pitch_high)
        for column, frame_HWC in enumerate(resized(table, high, wide)):
            first = page.pixels(column * pitch_wide)
            canvas[upper : upper + high, first : first + wide] = framed(frame_HWC)
        page.text(left - 0.1, top + STEP_IN + row * pitch_high + cell_high / 2, name, size=9.5, at="right")
    page.image(left, top + STEP_IN, canvas)
    for column, (step, mse) in enumerate(zip(strip.steps, strip.step_mse, strict=True)):
        x = left + column * pitch_wide + cell_wide / 2
        page.text(x, top + 0.12, f"step {step}", size=8.5, colour=MUTED, at="center")
        page.text(x, top + STEP_IN + 3 * pitch_high + 0.06, mse_text(mse), size=8.5, colour=MUTED, at="center")


def framed(image_HWC: np.ndarray) -> np.ndarray:
    """With a thin edge, so that a white frame has one on white paper."""
    edged = image_HWC.copy()
    for edge in (edged[0], edged[-1], edged[:, 0], edged[:, -1]):
        edge[:] = EDGE
    return edged


def _draw_side(page: Page, strip: Strip, clips: int, left: float, top: float) -> None:
    """Which clip it is, the last true frame that the model was given, and how it compares."""
    high, wide = _side_picture(strip)
    many = f" of {clips}" if clips > 1 else ""
    page.text(left, top + 0.1, f"{RANKS[strip.rank]}{many}", size=10.5, weight="bold")
    shown = resized(strip.context_HWC[None], page.pixels(high), page.pixels(wide))[0]
    page.image(left, top + STEP_IN, framed(shown))
    for number, (text, size, weight) in enumerate(_side_lines(strip)):
        page.text(left, top + STEP_IN + high + 0.12 + LINE_IN * number, text, size=size, weight=weight)


def _side_picture(strip: Strip) -> tuple[float, float]:
    pixels_high, pixels_wide = strip.context_HWC.shape[:2]
    return 1.0, pixels_wide / pixels_high


def _side_lines(strip: Strip) -> list[tuple[str, float, str]]:
    """(text, size, weight) of each line below the last given frame."""
    compared = "▲ better than a copy" if strip.mse < strip.copy_last_mse else "▼ no better than a copy"
    stated = [] if strip.stated_mse is None else [(f"stated: {mse_text(strip.stated_mse)}", 10.0, "bold")]
    return [
        ("the last frame given", 8.5, "normal"),
        (f"error {mse_text(strip.mse)}", 10, "bold"),
        *stated,
        (f"copying it {mse_text(strip.copy_last_mse)}", 10, "normal"),
        ("✘ not the error stated" if stated else compared, 9, "bold"),
        (f"frame {strip.start}, episode {strip.episode}", 8, "normal"),
    ]


def _draw_scale(page: Page, left: float, y: float) -> None:
    ramp = _colours(np.linspace(0, ERROR_SCALE, page.pixels(1.2))[None, None, :])[0]
    page.text(left + 1.95, y, "error of a pixel (mean of its colours)  0", size=8, colour=MUTED, at="right")
    page.image(left + 2.0, y - 0.06, np.repeat(ramp, page.pixels(0.12), axis=0))
    page.text(left + 3.25, y, f"{ERROR_SCALE:g} or more", size=8, colour=MUTED)


def _colours(error_SHW: np.ndarray) -> np.ndarray:
    """Errors of 1 as uint8 colours ``[S, H, W, 3]``, black to bright."""
    from matplotlib import colormaps

    shown: np.ndarray = colormaps["magma"](np.clip(error_SHW / ERROR_SCALE, 0, 1), bytes=True)[..., :3]
    return shown
