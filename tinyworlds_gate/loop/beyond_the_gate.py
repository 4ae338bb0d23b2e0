"""Long rollouts and the ranking of policies at the end of a run, where the profile asks for them.

Each is the command of the same name (`tinyworlds-gate horizon`, `policies`) in a process of its own, on the checkpoints
that were judged last. They are shown in the reports and change no verdict; what fails is one sentence there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.profile import ProfileConfig
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.inference_job import weights_of
from tinyworlds_gate.launch.child import ChildResult, run_child
from tinyworlds_gate.launch.command import LaunchFiles, trusted_environment
from tinyworlds_gate.launch.failure_text import failure_sentence
from tinyworlds_gate.run.journal import last_event
from tinyworlds_gate.run.owned import read_owned
from tinyworlds_gate.run.paths import unused_path
from tinyworlds_gate.run.plain_json import load_json

EVENT = "beyond_the_gate"
OPTIONS = {
    "video_tokenizer": "--video-checkpoint",
    "latent_actions": "--latent-checkpoint",
    "dynamics": "--dynamics-checkpoint",
}
MOST_JSON_BYTES = 50_000_000
NO_CHECKOUT = "the models of a checkout are not driven by this harness"


def wanted_by(profile: ProfileConfig) -> dict[str, list[str]]:
    """Return the command → its own arguments, for what the profile asks for."""
    rollout, policies = profile.long_rollout, profile.policies
    found = {
        "horizon": (rollout.steps, ["--steps", str(rollout.steps), "--clips", str(rollout.clips)]),
        "policies": (policies.steps, ["--steps", str(policies.steps), "--starts", str(policies.starts)]),
    }
    return {name: arguments for name, (steps, arguments) in found.items() if steps}


def measure_beyond_the_gate(context: RunContext, checkpoints: Mapping[str, CheckpointRef]) -> None:
    """Run the commands that the profile asks for, journalled as `beyond_the_gate`; once for the same weights."""
    weights, events = weights_of(checkpoints), context.journal.events()
    for name, arguments in wanted_by(context.settings.profile).items():
        known = last_event(events, EVENT, kind=name)
        if known is not None and known.get("weights") == weights and known.get("problem") is None:
            continue
        if context.checkout is not None:
            _record(context, name, weights, problem=NO_CHECKOUT)
            continue
        context.say(f"{name}: tinyworlds-gate {name} measures the models beyond the gate (it judges nothing)")
        try:
            child = _run(context, name, arguments, checkpoints)
        except GateError as error:
            _record(context, name, weights, problem=str(error))
            continue
        _record(context, name, weights, problem=None if child.ok else _problem(child), child=child)


def _run(
    context: RunContext, name: str, arguments: Sequence[str], checkpoints: Mapping[str, CheckpointRef]
) -> ChildResult:
    layout, settings = context.layout, context.settings
    stages = [word for stage, option in OPTIONS.items() for word in (option, str(checkpoints[stage].path))]
    command = [sys.executable, "-m", "tinyworlds_gate", name, str(layout.root), *stages, *arguments]
    command += ["--seed", str(settings.inference.seed), "--batch-size", str(settings.inference.batch_size)]
    command += ["--device", "cpu" if context.on_cpu else "auto", "--output", str(layout.root)]
    return run_child(
        command,
        cwd=context.gate_target.root,
        env=trusted_environment(context.gate_target, LaunchFiles(layout.root), on_cpu=context.on_cpu),
        log_path=unused_path(layout.logs, name, ".log"),
        deadline_s=settings.profile.watchdog.inference_deadline_s,
    )


def _problem(child: ChildResult) -> str:
    """Return the command's own sentence, or how it ended."""
    own = [line for line in child.log_tail if line.startswith("tinyworlds-gate: ")]
    return own[-1].removeprefix("tinyworlds-gate: ") if own else failure_sentence(child)


def _record(
    context: RunContext,
    name: str,
    weights: Mapping[str, str],
    *,
    problem: str | None,
    child: ChildResult | None = None,
) -> None:
    layout = context.layout
    files = {kind: layout.root / f"{name}.{suffix}" for kind, suffix in (("json", "json"), ("picture", "png"))}
    said: list[str] = []
    if problem is None:
        try:
            said = _sentences(layout.root, files["json"])
        except GateError as error:
            problem = str(error)
    known = problem is None
    context.journal.append(
        EVENT,
        kind=name,
        weights=dict(weights),
        problem=problem,
        sentences=said,
        json=files["json"] if known else None,
        json_sha256=sha256_of(files["json"]) if known else None,
        picture=files["picture"] if known else None,
        exit_code=None if child is None else child.exit_code,
        seconds=None if child is None else child.wall_s,
        log=None if child is None else child.log,
    )
    context.say(f"{name}: {problem or said[0]}")


def _sentences(folder: Path, path: Path) -> list[str]:
    try:
        record: Any = load_json(read_owned(folder, path.name, MOST_JSON_BYTES))
    except (OSError, ValueError) as error:
        raise GateError(f"{path}: the result cannot be read ({error})") from error
    said = record.get("sentences") if isinstance(record, dict) else None
    if not isinstance(said, list) or not said or not all(isinstance(one, str) for one in said):
        raise GateError(f"{path}: the result has no sentences")
    return said
