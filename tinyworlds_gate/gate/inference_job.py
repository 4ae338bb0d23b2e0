"""What the attempts at the inference gate read of their run, and what one attempt measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.gate.checkout_gate import TargetVerdict
from tinyworlds_gate.gate.clip_plan import ClipPlan
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.names import FINALS
from tinyworlds_gate.run.attempts import attempt_name
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.source_state import SourceState
from tinyworlds_gate.targets.base import Target


@dataclass(frozen=True)
class InferenceJob:
    """The part of a run that its inference needs; the same for every process of an attempt."""

    settings: Settings
    layout: RunLayout
    journal: Journal
    say: Callable[[str], None]
    target: Target
    """The validated project; training of it that starts beside the inference run is ended (L2)."""
    trusted_target: Target
    """The embedded reference, whose inference is the trusted gate."""
    on_cpu: bool
    clips: ClipPlan
    check_inputs: Callable[[], None]
    """Raises ``DataError`` when the frames or the checkout changed since the run was started."""
    tree: Mapping[str, str] | None = None
    """The files of a checkout before the run (``targets/fingerprint.py``); None for the embedded reference."""
    no_trusted_gate: str | None = None
    """Why the trusted gate cannot measure anything; None when it can."""
    custom: Sequence[ClipMetric] = ()
    """Conditions and metrics of the project's conftest.py."""


@dataclass(frozen=True)
class Subject:
    """What one attempt measures: its number, its draw of clips, the three checkpoints, and the code that runs."""

    number: int
    draw: int
    checkpoints: Mapping[str, CheckpointRef]
    source: SourceState
    own: TargetVerdict | None = None
    """The verdict of the checkout's own gate; None for the embedded reference."""
    no_trusted_gate: str | None = None

    @property
    def name(self) -> str:
        """`attempt 2`, or `attempt 2, final draw`."""
        return attempt_name(self.number, self.draw)

    @property
    def suffix(self) -> str:
        """Part of the names of the files that the attempt leaves."""
        return f"{self.number:02d}{'_final' if self.draw in FINALS else ''}"

    @property
    def paths(self) -> dict[str, Path]:
        """Stage → the folder of its checkpoint."""
        return {stage: reference.path for stage, reference in self.checkpoints.items()}

    @property
    def weights(self) -> dict[str, str]:
        """Stage → SHA-256 of its weights."""
        return weights_of(self.checkpoints)


def weights_of(checkpoints: Mapping[str, CheckpointRef]) -> dict[str, str]:
    """Stage → SHA-256 of the weights of its checkpoint."""
    return {stage: reference.model_sha256 for stage, reference in checkpoints.items()}
