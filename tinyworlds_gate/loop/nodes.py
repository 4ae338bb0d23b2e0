"""Several machines: node 0 opens its run for the others, and what the harness on another node does (docs/cluster.md).

The harness of another node decides nothing and writes no journal. It finds the run by the rendezvous' name, starts its
own torchrun for every chunk that node 0 announces, guards it as node 0 does its own, and leaves its evidence.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.profile import Watchdog
from tinyworlds_gate.config.rendezvous import Rendezvous, command_of_node
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import GateError, LaunchError
from tinyworlds_gate.launch.cause import NODE_LOST
from tinyworlds_gate.launch.chunk_watch import ChunkSettings
from tinyworlds_gate.launch.command import stage_environment
from tinyworlds_gate.launch.devices.nvml import gpu_count
from tinyworlds_gate.launch.launcher import ChunkResult, chunk_files, run_chunk
from tinyworlds_gate.launch.node_table import (
    CLOSING,
    LEFT,
    REFUSED,
    RUNNING,
    WAITING,
    NodeStatus,
    NodeTable,
)
from tinyworlds_gate.launch.nodes import FOLLOWED, NodeEnd, Nodes, evidence_file
from tinyworlds_gate.launch.processes.end import end_processes, require_ended
from tinyworlds_gate.launch.processes.find import find_stage_processes, node_marker
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.identity import host_name
from tinyworlds_gate.run.journal import Event, last_event, read_journal
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.owned import owned_folder
from tinyworlds_gate.run.plain_json import load_json
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.embedded import embedded_target

_POLL_S = 0.1
_JOURNAL_LAG_S = 90.0
"""Shared storage may show a line of the journal later than the word that announces it (NFS caches attributes)."""
_GRACE_S = 15.0
"""How long this node's launcher may go on once node 0's has ended: torchrun's agents leave together."""


def open_nodes(context: RunContext, rendezvous: Rendezvous) -> None:
    """Node 0: let the other nodes find this run. Call ``context.nodes.close`` at the end.

    Raises:
        LaunchError: this is not node 0, or the target is not the embedded reference.
    """
    if rendezvous.node_rank != 0:
        raise LaunchError(f"--node-rank {rendezvous.node_rank}: only node 0 runs the loop.")
    if context.target.kind != "embedded":
        raise LaunchError(
            f"--nnodes {rendezvous.nnodes}: a {context.target.kind} target is driven on one machine only, since its "
            "ranks all write the same checkpoint; leave --nnodes out, or validate the embedded reference."
        )
    watchdog, layout = context.settings.profile.watchdog, context.layout
    table = NodeTable(layout.nodes, 0, rendezvous.nnodes)
    table.start()
    pointer = pointer_file(layout.project_root, rendezvous.id)
    owned_folder(layout.project_root, pointer.parent)
    atomic_write(pointer, json.dumps({"run": layout.run, "session": table.session}))
    context.nodes = Nodes(rendezvous, table, layout, watchdog.node_silence_s, watchdog.node_wait_s, context.say)


def pointer_file(project_root: Path, id: str) -> Path:
    """The file in which node 0 names the run of a rendezvous; no folder is searched for the newest run."""
    return project_root / "results" / ".rendezvous" / f"{id}.json"


@dataclass
class NodeFollower:
    """The harness of a node that is not node 0."""

    project_root: Path
    rendezvous: Rendezvous
    say: Callable[[str], None]
    wait_s: float = Watchdog().node_wait_s
    """How long to wait for node 0, until the settings of its run are known."""

    def follow(self) -> None:
        """Take part in every chunk of node 0's run, until its harness ends.

        Raises:
            GateError: node 0 never came or stopped living, or this machine cannot take part.
        """
        while not self._follow_one(self._find_run()):
            pass

    def _follow_one(self, layout: RunLayout) -> bool:
        """Follow one run; False when node 0 came back with another one under the same name (a job started anew)."""
        self.say(f"following results/{layout.run} (rendezvous {self.rendezvous.id})")
        table = NodeTable(layout.nodes, self.rendezvous.node_rank, self.rendezvous.nnodes)
        table.set_state(CLOSING)  # not ready before node 0 was seen: the chunk under way is not this node's
        table.start()
        try:
            _FollowedRun(self, layout, table).follow()
        except _AnotherRun:
            return False
        except GateError as error:
            table.leave(str(error))
            raise
        finally:
            table.leave("its harness was stopped")
        return True

    def _find_run(self) -> RunLayout:
        pointer, began = pointer_file(self.project_root, self.rendezvous.id), time.monotonic()
        announced = False
        while True:
            run = _read_pointer(pointer)
            if run is not None:
                return RunLayout(self.project_root, run)
            if not announced:
                self.say(f"waiting for node 0 (rendezvous {self.rendezvous.id}, {self.rendezvous.endpoint})")
                announced = True
            if time.monotonic() - began >= self.wait_s:
                raise LaunchError(
                    f"node 0 opened no run under --rdzv-id {self.rendezvous.id} within {self.wait_s:g} s. Start it "
                    f"with --node-rank 0 and the same name, on the same shared project folder ({self.project_root})."
                )
            time.sleep(_POLL_S)


