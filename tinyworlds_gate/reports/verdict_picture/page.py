"""A figure laid out in inches from its upper left corner, as a page is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID = "#1c2733", "#5b6875", "#e4e7eb"


class Page:
    """``width_in`` x ``height_in`` inches; every place is (inches from the left, inches from the top)."""

    def __init__(self, width_in: float, height_in: float, dpi: int) -> None:
        from matplotlib.figure import Figure

        self.width_in, self.height_in, self.dpi = width_in, height_in, dpi
        self.figure = Figure(figsize=(width_in, height_in), dpi=dpi, facecolor="white")

    def text(
        self, x: float, y: float, text: str, *, size: float, colour: str = INK, weight: str = "normal", at: str = "left"
    ) -> None:
        """One line with its middle at ``y``; ``at`` says which end of it is at ``x``."""
        self.figure.text(
            x / self.width_in,
            1 - y / self.height_in,
            text,
            fontsize=size,
            color=colour,
            fontweight=weight,
            ha=at,
            va="center_baseline",
            parse_math=False,
        )

    def box(self, x: float, y: float, width: float, height: float, ground: str, edge: str | None = None) -> None:
        """A filled rectangle."""
        from matplotlib.patches import Rectangle

        corner = (x / self.width_in, 1 - (y + height) / self.height_in)
        self.figure.add_artist(
            Rectangle(
                corner,
                width / self.width_in,
                height / self.height_in,
                facecolor=ground,
                edgecolor=edge or ground,
                linewidth=1.2,
                transform=self.figure.transFigure,
                zorder=-1,
            )
        )

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Quiet axes with a grid behind; ``y`` is their upper edge."""
        place = (x / self.width_in, 1 - (y + height) / self.height_in, width / self.width_in, height / self.height_in)
        axes = self.figure.add_axes(place)
        axes.tick_params(labelsize=9, colors=INK, length=3)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return axes

    def image(self, x: float, y: float, image_HWC: np.ndarray) -> None:
        """A picture at its own pixels, ``y`` its upper edge; uint8."""
        left, lower = round(x * self.dpi), round((self.height_in - y) * self.dpi) - len(image_HWC)
        self.figure.figimage(image_HWC, left, lower, origin="upper")

    def pixels(self, inches: float) -> int:
        """Inches as whole pixels."""
        return round(inches * self.dpi)


def resized(frames_SHWC: np.ndarray, height: int, width: int) -> np.ndarray:
    """Frames uint8 at another size: hard pixels when enlarged, else the mean of the pixels that one covers."""
    rows, columns = (
        _covering(size, count) for size, count in zip(frames_SHWC.shape[1:3], (height, width), strict=True)
    )
    table = frames_SHWC.astype(np.float32)
    table = np.tensordot(table, rows, axes=(1, 1))  # S W C h
    table = np.tensordot(table, columns, axes=(1, 1))  # S C h w
    resized: np.ndarray = table.transpose(0, 2, 3, 1).round().astype(np.uint8)
    return resized


def _covering(size: int, count: int) -> np.ndarray:
    """``[count, size]``: which part of each new pixel lies on each old one; every row sums to 1."""
    edges = np.arange(count + 1) * (size / count)
    old = np.arange(size)
    lower, upper = edges[:-1, None], edges[1:, None]
    shared = np.clip(np.minimum(upper, old + 1) - np.maximum(lower, old), 0, None)
    parts: np.ndarray = (shared / shared.sum(axis=1, keepdims=True)).astype(np.float32)
    return parts
