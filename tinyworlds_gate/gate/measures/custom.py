"""Measure the conditions and metrics of a project on the clips (`gate/extension.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.custom_records import value_text
from tinyworlds_gate.gate.extension import ClipMetric, ScoredClips
from tinyworlds_gate.gate.measures.clip_facts import ClipFacts
from tinyworlds_gate.gate.measures.intervals import mean_interval
from tinyworlds_gate.names import FAIL, INVALID, PASS
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames

LARGEST = 1e300
"""The sum over clips of numbers below it is finite."""


@dataclass(frozen=True)
class CustomResult:
    """The mean of a metric over the clips and its 95 % interval; without a value, ``problem`` is the reason."""

    metric: ClipMetric
    value: float | None = None
    low: float | None = None
    high: float | None = None
    problem: str = ""

    @property
    def verdict(self) -> str | None:
        """PASS, FAIL or INVALID (not measured); None for a metric that is only shown."""
        if self.metric.limit is None:
            return None
        if self.value is None:
            return INVALID
        return PASS if self.metric.holds(self.value) else FAIL

    def as_record(self) -> dict[str, Any]:
        """An entry of the journal's ``custom_metrics``."""
        metric = self.metric
        return {
            "name": metric.name,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "at_most": metric.at_most,
            "at_least": metric.at_least,
            "unit": metric.unit,
            "sentence": metric.sentence,
            "verdict": self.verdict,
            "problem": self.problem or None,
        }


def measure_custom(
    metrics: Sequence[ClipMetric], facts: ClipFacts, generated: GeneratedFrames | None, problem: str
) -> tuple[CustomResult, ...]:
    """Measure each metric on the clips.

    Args:
        generated: the generated frames of these clips; None: they cannot be used, and ``problem`` is the reason.
    """
    if not metrics:
        return ()
    if generated is None:
        return tuple(CustomResult(one, problem=problem) for one in metrics)
    arrays = (facts.context_BPHWC, facts.true_BSHWC, generated.predicted, facts.episodes)
    clips = ScoredClips(*(_read_only(one) for one in arrays))
    return tuple(_measure(one, clips) for one in metrics)


def _read_only(table: np.ndarray) -> np.ndarray:
    view = table.view()
    view.flags.writeable = False
    return view


def _measure(metric: ClipMetric, clips: ScoredClips) -> CustomResult:
    try:
        values = np.asarray(metric.measure(clips))
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - pytest.skip() and sys.exit() must not bypass a condition either
        return CustomResult(metric, problem=f"its measure raised {type(error).__name__}: {error}")
    clips_count = len(clips.episodes)
    if values.dtype.kind not in "biuf" or values.shape not in ((), (clips_count,)):
        returned = f"an array of shape {list(values.shape)} and type {values.dtype}"
        return CustomResult(
            metric, problem=f"its measure returned {returned}, not one number for each of the {clips_count} clips"
        )
    values = values.astype(np.float64)
    wrong = np.flatnonzero(~(np.abs(values) < LARGEST))  # NaN is not below it
    if len(wrong):
        where = f" for {len(wrong)} of {clips_count} clips" if values.ndim else ""
        return CustomResult(metric, problem=f"its measure returned {values.flat[wrong[0]]}{where}, not a finite number")
    if not values.ndim:
        return CustomResult(metric, float(values))
    value, (low, high) = float(values.mean()), mean_interval(values, clips.episodes)
    known = np.isfinite((low, high)).all()
    return CustomResult(metric, value, *((min(low, value), max(high, value)) if known else ()))


def custom_conditions(results: Sequence[CustomResult]) -> list[Condition]:
    """The conditions of a project, `G5.<name>`; metrics that are only shown have none."""
    return [Condition(f"G5.{one.metric.name}", one.verdict, _reason(one)) for one in results if one.verdict is not None]


def _reason(result: CustomResult) -> str:
    metric = result.metric
    if result.value is None:
        return f"the project's {metric.name} could not be measured: {result.problem}"
    what = f"the project's {metric.name} {value_text(result.as_record())}"
    if result.verdict == PASS:
        return f"{what} is {metric.limit_text}"
    side = "above" if metric.at_most is not None else "below"
    meaning = f": {metric.sentence.rstrip('. ')}" if metric.sentence.strip() else ""
    return f"{what} is {side} the limit {metric.limit:g}{meaning}"
