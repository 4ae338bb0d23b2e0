"""What the steps of one closed loop share: settings, target, folders, journal, and output to the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.gate.clip_plan import ClipPlan
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.launch.nodes import Nodes
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.lock import ProjectLock
from tinyworlds_gate.targets.base import Target


@dataclass
class CheckoutRun:
    """What only a run on a TinyWorlds checkout has."""

    gate_target: Target
    """The embedded reference, whose inference is the trusted gate on the checkout's checkpoints."""
    tree: Mapping[str, str]
    """The files of the checkout before the run (``targets/fingerprint.py``)."""
    growth: Mapping[str, int] = field(default_factory=dict)
    """Stage → updates that are added where its gate is not met at the target: the profile's own chunk."""
    held_out_option: Path | None = None
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
    lock: ProjectLock | None = None
    """The project's lock; set by the preparation."""
    clips: ClipPlan = field(default_factory=ClipPlan)
    """The frames file and the clips that are measured; set by the preparation."""
    nodes: Nodes | None = None
    """The other machines of this run; None where it has one."""
    chunks_started: int = field(default=0)
    checkout: CheckoutRun | None = None
    """None for the embedded reference."""
    custom: Sequence[ClipMetric] = ()
    """Conditions and metrics of the project's conftest.py."""

    @property
    def on_cpu(self) -> bool:
        """Whether the children train without a GPU."""
        return runs_on_cpu(self.settings, self.gpus)

    @property
    def gate_target(self) -> Target:
        """The target whose inference is the trusted gate: the embedded reference, also for a checkout."""
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
        """A callback for the launcher: shows (newest 0-based update, seconds) as a line on the terminal."""

        def show(step: int, seconds: float) -> None:
            self.show_progress(stage, start, min(step + 1, end), end, seconds)

        return show

    def wandb_environment(self, inherited: Mapping[str, str]) -> Mapping[str, str]:
        """The environment with W&B's mode; a checkout's metrics stay on this machine by default."""
        if self.checkout is None:
            return inherited
        return {**inherited, "WANDB_MODE": inherited.get("WANDB_MODE") or "offline"}

    def next_chunk(self) -> int:
        """The number of the next chunk of this run, from 1."""
        self.chunks_started += 1
        return self.chunks_started


def runs_on_cpu(settings: Settings, gpus: int) -> bool:
    """Whether the children of a run compute without a GPU, on a machine with ``gpus`` GPUs."""
    return gpus == 0 or settings.training.device == "cpu"
