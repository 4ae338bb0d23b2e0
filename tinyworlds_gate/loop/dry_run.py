"""What a run on a checkout would start, in order, as lines for a shell: nothing is started or written there."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.gate.attempt import trusted_words
from tinyworlds_gate.gate.checkout_attempt import target_words
from tinyworlds_gate.launch.command import LaunchFiles, inference_command, stage_environment
from tinyworlds_gate.loop.checkout import expected_chunks
from tinyworlds_gate.loop.checkout_data import held_out_file
from tinyworlds_gate.names import ATTEMPTS, FAIL, STAGES
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.chunk_launch import Chunk, chunk_command
from tinyworlds_gate.stages.retune import plan_inference_retry
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.embedded import embedded_target

SHOWN_VARIABLES = (
    "NG_RUN_ROOT_DIR",
    "PYTHONPATH",
    "WANDB_MODE",
    "WANDB_DIR",
    "PYTHONDONTWRITEBYTECODE",
    "MPLBACKEND",
    "OMP_NUM_THREADS",
)
"""Of the environment: what decides what a command does; the others are the harness's own markers."""


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


def dry_run_text(settings: Settings, gpus: int, target: Target, stamp: str, held_out: Path | None) -> str:
    """Every command of a run whose gates pass at once, and as comments what a failed gate would add.

    Raises:
        DataError: the held-out file that was named does not exist.
    """
    with tempfile.TemporaryDirectory() as folder:
        layout = RunLayout(settings.project_root, f"{settings.profile.name}_{stamp}")
        journal = Journal(Path(folder) / "journal.jsonl", project_root=layout.project_root)
        context = RunContext(settings, target, layout, journal, gpus, lambda _: None, lambda *_: None)
        try:
            return "\n".join(_lines(context, held_out))
        finally:
            journal.close()


def planned_commands(context: RunContext, held_out: Path | None) -> list[PlannedCommand]:
    """The stages in their chunks, then the checkout's own inference, then the trusted gate (where it can be run)."""
    settings, layout, target = context.settings, context.layout, context.target
    files = LaunchFiles(layout.root)
    environment = _shown(stage_environment(target, files, on_cpu=context.on_cpu))
    ready: dict[str, CheckpointRef] = {}
    commands = []
    number = 0
    for stage in STAGES:
        given = settings.checkpoint_given(stage)
        if stage not in settings.trained_stages:
            if given is not None:
                ready[stage] = CheckpointRef(stage, 0, given, "", 0)
            continue
        start: CheckpointRef | None = None
        target_updates = settings.plan(stage).target_updates
        for begin, end in expected_chunks(settings)[stage]:
            number += 1
            chunk = Chunk(number, stage, begin, end, target_updates, 0, "planned")
            what = f"{stage}: updates {begin} to {end} of {target_updates}, {context.nproc} worker(s)"
            commands.append(PlannedCommand(what, target.root, environment, chunk_command(context, chunk, start, ready)))
            start = CheckpointRef(stage, end - 1, layout.checkpoint(stage, end - 1), "", 0)
        if start is not None:
            ready[stage] = start
    paths = {stage: one.path for stage, one in ready.items()}
    if len(paths) == len(STAGES):
        words = inference_command(target, target_words(context, paths))
        commands.append(PlannedCommand("the checkout's own inference", target.root, environment, words))
        commands += _trusted(context, paths, held_out)
    return commands


def _trusted(context: RunContext, paths: Mapping[str, Path], held_out: Path | None) -> Iterator[PlannedCommand]:
    settings, layout = context.settings, context.layout
    context.data_path = held_out_file(held_out, context.target.frames_file(settings.training.dataset))
    if context.data_path is None:
        return
    # The run reads its own copy of these files, which is made when it begins.
    gate = embedded_target(layout.project_root, settings.profile_path.parent)
    words = trusted_words(context, ATTEMPTS, paths, layout.root / "measures_01.json", settings.inference.batch_size)
    environment = _shown(stage_environment(gate, LaunchFiles(layout.root), on_cpu=context.on_cpu))
    what = "the trusted gate: the same checkpoints on held-out clips"
    yield PlannedCommand(what, layout.project_root, environment, inference_command(gate, words))


def _lines(context: RunContext, held_out: Path | None) -> Iterator[str]:
    target = context.target
    yield f"# target: {target.told} in {target.root}"
    yield from (f"# {target.kind}: {sentence}" for sentence in target.can.limits())
    yield from (f"# note: {note}" for note in context.settings.notes)
    commands = planned_commands(context, held_out)
    for number, command in enumerate(commands, 1):
        yield f"\n# {number}. {command.what}"
        yield command.for_shell()
    if not commands or not commands[-1].what.startswith("the trusted gate"):
        yield "\n# no trusted gate: no held-out frames are named (--held-out-data), so this run could not pass"
    yield from _after_a_failure(context)


def _after_a_failure(context: RunContext) -> Iterator[str]:
    """What T5 would add, as comments: its commands depend on what the gate has said."""
    if "dynamics" not in context.settings.trained_stages:
        return
    at, retry = context.settings.plan("dynamics").target_updates, context.settings.profile.retry
    for k in range(retry.max):
        plan = plan_inference_retry(k, at, at, retry)
        if plan is None:
            return
        begin = at if context.target.can.resumes else 0
        yield (
            f"# after a gate that said {FAIL}, retry {k + 1}: dynamics, updates {begin} to {plan.to_update} at "
            f"learning rate {plan.learning_rate:g}, then the inference of both gates again"
        )
        at = plan.to_update


def _shown(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in SHOWN_VARIABLES if name in environment}
