"""What the gate can ask for, and one answered condition: plain data without numpy, so that reports can use it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GateThresholds:
    """What the profile asks for; printed with every verdict (S5)."""

    max_mse: float = 0.03
    require_mse_upper: bool = False
    require_skill: bool = False
    require_upper_below_mean_frame: bool = False
    min_delta_psnr_db: float | None = None
    min_action_codes: int | None = None
    min_episodes: int | None = None

    def told(self) -> str:
        """Everything that is asked for, in words, as it stands beside a verdict."""
        upper = "the upper end of its 95 % interval"
        asked = [f"a rollout error of at most {self.max_mse:g}"]
        if self.require_mse_upper:
            asked.append(f"{upper} at most {self.max_mse:g} too")
        if self.require_upper_below_mean_frame:
            asked.append(f"{upper} below the error of always answering the mean frame")
        if self.require_skill:
            asked.append("the lower end of the skill's 95 % interval above 0 (better than copying the last frame)")
        if self.min_delta_psnr_db is not None:
            asked.append(f"random actions worse by at least {self.min_delta_psnr_db:g} dB")
        if self.min_action_codes is not None:
            asked.append(f"at least {self.min_action_codes} action codes in use")
        if self.min_episodes is not None:
            asked.append(f"clips of at least {self.min_episodes} episodes")
        return "; ".join(asked)


@dataclass(frozen=True)
class Condition:
    """One condition with its verdict and the sentence for it: the number, the limit and what it means."""

    id: str
    verdict: str
    reason: str


def thresholds_of(event: Mapping[str, Any] | None) -> GateThresholds | None:
    """The thresholds that a `gate_verdict` was judged by; None where the journal holds none of this version."""
    try:
        return GateThresholds(**(event or {})["thresholds"])
    except (KeyError, TypeError):
        return None
