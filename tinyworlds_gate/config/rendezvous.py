"""torchrun's static rendezvous of several machines, from the options --nnodes, --node-rank and --rdzv-* (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.errors import LaunchError

NODE_VARIABLE = "TINYWORLDS_GATE_NODE"
"""Environment variable of a chunk's processes: `<rdzv id>/<node rank>`."""

_ENDPOINT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?):([0-9]{1,5})")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RANK = "--node_rank="


@dataclass(frozen=True)
class Rendezvous:
    """This node's rank and the rendezvous of its run.

    ``endpoint`` is the `host:port` at which node 0's launcher listens; ``id`` distinguishes the runs of a cluster.
    """

    nnodes: int
    node_rank: int
    endpoint: str
    id: str

    def __post_init__(self) -> None:
        for problem in rendezvous_problems(self.nnodes, self.node_rank, self.endpoint, self.id):
            raise LaunchError(problem)

    def arguments(self, chunk: int) -> list[str]:
        """Return the options for torchrun. The ID differs per chunk, so that a late launcher cannot join the next one.

        With the static backend node 0 always gets rank 0, which writes checkpoints and history.
        """
        return [
            f"--nnodes={self.nnodes}",
            f"{_RANK}{self.node_rank}",
            "--rdzv_backend=static",
            f"--rdzv_endpoint={self.endpoint}",
            f"--rdzv_id={self.id}-chunk{chunk}",
        ]

    @property
    def marker(self) -> str:
        """The value of ``NODE_VARIABLE``."""
        return f"{self.id}/{self.node_rank}"

    def is_another_node(self, marker: str | None) -> bool:
        """Whether a process with this ``NODE_VARIABLE`` belongs to another node of this run (on the same machine)."""
        if marker is None:
            return False
        id, _, rank = marker.rpartition("/")
        return id == self.id and rank != str(self.node_rank)


def rendezvous_problems(nnodes: int, node_rank: int, endpoint: str, id: str) -> list[str]:
    """Return the problems of a node's rendezvous options, one sentence each."""
    problems = []
    if nnodes < 2:
        problems.append(
            f"--nnodes {nnodes}: a rendezvous needs at least 2 nodes; for 1 node remove the other node options."
        )
    if not 0 <= node_rank < max(nnodes, 1):
        problems.append(
            f"--node-rank {node_rank} is out of range for {nnodes} nodes; use 0 to {nnodes - 1}, each on one machine."
        )
    if endpoint_problem(endpoint) is not None:
        problems.append(f"--rdzv-endpoint {endpoint}: {endpoint_problem(endpoint)}.")
    if id_problem(id) is not None:
        problems.append(f"--rdzv-id {id}: {id_problem(id)}.")
    return problems


def endpoint_problem(text: str) -> str | None:
    """Return why a string is not a valid `host:port`; None if it is."""
    found = _ENDPOINT.fullmatch(text)
    if found is None:
        return f"{text!r} is not host:port; give node 0's name or address and a free port there, e.g. node-a:29500"
    if not 1 <= int(found[1]) <= 65535:
        return f"{text!r} has the port {found[1]}; use a port from 1 to 65535"
    return None


def id_problem(text: str) -> str | None:
    """Return why a string is not a valid rendezvous ID; None if it is."""
    if _ID.fullmatch(text):
        return None
    return f"{text!r} is not a valid name; use up to 100 letters, digits, '.', '_' and '-', the same on all nodes"


def command_of_node(command: Sequence[str], node_rank: int) -> list[str]:
    """Return node 0's command with the rank of another node.

    Raises:
        LaunchError: the command does not set the rank exactly once, as a multi-node command does.
    """
    at = [index for index, word in enumerate(command) if word == f"{_RANK}0"]
    if len(at) != 1:
        raise LaunchError(
            f"Node 0's command sets {_RANK}0 {len(at)} times instead of once, so it is not a multi-node command: "
            f"{' '.join(command[:6])} … Start all nodes with the same --nnodes."
        )
    return [*command[: at[0]], f"{_RANK}{node_rank}", *command[at[0] + 1 :]]


NODE_OPTIONS = ("node_rank", "rdzv_endpoint", "rdzv_id")


def nodes_problems(options: Mapping[str, Any]) -> list[str]:
    """Return the problems of the multi-node options, one sentence each."""
    nnodes = options.get("nnodes", 1)
    if nnodes == 1:
        return [
            f"--{name.replace('_', '-')} {options[name]} has no effect on one machine; set --nnodes N for several, or "
            "leave it out."
            for name in NODE_OPTIONS
            if name in options
        ]
    if options.get("target_repo") is not None:
        return [
            f"--nnodes {nnodes} with --target-repo {options['target_repo']}: a checkout is trained on one machine; "
            "only the embedded reference supports several. Remove one of the two options."
        ]
    missing = [f"--{name.replace('_', '-')}" for name in NODE_OPTIONS[1:] if name not in options]
    if missing:
        return [
            f"--nnodes {nnodes} needs {' and '.join(missing)}, the same on all nodes: the address at which node 0's "
            "torchrun listens (node-a:29500), and a name for this rendezvous (such as the job's name)."
        ]
    return rendezvous_problems(nnodes, options.get("node_rank", 0), options["rdzv_endpoint"], options["rdzv_id"])


def with_node_options(options: Mapping[str, Any], explicit: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resumed run's options with this session's explicit rank, endpoint and rendezvous ID."""
    return {**options, **{name: explicit[name] for name in NODE_OPTIONS if name in explicit}}


def rendezvous_of(options: Mapping[str, Any]) -> Rendezvous | None:
    """Return the rendezvous of this node; None on one machine."""
    if options.get("nnodes", 1) == 1:
        return None
    return Rendezvous(options["nnodes"], options.get("node_rank", 0), options["rdzv_endpoint"], options["rdzv_id"])
