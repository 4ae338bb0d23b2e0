"""What an attempt at the inference gate is about, and what it leaves (L6, L7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.profile import Thresholds
from tinyworlds_gate.gate.binding import SourceState
from tinyworlds_gate.gate.final_draw import attempt_name
from tinyworlds_gate.gate.measures import GateMeasures
from tinyworlds_gate.gate.target_gate import TargetVerdict
from tinyworlds_gate.gate.verdict import GateThresholds, GateVerdict, InferenceEvidence
from tinyworlds_gate.names import ATTEMPTS, FINALS


@dataclass(frozen=True)
class InferenceAttempt:
    """One try of the gate with everything that it left.

    A final verdict has the number of the attempt that passed, and draw 2 or 3 (the evaluation set).
    """

    number: int
    verdict: GateVerdict
    measures: GateMeasures | None
    checkpoints: Mapping[str, CheckpointRef]
    log: Path
    picture: Path | None
    log_tail: tuple[str, ...]
    draw: int = ATTEMPTS
    binding: Mapping[str, Any] | None = None
    """What the verdict is bound to, as the journal holds it; None in journals of older versions."""
    evidence: InferenceEvidence | None = None
    """What was judged; None for an attempt that a resumed run took from its journal."""

    @property
    def is_final(self) -> bool:
        """Whether it is a final verdict: that of a run that retried, or the one on the evaluation set."""
        return self.draw in FINALS

    @property
    def name(self) -> str:
        """`attempt 2`, or `attempt 2, final draw`."""
        return attempt_name(self.number, self.draw)


@dataclass(frozen=True)
class Subject:
    """What is measured: an attempt's number, its draw of clips, the three checkpoints, and the code that runs."""

    number: int
    draw: int
    checkpoints: Mapping[str, CheckpointRef]
    source: SourceState
    own: TargetVerdict | None = None
    """What the checkout's own gate said; None for the embedded reference."""
    no_trusted_gate: str | None = None

    @property
    def name(self) -> str:
        return attempt_name(self.number, self.draw)

    @property
    def suffix(self) -> str:
        """Of the files that it leaves."""
        return f"{self.number:02d}{'_final' if self.draw in FINALS else ''}"


def gate_thresholds(thresholds: Thresholds) -> GateThresholds:
    """The profile's thresholds as the verdict takes them."""
    return GateThresholds(**{name: getattr(thresholds, name) for name in GateThresholds.__dataclass_fields__})
