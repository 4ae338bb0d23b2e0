"""Run wandb's client in a child process with a deadline (L9)."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun, RunAnswer
from tinyworlds_gate.launch.child import run_child
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.plain_json import load_json
from tinyworlds_gate.targets.embedded import package_path

WandbSource = Literal["api", "offline"]

LONGEST_TMPDIR = 60
"""wandb puts a socket there, and a socket's path may have about 100 letters."""


@dataclass(frozen=True)
class Patience:
    """Timeouts for W&B, in seconds."""

    timeout_s: float = 10.0
    """For one answer; wandb's client tries three times."""
    stall_s: float = 60.0
    """Without a new row."""
    deadline_s: float = 60.0
    """In total, plus …"""
    per_1000_updates_s: float = 2.0
    """… this for the updates to read."""

    def deadline_for(self, runs: Sequence[LoggedRun]) -> float:
        updates = sum(max(0, run.end - run.start) for run in runs)
        return self.deadline_s + self.per_1000_updates_s * updates / 1000


@dataclass(frozen=True)
class Answered:
    """The answers that came, by run id; `problem` is why the others did not (the end of a sentence)."""

    runs: Mapping[str, RunAnswer] = field(default_factory=dict)
    problem: str | None = None

    def problem_with(self, run_id: str) -> str | None:
        """Return why rows of this run are missing; None without a problem."""
        answer = self.runs.get(run_id)
        return (self.problem or "no answer came") if answer is None else answer.problem


def ask(source: WandbSource, runs: Sequence[LoggedRun], layout: RunLayout, patience: Patience) -> Answered:
    """What W&B's server (`api`) or the runs' own files (`offline`) hold of these runs. Never raises for W&B's faults.

    The child's words go to `results/<run>/logs/wandb_<source>.log`, without any key.
    """
    if not runs:
        return Answered()
    try:
        with tempfile.TemporaryDirectory(prefix="wandb-") as folder:
            return _ask(source, runs, layout, patience, Path(folder))
    except LaunchError as error:
        return Answered(problem=str(error))
    except OSError as error:
        return Answered(problem=f"{error.filename or 'a file'} cannot be written: {error.strerror}")


def _ask(
    source: WandbSource, runs: Sequence[LoggedRun], layout: RunLayout, patience: Patience, folder: Path
) -> Answered:
    deadline_s = patience.deadline_for(runs)
    request, answers = folder / "request.json", folder / "answers.jsonl"
    content = {
        "source": source,
        "runs": [asdict(run) for run in runs],
        "folders": [str(layout.project_root), *filter(None, [os.environ.get("WANDB_DIR")])],
        "timeout_s": patience.timeout_s,
        "stall_s": patience.stall_s,
    }
    request.write_text(json.dumps(content), encoding="utf-8")
    result = run_child(
        [sys.executable, "-P", "-m", "tinyworlds_gate.evidence.metrics.wandb_child", str(request), str(answers)],
        cwd=layout.project_root,
        env=child_environment(os.environ, source, folder, patience),
        log_path=layout.logs / f"wandb_{source}.log",
        deadline_s=deadline_s,
    )
    found, problem = _read(answers)
    if result.stopped:
        problem = f"no whole answer came within {deadline_s:g} s"
    elif not result.ok and problem is None:
        problem = f"the child process ended with {result.signal or f'exit code {result.exit_code}'}"
    return Answered(found, problem)


def child_environment(
    inherited: Mapping[str, str], source: WandbSource, folder: Path, patience: Patience
) -> dict[str, str]:
    """Ours, without what belongs to a run that is logged; what wandb writes goes to `folder`. No key for files."""
    dropped = {"WANDB_SERVICE", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_MODE", "WANDB_DEBUG", "WANDB_CORE_DEBUG"}
    if source == "offline":
        dropped.add("WANDB_API_KEY")
    env = {name: value for name, value in inherited.items() if name not in dropped}
    env |= dict.fromkeys(("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"), str(folder))
    if len(str(folder)) <= LONGEST_TMPDIR:
        env["TMPDIR"] = str(folder)
    env |= {
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "WANDB_HTTP_TIMEOUT": f"{patience.timeout_s:g}",
        # Private names of wandb's settings; a version that does not know them only tries longer, to the deadline.
        "WANDB__GRAPHQL_RETRY_MAX": "2",
        "WANDB__GRAPHQL_RETRY_WAIT_MIN_SECONDS": "0.2",
        "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS": "1",
        "WANDB__FILE_TRANSFER_RETRY_MAX": "2",
    }
    entries = [*map(str, package_path()), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    return env | {"PYTHONPATH": os.pathsep.join(entries)}


def _read(path: Path) -> tuple[dict[str, RunAnswer], str | None]:
    """The whole lines; a torn last one (the process was ended) is dropped."""
    found: dict[str, RunAnswer] = {}
    problem: str | None = None
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for line in text[: text.rfind("\n") + 1].splitlines():
        data = load_json(line)
        if "run" in data:
            found[data["run"]] = RunAnswer.from_data(data)
        else:
            problem = data["problem"]
    return found, problem
