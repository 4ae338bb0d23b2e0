"""Two "nodes" of one gloo worker each on loopback: node 0 in this process, node 1 a real `pytest --node-rank 1`.

Both run on this machine and in one project, as they would on shared storage.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.faults.runs import begin_journal
from tests.helpers.tiny_project import GAME, environment, write_game, write_smoke_profile
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.gate.clip_plan import ClipPlan
from tinyworlds_gate.loop.nodes import open_nodes
from tinyworlds_gate.loop.stage_controller import StageController, StageResult
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.embedded import embedded_target

STAGE = "video_tokenizer"
ID = "loopback"


@dataclass
class NodeProject:
    """A started run of the tiny game on ``nnodes`` nodes with ``nproc`` workers each."""

    context: RunContext
    nnodes: int
    endpoint: str
    said: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.context.layout.project_root

    def train(self, target: int, stage: str = STAGE) -> StageResult:
        return StageController(self.context, stage, {}).train(target)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.context.journal.events() if event["event"] == name]

    def losses(self, stage: str = STAGE) -> list[str]:
        rows = self.context.layout.history(stage).read_text().splitlines()
        at = rows[0].split(",").index("train/loss")
        return [row.split(",")[at] for row in rows[1:]]


@contextmanager
def node_project(
    root: Path,
    *,
    nnodes: int,
    nproc: int,
    updates: int,
    saved_every: int,
    silence_s: float = 6.0,
    wait_s: float = 60.0,
    **distributed: object,
) -> Iterator[NodeProject]:
    """Write settings, frames and journal of a run; with two nodes, open it for the other."""
    configs = root / "configs"
    write_smoke_profile(configs)
    write_game(root / "data" / f"{GAME.lower()}_frames.h5", episodes=8)
    (root / "conftest.py").write_text('pytest_plugins = ["tinyworlds_gate.plugin"]\n')
    (root / "pytest.ini").write_text("[pytest]\n")
    change(configs / "training.yaml", nproc_per_node=nproc, log_every=1000, distributed=distributed)
    change(configs / f"{STAGE}.yaml", batch_size_per_gpu=4, n_updates=updates, log_interval=saved_every)
    profile = yaml.safe_load((configs / "profile.yaml").read_text())
    profile["stages"][STAGE] = {"chunk": updates, "target_updates": updates}
    profile["max_train_retries"] = 5
    profile["watchdog"] |= {"stall_s": 60.0, "node_silence_s": silence_s, "node_wait_s": wait_s}
    (configs / "profile.yaml").write_text(yaml.safe_dump(profile))
    layout = RunLayout(root, "run_1").create()
    options = {"monitor_interval_sec": 0.5, "nnodes": nnodes}
    settings = resolve_settings(configs, options, project_root=root)
    said: list[str] = []
    context = RunContext(
        settings=settings,
        target=embedded_target(root, configs),
        layout=layout,
        journal=Journal(layout.journal, project_root=layout.project_root),
        gpus=0,
        say=said.append,
        show_progress=lambda *_: None,
        clips=ClipPlan(root / "data" / f"{GAME.lower()}_frames.h5"),
    )
    begin_journal(context)
    context.journal.append("settings_resolved", settings=settings.table())
    # A run's own copy of its settings, where its children on every node read them.
    for path in configs.glob("*.yaml"):
        layout.configs.mkdir(exist_ok=True)
        (layout.configs / path.name).write_bytes(path.read_bytes())
    context.target = embedded_target(root, layout.configs)
    project = NodeProject(context, nnodes, f"127.0.0.1:{free_port()}", said)
    if nnodes > 1:
        open_nodes(context, Rendezvous(nnodes, 0, project.endpoint, ID))
    try:
        yield project
    finally:
        if context.nodes is not None:
            context.nodes.close()
        context.journal.close()


@dataclass
class OtherNode:
    """The harness of node 1, a separate process."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        """Kill the harness and all its processes at once, as when its machine fails."""
        tree = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for one in tree:
            one.kill()
        self.process.wait(10)


@contextmanager
def other_node(project: NodeProject, name: str = "node_1") -> Iterator[OtherNode]:
    """Start `pytest --node-rank 1` in the project, as on another machine."""
    log = project.root / f"{name}.log"
    words = ["--nnodes", "2", "--node-rank", "1", "--rdzv-endpoint", project.endpoint, "--rdzv-id", ID]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *words],
            cwd=project.root,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    node = OtherNode(process, log)
    try:
        yield node
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                node.kill()


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for: {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def change(path: Path, **values: object) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))
