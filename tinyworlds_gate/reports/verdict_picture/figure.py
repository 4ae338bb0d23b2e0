"""Draws the picture of a verdict: the sentence, the numbers of the rule, errors by step, what actions do, film strips.

It is read at a page's width, about 1100 px, within ten seconds: from the word on top down to single pixels. Sizes are
in inches; a page shows about a hundred pixels an inch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from tinyworlds_gate.names import DEGRADED, FAIL, INVALID, NOT_RUN, PASS
from tinyworlds_gate.reports.verdict_picture import captions
from tinyworlds_gate.reports.verdict_picture.charts import draw_chart, draw_control
from tinyworlds_gate.reports.verdict_picture.data import Strip, VerdictView
from tinyworlds_gate.reports.verdict_picture.film_strips import draw_strips, strips_height
from tinyworlds_gate.reports.verdict_picture.page import INK, MUTED, Page
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.drawing import plain_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPIS = (150, 100, 60)
"""Dots an inch, fewer where the picture would be too large for the page: frames of noise cannot be compressed."""
MOST_BYTES = 1_200_000
WIDTH_IN, MARGIN_IN = 11.0, 0.25
CARDS_IN, CHARTS_IN, NOTE_IN = 1.0, 3.55, 0.26
LINE_IN, LETTERS = 0.185, 118
"""Of the sentence: the height of a line and how many letters stand in it."""
SUBTITLE_IN = 0.18
MOST_LINES = 12

MARKS = {PASS: "✔", DEGRADED: "✔", FAIL: "✘", INVALID: "✘", NOT_RUN: "○"}
COLOURS = {
    PASS: ("#dcf2e2", "#13552b"),
    FAIL: ("#fbdcd9", "#8a1c12"),
    DEGRADED: ("#fdecc8", "#6d4600"),
    INVALID: ("#e7dcf5", "#4a2180"),
    NOT_RUN: ("#e6e9ed", "#3f4a56"),
}
"""Ground and ink of a verdict; its word and mark say the same without colour."""
PLAIN = ("#f2f5f8", "#4b5967")
CARD_STYLES = {
    captions.HOLDS: ("✔", *COLOURS[PASS]),
    captions.FAILS: ("✘", *COLOURS[FAIL]),
    captions.UNPROVEN: ("?", *COLOURS[INVALID]),
    captions.SHOWN: ("○", *PLAIN),
    captions.WARNS: ("△", *COLOURS[DEGRADED]),
}
CARDS_OF_ROW, LETTERS_OF_CARD, LETTERS_OF_NAME = 6, 28, 24
VALUE_SIZES = ((10, 14.0), (16, 10.0), (10**9, 8.2))
"""Letters of a card's value, and the size that they fit in."""


