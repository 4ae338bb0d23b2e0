"""Node 0's side of a multi-node run: wait for the other nodes, detect lost ones, merge their evidence into one result.

Node 0's harness has one `Nodes` per run. `wait_until_ready` waits for every node, `problem` is polled while the chunk
runs, and `merge` joins the evidence of all nodes. The harness of another node runs `loop/nodes.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.cause import KILLED, NODE_LOST, OK, OUT_OF_MEMORY, RUNTIME_ERROR
from tinyworlds_gate.launch.failure_text import failure_sentence
from tinyworlds_gate.launch.launcher import ChunkResult, Worker
from tinyworlds_gate.launch.node_table import CLOSING, LEFT, REFUSED, RUNNING, WAITING, NodeStatus, NodeTable
from tinyworlds_gate.run.disk import DISK_FULL
from tinyworlds_gate.run.identity import host_name
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.plain_json import load_json

_POLL_S = 0.1
_GATHER_S = 60.0
"""How long a live node may take to end its launcher and write its evidence after node 0's launcher ended."""

FOLLOWED = "followed"
"""Cause in another node's evidence: its launcher was ended because node 0's ended; it is not a failure of this node."""


@dataclass(frozen=True)
class NodeEnd:
    """How a chunk ended on another node. ``cause``: a chunk's cause or ``followed``; ``told``: the failure sentence."""

    node: int
    host: str
    cause: str
    told: str
    dual_gpu_ok: bool | None = None
    dual_gpu_reason: str = "unknown: the node left no evidence"
    workers: Sequence[Mapping[str, Any]] = ()
    exit_code: int | None = None
    signal: str | None = None
    launcher_pid: int | None = None
    device_samples: str | None = None
    peak_gpu_mem_gib: float | None = None
    log: str | None = None
    extra_launchers: Sequence[Mapping[str, Any]] = ()
    ended: Sequence[Mapping[str, Any]] = ()

    @property
    def name(self) -> str:
        """`node 1 (host-b)`."""
        return f"node {self.node} ({self.host})"

    @classmethod
    def of(cls, node: int, host: str, result: ChunkResult, layout: RunLayout, *, followed: bool) -> NodeEnd:
        """Build the evidence of this node's own launch."""
        return cls(
            node=node,
            host=host,
            cause=FOLLOWED if followed else result.cause,
            told="" if result.ok else failure_sentence(result),
            device_samples=layout.relative(result.device_samples),
            log=layout.relative(result.log),
            **{name: getattr(result, name) for name in _SHARED_FIELDS},
        )


_SHARED_FIELDS = (
    *("dual_gpu_ok", "dual_gpu_reason", "workers", "exit_code", "signal", "launcher_pid", "peak_gpu_mem_gib"),
    *("extra_launchers", "ended"),
)


@dataclass
class Nodes:
    """Node 0's view of the other nodes of its run."""

    rendezvous: Rendezvous
    table: NodeTable
    layout: RunLayout
    silence_s: float
    wait_s: float
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._sessions: dict[int, str] = {}

    @property
    def others(self) -> range:
        """Ranks of the other nodes."""
        return range(1, self.rendezvous.nnodes)

    def wait_until_ready(self) -> None:
        """Wait until every node is alive and in the state ``waiting``.

        Raises:
            LaunchError: a node did not come in time, or cannot take part. The run can be resumed.
        """
        deadline, announced = time.monotonic() + self.wait_s, ""
        while absent := [node for node in self.others if not self._is_ready(node)]:
            names = ", ".join(f"node {node}" for node in absent)
            if names != announced:
                announced = names
                self.say(f"waiting for {names} of {self.rendezvous.nnodes} (rendezvous {self.rendezvous.id})")
            if time.monotonic() >= deadline:
                raise LaunchError(
                    f"{names} of {self.rendezvous.nnodes} did not come within {self.wait_s:g} s "
                    f"(watchdog.node_wait_s). Start the same command there with its own --node-rank, the same "
                    f"--rdzv-endpoint and --rdzv-id {self.rendezvous.id}, on the same shared project folder, and go on "
                    f"with --resume-run results/{self.layout.run}; nothing that was trained is lost."
                )
            time.sleep(_POLL_S)

    def begin(self, chunk: int) -> None:
        """Announce a chunk that is in the journal; the other nodes then join it."""
        self._sessions = {node: status.session for node in self.others if (status := self.table.status(node))}
        for node in self.others:
            evidence_file(self.layout, chunk, node).unlink(missing_ok=True)
        self.table.set_state(RUNNING, chunk=chunk)

    def problem(self, chunk: int) -> str | None:
        """Return why another node prevents the chunk from continuing; None while none does."""
        for node in self.others:
            end = read_evidence(self.layout, chunk, node)
            if end is not None and end.cause not in (OK, FOLLOWED):
                return f"{end.name}: {end.told}"
            if end is None and (lost := self._lost(node)) is not None:
                return lost
        return None

    def merge(self, result: ChunkResult, chunk: int) -> ChunkResult:
        """Return the result over all nodes; waits for the evidence of the live ones."""
        self.table.set_state(CLOSING, chunk=chunk)
        ends = [self._end_of(node, chunk) for node in self.others]
        self.table.set_state(WAITING, chunk=chunk)
        return merge_results(result, ends, f"node 0 ({host_name()})")

    def close(self) -> None:
        """End the run; the other nodes then end too."""
        self.table.leave("its run ended")

    def _is_ready(self, node: int) -> bool:
        status = self.table.status(node)
        if status is not None and status.state == REFUSED:
            raise LaunchError(f"node {node} ({status.host}) cannot take part: {status.message}")
        return self.table.silent_s(node) < self.silence_s and status is not None and status.state == WAITING

    def _lost(self, node: int) -> str | None:
        return lost_reason(
            node, self.table.status(node), self.table.silent_s(node), self._sessions.get(node), self.silence_s
        )

    def _end_of(self, node: int, chunk: int) -> NodeEnd:
        deadline = time.monotonic() + max(_GATHER_S, 2 * self.silence_s)
        while (end := read_evidence(self.layout, chunk, node)) is None:
            lost = self._lost(node)
            if lost is None and time.monotonic() >= deadline:
                lost = f"node {node} left no evidence of its part of the chunk"
            if lost is not None:
                status = self.table.status(node)
                return NodeEnd(node, status.host if status else "unknown host", NODE_LOST, lost)
            time.sleep(_POLL_S)
        return end


