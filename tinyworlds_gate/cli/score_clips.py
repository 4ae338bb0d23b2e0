"""Which clips `tinyworlds-gate score` measures: those of the command line, those that the file names, or a draw.

The result's settings record the choice (`starts`, and for a draw `clip_draw` and `clip_seed`).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.config.cli_values import parse_count, parse_positive_int, parse_whole
from tinyworlds_gate.errors import ConfigError, DataError
from tinyworlds_gate.names import EVERYTHING
from tinyworlds_gate.reference.data.clip_reader import require_whole_clips
from tinyworlds_gate.reference.data.clips import clip_starts
from tinyworlds_gate.reference.data.frames_file import FramesData
from tinyworlds_gate.reference.data.split import EpisodeSplit, draw_clips, episodes_of_draw

FROM_FILE, FROM_DRAW, GIVEN = "file", "draw", "given"
DEFAULT_CLIPS = 64
DRAW_OPTIONS = ("clips", "clip_seed", "clip_draw")


@dataclass(frozen=True)
class ChosenClips:
    """The first frames of the clips, int64 [B], and how they were chosen, for the result's settings."""

    starts: np.ndarray
    settings: dict[str, Any]


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that choose clips; what was not given stays None, so that nothing is ignored in silence."""
    parser.add_argument(
        "--starts",
        type=parse_starts,
        metavar="N,N|file|draw",
        help="first frames of the clips; `file`: all that the file names in `clip_starts`; `draw`: a draw over its "
        "episodes (default: file where it names clips, else draw)",
    )
    parser.add_argument("--clips", type=parse_positive_int, help=f"how many clips to draw (default: {DEFAULT_CLIPS})")
    parser.add_argument("--clip-seed", type=parse_count, help="which clips are drawn (default: 0)")
    parser.add_argument(
        "--clip-draw",
        type=parse_whole,
        choices=(0, 1, 2),
        help="over which held-out episodes: 0 all, 1 the half that a run's attempts measure, 2 the half of its final "
        "verdict, as clip_draw of inference.yaml (default: 0)",
    )


def chosen_clips(args: argparse.Namespace, data: FramesData, length: int, split: EpisodeSplit | None) -> ChosenClips:
    """The clips to measure, each of ``length`` frames.

    ``split`` is that of a checkpoint that was trained on this very file: only its held-out episodes are drawn from.

    Raises:
        ConfigError: an option of a draw is given beside named clips.
        DataError: the file names no clips, a clip leaves its episode, or there are too few of them.
    """
    source = GIVEN if isinstance(args.starts, list) else args.starts
    if source is None:
        source = FROM_DRAW if data.clip_starts is None else FROM_FILE
    if source == FROM_DRAW:
        return _drawn(args, data, length, split)
    _refuse_draw_options(args, source)
    starts = np.array(args.starts, np.int64) if source == GIVEN else _named(data)
    if len(np.unique(starts)) < len(starts):
        named = f"--starts {','.join(map(str, args.starts))}" if source == GIVEN else f"{data.path}: clip_starts"
        raise DataError(f"{named}: a clip is named twice; name each once")
    require_whole_clips(data.path, data.episode, starts, length)
    return ChosenClips(starts, {"starts": source})


def _named(data: FramesData) -> np.ndarray:
    if data.clip_starts is None:
        why = "a stride skips frames, so its clip_starts do not hold" if data.stride > 1 else "it has no clip_starts"
        raise DataError(
            f"--starts file: {data.path.name} names no clips ({why}); name them (--starts N,N), or draw them "
            "(--starts draw)"
        )
    return data.clip_starts


def _drawn(args: argparse.Namespace, data: FramesData, length: int, split: EpisodeSplit | None) -> ChosenClips:
    seed = args.clip_seed or 0
    draw = EVERYTHING if args.clip_draw is None else args.clip_draw
    everything = split.held_out if split else np.unique(data.episode)
    own = episodes_of_draw(everything, draw, seed)
    if not len(own):
        raise DataError(
            f"--clip-draw {draw}: the {len(everything)} episodes that can be measured leave none for this half; use "
            "--clip-draw 0 or 1, or a file with more episodes"
        )
    admissible = clip_starts(data, length, own)
    count = DEFAULT_CLIPS if args.clips is None else args.clips
    starts = draw_clips(admissible, data.episode[admissible], count, seed)
    return ChosenClips(starts, {"starts": FROM_DRAW, "clip_draw": draw, "clip_seed": seed})


def _refuse_draw_options(args: argparse.Namespace, source: str) -> None:
    given = [name for name in DRAW_OPTIONS if getattr(args, name) is not None]
    if given:
        option = "--" + given[0].replace("_", "-")
        named = "--starts names the clips" if source == GIVEN else "the file names the clips (clip_starts)"
        raise ConfigError(
            f"{option} {getattr(args, given[0])}: it chooses drawn clips, but {named}; leave it out, or draw them with "
            "--starts draw"
        )


def parse_starts(text: str) -> list[int] | str:
    """`10,150`, `file` or `draw`."""
    if text in (FROM_FILE, FROM_DRAW):
        return text
    numbers = [number.strip() for number in text.split(",")]
    if not all(number.isdigit() for number in numbers):
        raise argparse.ArgumentTypeError(
            f"{text!r} names no clips; give their first frames, like 10,150, or `file`, or `draw`"
        )
    return [int(number) for number in numbers]