class _AnotherRun(Exception):
    """The rendezvous leads to another run than the one that is followed."""


class _FollowedRun:
    """One run of node 0, as another node takes part in it."""

    def __init__(self, follower: NodeFollower, layout: RunLayout, table: NodeTable) -> None:
        self.rendezvous, self.say = follower.rendezvous, follower.say
        self.layout, self.table = layout, table
        self.pointer = pointer_file(layout.project_root, follower.rendezvous.id)
        self.watchdog = Watchdog(node_wait_s=follower.wait_s)

    def follow(self) -> None:
        """Chunk by chunk, until node 0 leaves."""
        leader = self._leader()
        self._end_stale()
        handled = leader.chunk
        self.table.set_state(WAITING)
        while (leader := self._leader()).state != LEFT:
            if leader.chunk > handled and leader.state in (RUNNING, CLOSING):
                handled = leader.chunk
                self._take_part(leader)
                self.table.set_state(WAITING)
            time.sleep(_POLL_S)
        self.say(f"node 0 has ended its run: {leader.message or 'nothing more to do'}")

    def _leader(self) -> NodeStatus:
        """The status of node 0, once it was seen alive.

        Raises:
            LaunchError: it gave no sign of life for ``watchdog.node_wait_s``.
        """
        began = time.monotonic()
        while (status := self.table.status(0)) is None:
            self._require_patience(time.monotonic() - began)
            time.sleep(_POLL_S)
        if status.state != LEFT:
            self._require_patience(self.table.silent_s(0))
        return status

    def _require_patience(self, silent_s: float) -> None:
        if silent_s >= 3 * self.table.interval_s and _read_pointer(self.pointer) != self.layout.run:
            raise _AnotherRun
        if silent_s >= self.watchdog.node_wait_s:
            raise LaunchError(
                f"node 0 gave no sign of life in results/{self.layout.run} for {self.watchdog.node_wait_s:g} s "
                "(watchdog.node_wait_s). Go on there with --resume-run and the same --rdzv-id, then start this one."
            )

    def _end_stale(self) -> None:
        """L1 on this machine: training of this project that an earlier harness left, but not that of another node."""
        found = [
            one
            for one in find_stage_processes(self._target())
            if not self.rendezvous.is_another_node(node_marker(one.pid))
        ]
        ended = end_processes(found)
        for record in ended:
            self.say(f"ended a stale training process: PID {record.pid}, {record.outcome}")
        require_ended(ended)

    def _target(self) -> Target:
        return embedded_target(self.layout.project_root, self.layout.configs)

    def _take_part(self, leader: NodeStatus) -> None:
        node, chunk = self.rendezvous.node_rank, leader.chunk
        if leader.state == RUNNING:
            self.table.set_state(RUNNING, chunk=chunk)
            result, followed = self._run(leader)
            end = NodeEnd.of(node, host_name(), result, self.layout, followed=followed)
        else:
            end = NodeEnd(node, host_name(), FOLLOWED, "node 0 had ended the chunk before this node joined")
        atomic_write(evidence_file(self.layout, chunk, node), json.dumps(asdict(end), default=str))
        self.say(f"chunk {chunk}: {end.cause}{f', {end.told}' if end.told else ''}")

    def _run(self, leader: NodeStatus) -> tuple[ChunkResult, bool]:
        """This node's part of the chunk, and whether it was ended since node 0's part had ended."""
        started, value = self._announcement(leader.chunk)
        target, stage = self._target(), str(started["stage"])
        self.watchdog = Watchdog(**{name: float(value[f"profile.watchdog.{name}"]) for name in Watchdog.model_fields})
        command = command_of_node(started["command"], self.rendezvous.node_rank)
        on_cpu, nproc = "device=cpu" in command, int(started["nproc_per_node"])
        self._require_fit(command, target, stage, on_cpu=on_cpu, nproc=nproc)
        self.say(f"chunk {leader.chunk}: {stage}, updates {started['start_update']} to {started['end_update']}")
        files = chunk_files(self.layout, leader.chunk, self.rendezvous.node_rank)
        chunk_settings = ChunkSettings(
            nproc=nproc,
            monitor_interval_s=value["options.monitor_interval_sec"],
            gpu_util_threshold=value["options.gpu_util_threshold"],
            gpu_required_samples=value["options.gpu_required_samples"],
            cleanup_extra=value["options.cleanup_extra_processes"],
            deadline_s=self.watchdog.chunk_deadline_s,
            stall_s=self.watchdog.stall_s,
            rendezvous=self.rendezvous,
        )
        result = run_chunk(
            target,
            self.layout,
            chunk_settings,
            stage=stage,
            chunk=leader.chunk,
            command=command,
            env=stage_environment(target, files, on_cpu=on_cpu, rendezvous=self.rendezvous),
            updates=int(started["end_update"]),
            others=_LeaderWatch(self.table, leader, self.watchdog.node_silence_s),
        )
        return result, result.cause == NODE_LOST

    def _announcement(self, chunk: int) -> tuple[Event, Mapping[str, Any]]:
        """The journal's ``chunk_started`` of a chunk, and the value of each of the run's settings."""
        deadline = time.monotonic() + _JOURNAL_LAG_S
        while True:
            events = read_journal(self.layout.journal)
            started = last_event(events, "chunk_started", chunk=chunk)
            resolved = last_event(events, "settings_resolved")
            if started is not None and resolved is not None:
                return started, {key: one["value"] for key, one in resolved["settings"].items()}
            if time.monotonic() >= deadline:
                self._refuse(
                    f"node 0 started chunk {chunk}, but {self.layout.journal} does not show it here after "
                    f"{_JOURNAL_LAG_S:g} s: the project folder must be the same storage on all nodes"
                )
            time.sleep(_POLL_S)

    def _require_fit(self, command: list[str], target: Target, stage: str, *, on_cpu: bool, nproc: int) -> None:
        for what, needed in (("Python", str(target.python)), ("script", str(target.stage_script(stage)))):
            if needed not in command:
                self._refuse(
                    f"node 0 runs another {what} than this node ({needed}); install the environment at the same path "
                    "on all nodes, or on shared storage"
                )
        if not on_cpu and (gpus := gpu_count()) < nproc:
            self._refuse(
                f"nproc_per_node={nproc}, but this node has {gpus} NVIDIA GPUs; give node 0 --nproc-per-node "
                f"{max(gpus, 1)}, or another machine this place"
            )

    def _refuse(self, problem: str) -> None:
        """Report to node 0 why this machine cannot take part, and raise ``LaunchError``."""
        self.table.set_state(REFUSED, message=problem)
        time.sleep(3 * self.table.interval_s)  # so that node 0 reads it before it reads that this harness has left
        raise LaunchError(problem)


@dataclass
class _LeaderWatch:
    """Polled while this node's launcher runs: why it has to end because of node 0, or None."""

    table: NodeTable
    began_as: NodeStatus
    silence_s: float
    _closed_at: float | None = None

    def __call__(self) -> str | None:
        now = self.table.status(0)
        if now is None or self.table.silent_s(0) >= self.silence_s:
            return f"node 0 gave no sign of life for {self.silence_s:g} s"
        if now.session != self.began_as.session:
            return "node 0's harness was started anew"
        if now.state == RUNNING and now.chunk == self.began_as.chunk:
            return None
        if self._closed_at is None:
            self._closed_at = time.monotonic()
        if now.state != LEFT and now.chunk == self.began_as.chunk and time.monotonic() - self._closed_at < _GRACE_S:
            return None
        return "node 0's launcher has ended"


def _read_pointer(path: Path) -> str | None:
    try:
        return str(load_json(path.read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
