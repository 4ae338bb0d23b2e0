"""Thresholds of the inference gate: one definition for profiles, verdicts, `tinyworlds-gate score` and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from tinyworlds_gate.config.schema import Fraction, PositiveFloat, PositiveInt, Schema


class GateThresholds(Schema):
    """Conditions that a rollout must meet to pass the inference gate; every verdict records them (S5)."""

    max_mse: PositiveFloat = 0.03
    """G5: largest mean squared error of the generated frames, frames in [0, 1]."""
    require_mse_upper: bool = False
    """Whether the upper end of the error's 95 % interval must be at most max_mse too."""
    require_skill: bool = False
    """Whether the lower end of the skill's 95 % interval must be above 0: better than copying the last context frame.
    """
    require_skill_strongest: bool = False
    """G8: whether the lower end of the skill's 95 % interval must be above 0 against the strongest prediction that
    needs no model: last frame, mean frame, context mean, extrapolations of the context, or a blend of them, with
    weights by step and by region of the picture (docs/gate.md)."""
    min_object_share: Fraction | None = None
    """G6: smallest share of the small moving objects that must be found in their place, by the lower end of its 95 %
    interval; null only reports it. The precision and each kind may be 0.1 lower (gate/object_rule.py)."""
    min_past_ratio: PositiveFloat | None = None
    """G7: how many times the own error the error with the context of another clip must be, by the lower end of its
    95 % interval; null only reports it."""
    require_upper_below_mean_frame: bool = False
    """Whether the upper end of the error's interval must be below the error of predicting the mean training frame."""
    min_delta_psnr_db: float | None = None
    """Smallest PSNR with inferred actions minus PSNR with random ones, dB; null only reports it. With a number,
    frames of freely chosen codes must look like frames of the game (G5.played)."""
    min_action_codes: PositiveInt | None = None
    """Smallest number of action codes in use (at 2 % of the transitions or more); null only reports it. With a number,
    the codes must follow the true actions of the frames file, if it has any (G5.true_actions)."""
    min_episodes: PositiveInt | None = 5
    """Smallest number of episodes among the measured clips; the interval is resampled over episodes."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read the thresholds of a journal; older ones without ``min_episodes`` required no number of episodes.

        Raises:
            ValueError: a name is unknown or a value is not allowed.
        """
        return cls(**{"min_episodes": None, **record})

    def as_record(self) -> dict[str, Any]:
        """Return name → value of these thresholds, as in the journal; fields of subclasses are left out."""
        return {name: getattr(self, name) for name in GateThresholds.model_fields}

    def describe(self) -> str:
        """Return all requirements as one line of text."""
        upper = "the upper end of its 95 % interval"
        required = [f"a rollout error of at most {self.max_mse:g}"]
        if self.require_mse_upper:
            required.append(f"{upper} at most {self.max_mse:g} too")
        if self.require_upper_below_mean_frame:
            required.append(f"{upper} below the error of always answering the mean frame")
        if self.require_skill:
            required.append("the lower end of the skill's 95 % interval above 0 (better than copying the last frame)")
        if self.require_skill_strongest:
            required.append("the same against the strongest prediction that needs no model (G8)")
        if self.min_object_share is not None:
            share = f"{100 * self.min_object_share:g} %"
            required.append(f"at least {share} of the small moving objects found in their place (G6)")
        if self.min_past_ratio is not None:
            required.append(f"the context of another clip worse by a factor of at least {self.min_past_ratio:g} (G7)")
        if self.min_delta_psnr_db is not None:
            required.append(f"random actions worse by at least {self.min_delta_psnr_db:g} dB")
            required.append("frames of the game with freely chosen codes")
        if self.min_action_codes is not None:
            required.append(f"at least {self.min_action_codes} action codes in use, which follow the true actions")
        if self.min_episodes is not None:
            required.append(f"clips of at least {self.min_episodes} episodes")
        return "; ".join(required)


STRICT_THRESHOLDS = GateThresholds(
    max_mse=0.03,
    require_mse_upper=True,
    require_skill=True,
    require_skill_strongest=True,
    min_object_share=0.9,
    min_past_ratio=1.05,
    require_upper_below_mean_frame=True,
    min_delta_psnr_db=0.5,
    min_action_codes=3,
    min_episodes=20,
)
"""Thresholds of the long-run profiles, and of `tinyworlds-gate score` without a profile."""


def recorded_thresholds(event: Mapping[str, Any] | None) -> GateThresholds | None:
    """Return the thresholds of a `gate_verdict` event; None without any that this version can read."""
    record = (event or {}).get("thresholds")
    try:
        return None if record is None else GateThresholds.from_record(record)
    except (TypeError, ValueError):
        return None
