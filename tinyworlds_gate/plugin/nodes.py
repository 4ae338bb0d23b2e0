"""The four options of several machines: checked together, and turned into this machine's place (docs/cluster.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyworlds_gate.launch.rendezvous import Rendezvous, rendezvous_problems

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
