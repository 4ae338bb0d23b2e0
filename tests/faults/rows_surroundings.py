"""Faults of a run's surroundings that must not fail a healthy run: notebook variables, names, servers, limits."""

from __future__ import annotations

from tests.faults.fault import Fault

ROWS: tuple[Fault, ...] = (
    Fault(
        id="notebook-backend",
        title="The run was started from a notebook, which exports its own plotting backend.",
        injected="MPLBACKEND names a module that is not installed, and MATPLOTLIBRC a style that needs LaTeX; the "
        "stage draws with pyplot.",
        loop="Stages, inference and the harness draw with Agg in the default style. Nothing is retuned.",
        report="Pictures as usual.",
        requirements=("S4", "T1", "A4"),
    ),
    Fault(
        id="nameless-machine",
        title="The machine's own name does not resolve.",
        injected="Two gloo workers under torchrun in a UTS namespace with such a name (needs root).",
        loop="The workers meet at 127.0.0.1 and train.",
        report="`doctor`: `… does not resolve … : workers of one machine meet at 127.0.0.1`.",
        requirements=("L2", "L3"),
        slow=True,
    ),
    Fault(
        id="repeated-warning",
        title="A stage that hangs at its start repeats a warning for ever.",
        injected="A stage process prints torch's warning about a name every 0.1 s, each time with another time stamp.",
        loop="A repeated warning is no progress: the chunk is ended after `stall_s`, not at its deadline.",
        report='A6: `it made no step for … s … (its log only repeated "[W…")`.',
        requirements=("L2", "T1"),
        lost="the updates of the chunk, which had none",
    ),
    Fault(
        id="wandb-down",
        title="W&B's server is down when a chunk starts.",
        injected="WANDB_BASE_URL names a port on which nothing listens.",
        loop="The chunk is logged offline and trains; nothing is retuned. The next chunk tries the server again.",
        report="A5: `W&B's server … cannot be reached (Connection refused), so this chunk was logged offline (run …); "
        "upload it later with: wandb sync`.",
        requirements=("L9", "T1"),
    ),
    Fault(
        id="cgroup-limits",
        title="The run may use less memory than the machine has.",
        injected="`doctor` runs in a memory cgroup of 320 MiB (version 1 or 2).",
        loop="Worker counts and memory estimates use the limits of the cgroup and of its parents.",
        report="`doctor`: `… GiB available (its cgroup allows 0.3 GiB)`, with the fix.",
        requirements=("L3",),
    ),
)
