"""Where the launchers of several machines meet: torchrun's static rendezvous, told by four options (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.errors import LaunchError

NODE_VARIABLE = "TINYWORLDS_GATE_NODE"
"""In the environment of a chunk's processes: `<rdzv id>/<node rank>`."""

_ENDPOINT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?):([0-9]{1,5})")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RANK = "--node_rank="


@dataclass(frozen=True)
class Rendezvous:
    """This machine's place among the nodes of one run.

    ``endpoint`` is `host:port` on node 0, where its launcher listens; ``id`` tells the runs of a cluster apart.
    """

    nnodes: int
    node_rank: int
    endpoint: str
    id: str

    def __post_init__(self) -> None:
        for problem in rendezvous_problems(self.nnodes, self.node_rank, self.endpoint, self.id):
            raise LaunchError(problem)

    def words(self, chunk: int) -> list[str]:
        """torchrun's own options. Each chunk meets under a name of its own, so that no late launcher joins another.

        The static backend: node 0 gets rank 0, which writes checkpoints and history, whoever comes first.
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
        """Whether a process that carries ``marker`` trains for another node of this run (on the same machine)."""
        if marker is None:
            return False
        id, _, rank = marker.rpartition("/")
        return id == self.id and rank != str(self.node_rank)


def rendezvous_problems(nnodes: int, node_rank: int, endpoint: str, id: str) -> list[str]:
    """What is wrong with a place among the nodes, a sentence each."""
    problems = []
    if nnodes < 2:
        problems.append(f"--nnodes {nnodes}: a rendezvous needs at least 2 nodes; leave the other options out for 1.")
    if not 0 <= node_rank < max(nnodes, 1):
        problems.append(
            f"--node-rank {node_rank} is not one of the {nnodes} nodes; give 0 to {nnodes - 1}, each on one machine."
        )
    if endpoint_problem(endpoint) is not None:
        problems.append(f"--rdzv-endpoint {endpoint}: {endpoint_problem(endpoint)}.")
    if id_problem(id) is not None:
        problems.append(f"--rdzv-id {id}: {id_problem(id)}.")
    return problems


def endpoint_problem(text: str) -> str | None:
    """Why a text is no `host:port`; None when it is one."""
    found = _ENDPOINT.fullmatch(text)
    if found is None:
        return f"{text!r} is no host:port; give node 0's name or address and a free port there, e.g. node-a:29500"
    if not 1 <= int(found[1]) <= 65535:
        return f"{text!r} names the port {found[1]}; give a port from 1 to 65535"
    return None


def id_problem(text: str) -> str | None:
    """Why a text is no name of a rendezvous; None when it is one."""
    if _ID.fullmatch(text):
        return None
    return f"{text!r} is no name; give up to 100 letters, digits, '.', '_' and '-', the same on all nodes"


def command_of_node(command: Sequence[str], node_rank: int) -> list[str]:
    """Node 0's command as another node runs it: only its rank differs.

    Raises:
        LaunchError: the command is not one of several nodes.
    """
    at = [index for index, word in enumerate(command) if word == f"{_RANK}0"]
    if len(at) != 1:
        raise LaunchError(
            f"Node 0's command names its rank {len(at)} times instead of once, so it is no command of several nodes: "
            f"{' '.join(command[:6])} … Start all nodes with the same --nnodes."
        )
    return [*command[: at[0]], f"{_RANK}{node_rank}", *command[at[0] + 1 :]]


# The four options of several machines: checked together, and turned into this machine's place (docs/cluster.md).

PLACE = ("node_rank", "rdzv_endpoint", "rdzv_id")


def nodes_problems(options: Mapping[str, Any]) -> list[str]:
    """What is wrong with these options together, a sentence each; none when they are fine."""
    nnodes = options.get("nnodes", 1)
    if nnodes == 1:
        return [
            f"--{name.replace('_', '-')} {options[name]} has no effect on one machine; give --nnodes N for several, or "
            "leave it out."
            for name in PLACE
            if name in options
        ]
    if options.get("target_repo") is not None:
        return [
            f"--nnodes {nnodes} with --target-repo {options['target_repo']}: a checkout is trained on one machine; "
            "only the embedded reference goes over several. Leave one of the two out."
        ]
    missing = [f"--{name.replace('_', '-')}" for name in PLACE[1:] if name not in options]
    if missing:
        return [
            f"--nnodes {nnodes} needs {' and '.join(missing)}, the same on all nodes: where node 0's torchrun listens "
            "(node-a:29500), and a name of this rendezvous (the job's)."
        ]
    return rendezvous_problems(nnodes, options.get("node_rank", 0), options["rdzv_endpoint"], options["rdzv_id"])


def place_of(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A run's options with the place that was given now: a resumed run may meet elsewhere than it was started."""
    return {**options, **{name: given[name] for name in PLACE if name in given}}


def rendezvous_of(options: Mapping[str, Any]) -> Rendezvous | None:
    """This machine's place among the nodes; None on one machine."""
    if options.get("nnodes", 1) == 1:
        return None
    return Rendezvous(options["nnodes"], options.get("node_rank", 0), options["rdzv_endpoint"], options["rdzv_id"])
