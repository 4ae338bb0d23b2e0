"""Create a project with a healthy small model, and run one inference attempt of the real gate on it.

A scene is a separate folder with settings, frames of the lamp world and three healthy checkpoints under
``results/healthy/``. It also has checkpoints of another run and of earlier steps, for the defects that swap them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.gate.attempt import run_attempt
from tinyworlds_gate.gate.attempt_record import InferenceAttempt
from tinyworlds_gate.loop.data import prepare_data
from tinyworlds_gate.loop.inference_gate import inference_job
from tinyworlds_gate.loop.start import start_run
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.world import GAME, write_world
from tinyworlds_gate.run.timestamps import timestamp

HERE = Path(__file__).parent
WEIGHTS = HERE / "weights"
BROKEN_SCRIPT = """from tinyworlds_gate.power.broken import run

if __name__ == "__main__":
    run("{name}")
"""


BROKEN_PROBE = BROKEN_SCRIPT.replace("import run\n", "import run_probe as run\n")


def make_scene(root: Path) -> Path:
    """Create the project; ``root`` must not exist yet."""
    root.mkdir(parents=True)
    shutil.copytree(HERE / "settings", root / "settings")
    write_world(root / "data" / f"{GAME.lower()}_frames.h5")
    shutil.copytree(WEIGHTS / "healthy", root / "results" / "healthy")
    for other in ("earlier", "other"):
        for stage in STAGES:
            shutil.copytree(WEIGHTS / other / stage / "checkpoints", root / f"{other}_{stage}")
    return root


@dataclass(frozen=True)
class Trial:
    """One attempt at the gate in a scene."""

    root: Path
    attempt: InferenceAttempt
    context: RunContext


def try_gate(
    root: Path, in_child: str | None = None, say: Callable[[str], None] = lambda _: None, *, everywhere: bool = False
) -> Trial:
    """Run the gate's inference attempt in a scene and return its evidence and verdict.

    ``in_child`` names what is broken in the inference process, and with ``everywhere`` in its probe too.

    Raises:
        GateError: the scene's checkpoints or settings cannot be used at all.
    """
    settings = resolve_settings(root / "settings", {"train_stage": "none"}, project_root=root)
    context = start_run(
        settings,
        0,
        explicit={"train_stage": "none"},
        command=["tinyworlds-gate", "power"],
        stamp=timestamp(),
        say=say,
        show_progress=lambda *_: None,
    )
    if in_child is not None:
        script = root / "run_inference.py"
        script.write_text(BROKEN_SCRIPT.format(name=in_child), encoding="utf-8")
        context.target = replace(context.target, inference_script=script)
        if everywhere:
            script = root / "run_probe.py"
            script.write_text(BROKEN_PROBE.format(name=in_child), encoding="utf-8")
            context.target = replace(context.target, probe_script=script)
    prepare_data(context, checkpoints(root))
    try:
        return Trial(root, run_attempt(inference_job(context), 1, checkpoints(root)), context)
    finally:
        context.journal.close()


def checkpoints(root: Path) -> dict[str, CheckpointRef]:
    """Return the run's three checkpoints, verified."""
    return {
        stage: verify_checkpoint(healthy(root, stage), expected_stage=stage, require_optimizer=False)
        for stage in STAGES
    }


def scene_with(defect: Defect, root: Path) -> Path:
    """Create a scene with the defect's changes to its files."""
    make_scene(root)
    if defect.project is not None:
        defect.project(root)
    return root


def healthy(root: Path, stage: str) -> Path:
    """Return the folder of the run's checkpoint of a stage; a defect may have changed its content."""
    (found,) = (root / "results" / "healthy" / stage / "checkpoints").glob(f"{stage}_step_*")
    return found