def lost_reason(
    node: int, status: NodeStatus | None, silent_s: float, session: str | None, silence_s: float
) -> str | None:
    """Return why a node is lost during a chunk (pure), or None. ``session``: its session at the chunk's start."""
    name = f"node {node} ({status.host})" if status is not None else f"node {node}"
    if silent_s >= silence_s:
        return f"{name} gave no sign of life for {silence_s:g} s: its harness, its machine or its disk is gone"
    if status is not None and status.state in (LEFT, REFUSED):
        return f"{name} left the chunk: {status.message or 'its harness ended'}"
    if status is not None and status.session != session:
        return f"{name} was restarted during the chunk, so its launcher is gone"
    return None


def merge_results(result: ChunkResult, ends: Sequence[NodeEnd], own_name: str) -> ChunkResult:
    """Merge the results of all nodes (pure); the cause and its node are those that failed first (T1, T6)."""
    cause, problem = merge_causes(result, ends)
    judged = [(own_name, result.dual_gpu_ok, result.dual_gpu_reason)]
    judged += [(end.name, end.dual_gpu_ok, end.dual_gpu_reason) for end in ends]
    verdicts = [ok for _, ok, _ in judged]
    memories = [value for value in (result.peak_gpu_mem_gib, *(end.peak_gpu_mem_gib for end in ends)) if value]
    workers = [*result.workers, *(Worker(**worker) for end in ends for worker in end.workers)]
    return replace(
        result,
        cause=cause,
        node_problem=problem,
        disk_problem=problem if cause == DISK_FULL and problem else result.disk_problem,
        workers=tuple(sorted(workers, key=lambda worker: worker.rank)),
        dual_gpu_ok=False if False in verdicts else None if None in verdicts else True,
        dual_gpu_reason="; ".join(f"{name}: {reason}" for name, _, reason in judged),
        peak_gpu_mem_gib=max(memories) if memories else None,
        nodes=tuple(ends),
    )


def merge_causes(result: ChunkResult, ends: Sequence[NodeEnd]) -> tuple[str, str | None]:
    """Return the cause of the whole chunk and a sentence naming the other node that caused it (None: node 0 did).

    Out of memory comes first, since the batch-size ladder reacts to it; then lost and killed nodes, since they make the
    workers of all other nodes fail.
    """
    failed = [end for end in ends if end.cause not in (OK, FOLLOWED)]
    for cause in (OUT_OF_MEMORY, NODE_LOST, KILLED):
        if result.cause == cause and cause != NODE_LOST:
            return cause, None
        if found := [end for end in failed if end.cause == cause]:
            sentence = "; ".join(end.told if end.cause == NODE_LOST else f"{end.name}: {end.told}" for end in found)
            return cause, sentence
    if result.cause == OK and failed:
        return failed[0].cause, f"{failed[0].name}: {failed[0].told}"
    if result.cause == NODE_LOST:  # this harness ended it because of a node whose evidence then showed another cause
        return (failed[0].cause, f"{failed[0].name}: {failed[0].told}") if failed else (RUNTIME_ERROR, None)
    return result.cause, None


def evidence_file(layout: RunLayout, chunk: int, node: int) -> Path:
    """Return the path of another node's evidence for a chunk."""
    return layout.nodes / f"chunk_{chunk:03d}_node_{node}.json"


def read_evidence(layout: RunLayout, chunk: int, node: int) -> NodeEnd | None:
    """Return another node's evidence for a chunk; None if the file is missing or incomplete."""
    try:
        return NodeEnd(**load_json(evidence_file(layout, chunk, node).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
