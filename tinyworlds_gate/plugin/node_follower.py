"""`pytest … --node-rank K` with K above 0: no test is run here, this machine takes part in node 0's run."""

from __future__ import annotations

import pytest

from tinyworlds_gate.config.rendezvous import NODE_OPTIONS, rendezvous_of
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.plugin import options


def follow_if_asked(config: pytest.Config) -> int | None:
    """The exit status of a node that followed node 0's run to its end; None where this is node 0 or the only one.

    Raises:
        pytest.UsageError: the options of the rendezvous are wrong.
    """
    given = options.explicit_options(config)
    if given.get("node_rank", 0) == 0 or config.option.help or config.option.collectonly:
        return None
    options.require_valid({name: value for name, value in given.items() if name in (*NODE_OPTIONS, "nnodes")})
    rendezvous = rendezvous_of(given)
    assert rendezvous is not None  # a rank above 0 is refused on one machine
    from tinyworlds_gate.launch.processes.interrupts import raise_on_termination
    from tinyworlds_gate.loop.nodes import NodeFollower

    def say(sentence: str) -> None:
        print(f"[node {rendezvous.node_rank}] {sentence}", flush=True)

    try:
        with raise_on_termination():
            NodeFollower(options.project_root(config), rendezvous, say).follow()
    except GateError as error:
        say(f"stopped: {error}")
        return int(pytest.ExitCode.TESTS_FAILED)
    except KeyboardInterrupt as interrupt:
        say(f"interrupted: {interrupt}" if str(interrupt) else "interrupted")
        return int(pytest.ExitCode.INTERRUPTED)
    return int(pytest.ExitCode.OK)
