"""What the picture of a verdict shows, as plain data: curves, bars and film strips, from the journal and its files.

The harness holds all of it itself: the `gate_verdict` event, the raw measures, the generated frames beside them, and
the true frames of the frames file. No model and no torch.

Axes: B clips, S generated frames, H height, W width, C colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.config.thresholds import GateThresholds, recorded_thresholds
from tinyworlds_gate.gate.measures.claims import ROUNDING
from tinyworlds_gate.gate.measures.clip_facts import ORIGIN_KEYS
from tinyworlds_gate.gate.measures.raw import MeasuresError, read_raw
from tinyworlds_gate.gate.measures.recomputed_errors import WHITE, recomputed
from tinyworlds_gate.gate.verdict_words import pass_limit, tone
from tinyworlds_gate.names import PASS
from tinyworlds_gate.reference.data.clip_reader import read_clips
from tinyworlds_gate.reference.rollout.generated_frames import read_generated
from tinyworlds_gate.reference.rollout.mode import mode_text
from tinyworlds_gate.reports.verdict_picture import captions
from tinyworlds_gate.run.journal import Event

MOST_STEPS = 8
"""Steps of a film strip."""
OTHER_MODE = ("teacher_forced", "teacher-forced")


@dataclass(frozen=True)
class Line:
    """One curve: ``values`` by step (None: no finite number), ``mean`` over them."""

    key: str
    label: str
    values: tuple[float | None, ...]
    mean: float | None


@dataclass(frozen=True)
class Chart:
    """The errors by step; ``low`` and ``high`` are the 95 % interval of the first line."""

    heading: str
    lines: tuple[Line, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    limit: float
    note: str | None


@dataclass(frozen=True)
class Control:
    """What the actions do: errors with inferred and random ones, and the share of each code."""

    heading: str
    bars: tuple[tuple[str, float | None], ...]
    notes: tuple[str, ...]
    codes_heading: str | None
    codes_note: str
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Strip:
    """A clip: its last context frame, and the chosen steps (from 1) true and predicted, uint8; errors of all steps."""

    rank: str
    start: int
    episode: int
    mse: float
    stated_mse: float | None
    """What the inference process states where it is another error than that of these frames."""
    copy_last_mse: float
    steps: tuple[int, ...]
    step_mse: tuple[float, ...]
    context_HWC: np.ndarray
    true_SHWC: np.ndarray
    predicted_SHWC: np.ndarray

    @property
    def error_SHW(self) -> np.ndarray:
        """The absolute error of each pixel, mean over its colours, of 1."""
        difference = self.true_SHWC.astype(np.float32) - self.predicted_SHWC
        error: np.ndarray = np.abs(difference).mean(axis=-1) / WHITE
        return error


@dataclass(frozen=True)
class VerdictView:
    """Everything that the picture shows; what is None or empty was not known, and ``left_out`` says why."""

    verdict: str
    reasons: list[str]
    subtitle: str
    cards: list[captions.Card]
    chart: Chart | None
    control: Control | None
    strips: tuple[Strip, ...]
    clips: int
    left_out: tuple[str, ...]
    limit: str | None = None
    """What a pass is limited to: `loop only`."""
    tone: str | None = None
    """The verdict whose colour it has; None: its own."""


def verdict_view(event: Event, run: str, profile: str | None, strips: Sequence[Strip], problem: str) -> VerdictView:
    """The picture of a `gate_verdict` (pure); ``problem`` says why there are no strips."""
    measures: Mapping[str, Any] = event.get("measures") or {}
    left_out = [captions.plain(f"No film strips: {problem}")] if problem else []
    return VerdictView(
        verdict=str(event.get("verdict")),
        reasons=captions.reasons(event),
        subtitle=captions.subtitle(event, run, profile),
        cards=captions.cards(event),
        chart=_chart(event, measures) if measures else None,
        control=_control(event, measures) if measures else None,
        strips=tuple(strips),
        clips=int(measures.get("clips") or 0),
        left_out=tuple(left_out),
        limit=pass_limit(measures, event.get("thresholds")) if event.get("verdict") == PASS else None,
        tone=tone(event),
    )


def _without_a_model(measures: Mapping[str, Any]) -> tuple[str, str, str]:
    """The line of the strongest prediction without a model; older journals have only the blend by step."""
    if measures.get("strongest_baseline_mse_by_step"):
        return "blend", "best without a model", "strongest_baseline_mse"
    return "blend", "best blend of these", "blend_mse"


def _chart(event: Event, measures: Mapping[str, Any]) -> Chart:
    steps = int(measures["generation_steps"])
    forced = bool(measures.get("teacher_forced"))
    strict = mode_text({**measures, "teacher_forced": False})
    other = ("strict", strict.replace("strict autoregressive", "strict")) if forced else OTHER_MODE
    named = (
        ("model", "this model, teacher-forced" if forced else "this model", "mse"),
        ("copy_last", "copy the last frame", "copy_last_mse"),
        ("mean_frame", "mean frame", "mean_frame_mse"),
        ("context_mean", "context mean", "context_mean_mse"),
        _without_a_model(measures),
        ("other_mode", other[1], f"{other[0]}_mse"),
        ("memory_sharp", "memory, sharp", "memory_sharp_mse"),
        ("memory_hedged", "memory, hedged", "memory_hedged_mse"),
    )
    lines = [
        Line(key, label, _finite(values), measures.get(field))
        for key, label, field in named
        if (values := measures.get(f"{field}_by_step"))
    ]
    floor = measures.get("tokenizer_recon_mse")
    if floor is not None:
        lines.append(Line("floor", "tokenizer floor", (floor,) * steps, floor))
    return Chart(
        captions.chart_heading(event),
        tuple(lines),
        _finite(measures.get("mse_low_by_step") or ()),
        _finite(measures.get("mse_high_by_step") or ()),
        (recorded_thresholds(event) or GateThresholds()).max_mse,
        captions.memory_note(measures),
    )


def _control(event: Event, measures: Mapping[str, Any]) -> Control:
    shares = tuple(measures.get("action_shares") or ())
    return Control(
        captions.control_heading(event),
        (("inferred actions", measures.get("mse")), ("random actions", measures.get("random_action_mse"))),
        captions.control_notes(measures),
        captions.codes_heading(measures) if shares else None,
        captions.codes_note(max(1, len(shares))),
        shares,
    )


def _finite(values: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(value if value is not None and math.isfinite(value) else None for value in values)


def chosen_clips(errors: Sequence[float], broken: Sequence[bool]) -> list[tuple[str, int]]:
    """(rank, index) of the best, the median and the worst clip by mean error; fewer where there are fewer clips.

    A ``broken`` clip, one with an error that is no finite number, is worse than any other. Of two clips in the middle,
    the better one is the median.
    """
    order = sorted(range(len(errors)), key=lambda index: (broken[index], errors[index], index))
    if len(order) < 2:
        return [("only", index) for index in order]
    middle = [("median", order[(len(order) - 1) // 2])] if len(order) > 2 else []
    return [("best", order[0]), *middle, ("worst", order[-1])]


def shown_steps(steps: int) -> tuple[int, ...]:
    """At most eight steps, from 1, evenly spread, the first and the last among them."""
    return tuple(int(step) + 1 for step in np.linspace(0, steps - 1, min(steps, MOST_STEPS)).round())


def read_strips(measures_file: Path, frames_file: Path) -> list[Strip]:
    """The film strips of an attempt, from its raw measures, its generated frames and the run's frames file.

    Raises:
        MeasuresError: the measures are missing or not whole, or the generated frames are not one for each true frame.
        DataError: the generated or the true frames cannot be read.
    """
    raw = read_raw(measures_file)
    missing = [key for key in ("generated_frames", *ORIGIN_KEYS) if raw.get(key) is None]
    if missing or Path(str(raw["generated_frames"])).name != raw["generated_frames"]:
        raise MeasuresError(f"the measures do not name their frames (no {', '.join(missing) or 'plain file name'})")
    context, steps = int(raw["context"]), int(raw["generation_steps"])
    generated = read_generated(measures_file.parent / raw["generated_frames"])
    starts = np.array([clip["start"] for clip in raw["clips"]], np.int64)
    size, stride = int(raw["frame_size"]), int(raw["stride"])
    frames = read_clips(frames_file, starts, context + steps, frame_size=size, stride=stride).frames
    mse_BS = recomputed(generated, frames[:, context:]).mse_BS
    stated_BS = np.array([clip["rollout_mse"] for clip in raw["clips"]], np.float64)
    broken = [not np.isfinite(stated_S).all() for stated_S in stated_BS]
    return [
        make_strip(
            rank,
            raw["clips"][index],
            mse_BS[index],
            stated_BS[index],
            frames[index],
            generated.predicted[index],
            context,
        )
        for rank, index in chosen_clips(mse_BS.mean(axis=1).tolist(), broken)
    ]


def make_strip(
    rank: str,
    clip: Mapping[str, Any],
    mse_S: np.ndarray,
    stated_S: np.ndarray,
    frames_THWC: np.ndarray,
    predicted_SHWC: np.ndarray,
    context: int,
) -> Strip:
    true, last = frames_THWC[context:], frames_THWC[context - 1]
    agrees = bool((np.abs(np.sqrt(np.maximum(stated_S, 0.0)) - np.sqrt(mse_S)) <= ROUNDING).all())
    copied = np.square(true.astype(np.float64) - last).mean() / WHITE**2
    steps = shown_steps(len(true))
    index = np.array(steps) - 1
    return Strip(
        rank=rank,
        start=int(clip["start"]),
        episode=int(clip["episode"]),
        mse=float(mse_S.mean()),
        stated_mse=None if agrees else float(stated_S.mean()),
        copy_last_mse=float(copied),
        steps=steps,
        step_mse=tuple(mse_S[index].tolist()),
        context_HWC=last,
        true_SHWC=true[index],
        predicted_SHWC=predicted_SHWC[index],
    )
