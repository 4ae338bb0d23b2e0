"""What the steps of one closed loop share: settings, target, folders, journal, and the voice to the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.launch.nodes import Nodes
from tinyworlds_gate.launch.wandb_run import WandbRun
from tinyworlds_gate.names import EVALUATION
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.base import Target


@dataclass
class CheckoutRun:
    """What only a run on somebody's checkout has."""

    gate_target: Target
    """The embedded reference, whose inference is the trusted gate on the checkout's checkpoints."""
    tree: Mapping[str, str]
    """The files of the checkout before anything was started (``targets/tree.py``)."""
    read_history: Callable[[RunContext, str, WandbRun, tuple[int, int], float], str | None]
    """Brings the metrics of one chunk from W&B's files into ``Logs/``; what is wrong with them, or None.

    Called with the stage, the chunk's W&B run, its updates and its start (Unix seconds).
    """
    growth: Mapping[str, int] = field(default_factory=dict)
    """Stage → updates that are added where its gate is not met at the target: the profile's own chunk."""
    held_out_option: Path | None = None
    frames: Path | None = None
    """What the stages train on; the trusted gate measures on ``RunContext.data_path``."""
    no_trusted_gate: str | None = None
    """Why the trusted gate cannot be run; None when it can."""


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
    checkout: CheckoutRun | None = None
    """Of a run on somebody's checkout; None for the embedded reference."""

    def frames_of(self, draw: int) -> Path | None:
        """The frames file that the clips of a draw lie in; None before the preparation."""
        return self.evaluation_path if draw == EVALUATION else self.data_path

    @property
    def on_cpu(self) -> bool:
        """Whether the children train without a GPU."""
        return self.gpus == 0 or self.settings.training.device == "cpu"

    @property
    def gate_target(self) -> Target:
        """Whose inference is the trusted gate: the embedded reference's, also for a checkout."""
        return self.target if self.checkout is None else self.checkout.gate_target

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

    def wandb_environment(self, inherited: Mapping[str, str]) -> Mapping[str, str]:
        """The environment that decides how a chunk's metrics go to W&B; a checkout's stay on this machine."""
        if self.checkout is None:
            return inherited
        return {**inherited, "WANDB_MODE": inherited.get("WANDB_MODE") or "offline"}

    def next_chunk(self) -> int:
        """The number of the next chunk of this run, from 1."""
        self.chunks_started += 1
        return self.chunks_started
