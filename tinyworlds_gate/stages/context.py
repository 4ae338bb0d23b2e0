"""What the steps of one closed loop share: settings, target, folders, journal, and the voice to the terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.launch.nodes import Nodes
from tinyworlds_gate.launch.rendezvous import Rendezvous
from tinyworlds_gate.names import EVALUATION
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.base import Target


@dataclass
class RunContext:
    """One run. ``settings`` is replaced when a retune changes a value; everything else stays."""

    settings: Settings
    target: Target
    layout: RunLayout
    journal: Journal
    gpus: int
    say: Callable[[str], None]
    show_progress: Callable[[str, int, int, int, float], None]
    data_path: Path | None = None
    evaluation_path: Path | None = None
    """The fixed evaluation set of the final verdict; None where the run draws its clips."""
    nodes: Nodes | None = None
    """The other machines of this run; None where it has one."""
    chunks_started: int = field(default=0)
    clip_draws: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Draw → the first frames of its clips, as the preparation drew them, or as the evaluation set names them."""

    def frames_of(self, draw: int) -> Path | None:
        """The frames file that the clips of a draw lie in; None before the preparation."""
        return self.evaluation_path if draw == EVALUATION else self.data_path

    @property
    def on_cpu(self) -> bool:
        """Whether the children train without a GPU."""
        return self.gpus == 0 or self.settings.training.device == "cpu"

    @property
    def nproc(self) -> int:
        """Worker processes of a launcher."""
        return self.settings.training.nproc_per_node

    @property
    def rendezvous(self) -> Rendezvous | None:
        """Where the launchers of all machines meet; None on one machine."""
        return None if self.nodes is None else self.nodes.rendezvous

    @property
    def nnodes(self) -> int:
        """Machines that train together."""
        return self.settings.options.nnodes

    def progress_of(self, stage: str, start: int, end: int) -> Callable[[int, float], None]:
        """A callback for the launcher: (newest 0-based update, seconds) becomes a line on the terminal."""

        def show(step: int, seconds: float) -> None:
            self.show_progress(stage, start, min(step + 1, end), end, seconds)

        return show

    def next_chunk(self) -> int:
        """The number of the next chunk of this run, from 1."""
        self.chunks_started += 1
        return self.chunks_started