def save_picture(view: VerdictView, path: Path) -> None:
    """Draw the view and write it as a PNG, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    _save(lambda dpi: draw(view, dpi), path)


def save_film_strip(view: VerdictView, path: Path) -> bool:
    """Write the strip of the median clip alone; false where there is none.

    Raises:
        OSError: the folder cannot be written.
    """
    chosen = [strip for strip in view.strips if strip.rank in ("median", "only")]
    if chosen:
        _save(lambda dpi: draw_film_strip(chosen, view.clips, dpi), path)
    return bool(chosen)


def _save(figure_of: Callable[[int], Figure], path: Path) -> None:
    with atomic_path(path) as temporary, warnings.catch_warnings(), plain_style():
        warnings.simplefilter("ignore", UserWarning)  # a sentence may hold letters that the font lacks
        for dpi in DPIS:
            figure_of(dpi).savefig(temporary, format="png", dpi=dpi, pil_kwargs={"compress_level": 4})
            if temporary.stat().st_size <= MOST_BYTES:
                break


def draw(view: VerdictView, dpi: int) -> Figure:
    """The figure, as high as what it shows needs."""
    lines, below = sentence_lines(view.reasons), wrap(view.subtitle, LETTERS + 25)
    banner_in = max(0.8, 0.22 + LINE_IN * len(lines))
    below_in = 0.14 + SUBTITLE_IN * len(below)
    charts_in = CHARTS_IN if view.chart else 0.0
    cards_in = CARDS_IN * math.ceil(len(view.cards) / CARDS_OF_ROW)
    notes = [line for one in view.left_out for line in wrap(one, LETTERS + 20)]
    strips_in = strips_height(view.strips, WIDTH_IN - 2 * MARGIN_IN)
    height = 2 * MARGIN_IN + banner_in + below_in + cards_in + charts_in + strips_in + NOTE_IN * len(notes)
    page = Page(WIDTH_IN, height, dpi)
    top, left, width = MARGIN_IN, MARGIN_IN, WIDTH_IN - 2 * MARGIN_IN
    _draw_banner(page, view, lines, left, top, width, banner_in)
    for number, line in enumerate(below):
        page.text(left, top + banner_in + 0.13 + SUBTITLE_IN * number, line, size=9, colour=MUTED)
    top += banner_in + below_in
    if view.cards:
        _draw_cards(page, view.cards, left, top, width)
        top += cards_in
    if view.chart is not None and view.control is not None:
        draw_chart(page, view.chart, left, top, 6.9, charts_in)
        draw_control(page, view.control, left + 7.2, top, width - 7.2, charts_in)
        top += charts_in
    for note in notes:
        page.text(left, top + NOTE_IN / 2, note, size=9.5, colour=INK)
        top += NOTE_IN
    draw_strips(page, view.strips, view.clips, left, top, width)
    return page.figure


def draw_film_strip(strips: Sequence[Strip], clips: int, dpi: int) -> Figure:
    """The strips and nothing else."""
    width = WIDTH_IN - 2 * MARGIN_IN
    page = Page(WIDTH_IN, strips_height(strips, width) + MARGIN_IN, dpi)
    draw_strips(page, strips, clips, MARGIN_IN, MARGIN_IN / 2, width)
    return page.figure


def sentence_lines(reasons: list[str]) -> list[str]:
    """The reasons, wrapped, each with a dash where there are several; what is too long is cut and says so."""
    several = len(reasons) > 1
    lines: list[str] = []
    for reason in reasons:
        lines += wrap(reason, LETTERS, initial_indent="– " if several else "", subsequent_indent="   " * several)
    if len(lines) <= MOST_LINES:
        return lines
    return [*lines[: MOST_LINES - 1], "… the reports have the whole sentence"]


def _draw_banner(
    page: Page, view: VerdictView, lines: list[str], left: float, top: float, width: float, height: float
) -> None:
    ground, ink = COLOURS[view.tone or view.verdict]
    page.box(left, top, width, height, ground, edge=ink)
    word = f"{MARKS[view.verdict]} {view.verdict}"
    middle = top + height / 2
    page.text(left + 0.2, middle, word, size=24 if len(word) < 8 else 18, colour=ink, weight="bold")
    if view.limit:
        page.text(left + 0.55, middle + 0.24, f"({view.limit})", size=10, colour=ink, weight="bold")
    first = top + height / 2 - LINE_IN * (len(lines) - 1) / 2
    for number, line in enumerate(lines):
        page.text(left + 1.75, first + LINE_IN * number, line, size=10, colour=ink)


def _draw_cards(page: Page, cards: list[captions.Card], left: float, top: float, width: float) -> None:
    gap, first = 0.1, top
    each = (width - gap * (CARDS_OF_ROW - 1)) / CARDS_OF_ROW
    for number, card in enumerate(cards):
        mark, ground, ink = CARD_STYLES[card.state]
        row, column = divmod(number, CARDS_OF_ROW)
        x, top = left + column * (each + gap), first + row * CARDS_IN
        page.box(x, top, each, CARDS_IN - 0.15, ground)
        name = card.name if len(card.name) <= LETTERS_OF_NAME else f"{card.name[: LETTERS_OF_NAME - 1]}…"
        page.text(x + 0.1, top + 0.16, name, size=8.5, colour=ink)
        size = next(size for longest, size in VALUE_SIZES if len(card.value) <= longest)
        page.text(
            x + 0.1,
            top + 0.42,
            f"{mark} {card.value}",
            size=size,
            colour=ink,
            weight="bold",
        )
        lines = [part for one in card.against for part in wrap(one, LETTERS_OF_CARD)]
        for at, line in enumerate(lines[:2]):
            page.text(x + 0.1, top + 0.64 + 0.14 * at, line, size=7.8, colour=ink)
