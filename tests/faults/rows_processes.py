"""Rows of the fault matrix: processes that die, fail, or leave too little."""

from __future__ import annotations

from tests.faults.fault import Fault

ROWS: tuple[Fault, ...] = (
    Fault(
        id="exit-0-without-checkpoint",
        title="A stage returns normally and has written no checkpoint.",
        injected="The stage's process ends with exit code 0 in its second chunk and saves nothing.",
        loop="The chunk does not count (S4); the batch is halved (T1) and the same updates are trained again from the "
        "checkpoint before.",
        report="A6, under the chunk: `Missing or wrong: no checkpoint … was written`; A5: the retune with this cause.",
        requirements=("S4", "T1", "M2"),
    ),
)
