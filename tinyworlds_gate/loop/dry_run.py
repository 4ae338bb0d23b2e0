"""What a run on a checkout would start, in order, as lines for a shell, and what would stop it; no stage is started."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.context import runs_on_cpu
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.attempt import trusted_arguments
from tinyworlds_gate.gate.checkout_attempt import target_arguments
from tinyworlds_gate.gate.clip_plan import ClipPlan
from tinyworlds_gate.launch.command import LaunchFiles, inference_command, stage_environment, trusted_environment
from tinyworlds_gate.loop.checkout import checkout_checks, expected_chunks
from tinyworlds_gate.loop.checkout_data import held_out_file
from tinyworlds_gate.loop.checkout_problems import what_stops
from tinyworlds_gate.names import ATTEMPTS, DEGRADED, FAIL, STAGES
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.chunk_launch import Chunk, chunk_command
from tinyworlds_gate.stages.retune import plan_inference_retry
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.embedded import embedded_target

SHOWN_VARIABLES = (
    "NG_RUN_ROOT_DIR",
    "PYTHONPATH",
    "PYTHONSAFEPATH",
    "WANDB_MODE",
    "WANDB_DIR",
    "PYTHONDONTWRITEBYTECODE",
    "MPLBACKEND",
    "OMP_NUM_THREADS",
)
"""The environment variables that decide what a command does; the others are the harness's own markers."""


@dataclass(frozen=True)
class PlannedCommand:
    """One command of a run: what it is for, where it starts, what its environment adds, its words."""

    what: str
    cwd: Path
    environment: Mapping[str, str]
    words: Sequence[str]

    def for_shell(self) -> str:
        """One line that a POSIX shell runs as the harness would, from any folder."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return f"(cd {shlex.quote(str(self.cwd))} && {' '.join([*variables, shlex.join(self.words)])})"


def dry_run(settings: Settings, gpus: int, target: Target, stamp: str, held_out: Path | None) -> tuple[str, list[str]]:
    """Return the text and what would stop the run.

    The text: what would stop the run, every command of a run whose gates pass at once, and as comments what a failed
    gate would add.
    """
    layout = RunLayout(settings.project_root, f"{settings.profile.name}_{stamp}")
    stops = list(what_stops(settings, gpus, target, layout, held_out))
    try:
        frames = held_out_file(held_out, target.frames_file(settings.training.dataset))
    except DataError:  # it is among what stops the run
        frames = None
    commands = planned_commands(settings, target, layout, frames, on_cpu=runs_on_cpu(settings, gpus))
    lines = [f"# target: {target.kind_reason} in {target.root}"]
    if stops:
        lines += ("# This run would stop before anything trains:", *(f"# STOP {reason}" for reason in stops))
    lines += (
        f"# {check.id} {check.verdict}: {check.reason}"
        for check in checkout_checks(settings, target)
        if check.verdict == DEGRADED
    )
    lines += (f"# {target.kind}: {sentence}" for sentence in target.limits())
    lines += (f"# note: {note}" for note in settings.notes)
    for number, command in enumerate(commands, 1):
        lines += (f"\n# {number}. {command.what}", command.for_shell())
    if not commands or not commands[-1].what.startswith("the trusted gate"):
        lines.append("\n# no trusted gate: no held-out frames are named (--held-out-data), so this run could not pass")
    return "\n".join([*lines, *_after_a_failure(settings, target)]), stops


def planned_commands(
    settings: Settings, target: Target, layout: RunLayout, held_out_frames: Path | None, *, on_cpu: bool
) -> list[PlannedCommand]:
    """The stages in their chunks, then the checkout's own inference, then the trusted gate (where it can be run)."""
    environment = _shown(stage_environment(target, LaunchFiles(layout.root), on_cpu=on_cpu))
    ready: dict[str, CheckpointRef] = {}
    commands = []
    number = 0
    for stage in STAGES:
        given = settings.checkpoint_option(stage)
        if stage not in settings.trained_stages:
            if given is not None:
                ready[stage] = CheckpointRef(stage, 0, given, "", 0)
            continue
        start: CheckpointRef | None = None
        target_updates = settings.plan(stage).target_updates
        for begin, end in expected_chunks(settings)[stage]:
            number += 1
            chunk = Chunk(number, stage, begin, end, target_updates, 0, "planned")
            what = (
                f"{stage}: updates {begin} to {end} of {target_updates}, {settings.training.nproc_per_node} worker(s)"
            )
            words = chunk_command(target, settings, chunk, start, ready, on_cpu=on_cpu)
            commands.append(PlannedCommand(what, target.root, environment, words))
            start = CheckpointRef(stage, end - 1, layout.checkpoint(stage, end - 1), "", 0)
        if start is not None:
            ready[stage] = start
    paths = {stage: one.path for stage, one in ready.items()}
    if len(paths) == len(STAGES):
        words = inference_command(target, target_arguments(settings, target, paths, on_cpu=on_cpu))
        commands.append(PlannedCommand("the checkout's own inference", target.root, environment, words))
        if held_out_frames is not None:
            commands.append(_trusted_gate(settings, layout, paths, held_out_frames, on_cpu=on_cpu))
    return commands


def _trusted_gate(
    settings: Settings, layout: RunLayout, paths: Mapping[str, Path], frames: Path, *, on_cpu: bool
) -> PlannedCommand:
    # The run reads its own copy of these files, which is made when it begins.
    gate = embedded_target(layout.project_root, settings.profile_path.parent)
    arguments = trusted_arguments(
        settings,
        ClipPlan(frames),
        paths,
        draw=ATTEMPTS,
        measures_file=layout.root / "measures_01.json",
        batch_size=settings.inference.batch_size,
        on_cpu=on_cpu,
    )
    environment = _shown(trusted_environment(gate, LaunchFiles(layout.root), on_cpu=on_cpu))
    what = "the trusted gate: the same checkpoints on held-out clips"
    return PlannedCommand(what, layout.project_root, environment, inference_command(gate, arguments))


def _after_a_failure(settings: Settings, target: Target) -> Iterator[str]:
    """What T5 would add, as comments: its commands depend on the gate's verdict."""
    if "dynamics" not in settings.trained_stages:
        return
    at, retry = settings.plan("dynamics").target_updates, settings.profile.retry
    for k in range(retry.max):
        plan = plan_inference_retry(k, at, at, retry)
        if plan is None:
            return
        begin = at if target.resumes("dynamics") else 0
        yield (
            f"# after a gate that said {FAIL}, retry {k + 1}: dynamics, updates {begin} to {plan.to_update} at "
            f"learning rate {plan.learning_rate:g}, then the inference of both gates again"
        )
        at = plan.to_update


def _shown(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in SHOWN_VARIABLES if name in environment}
