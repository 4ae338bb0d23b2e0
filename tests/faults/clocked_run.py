"""A stage of a fake project under a harness of its own process, while the clock of both is set.

python -m tests.faults.clocked_run ROOT SECONDS    (with the environment of tests.helpers.stepped_clock)
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faults.runs import begin_journal, reports_of
from tests.helpers.fake_stages import PROGRAM, fake_project
from tinyworlds_gate.loop.stage_controller import StageController

STAGE = "video_tokenizer"

SETS_THE_CLOCK = r"""
import os, pathlib, struct
from tinyworlds_gate.reference.training.history import HistoryFile as Rows

here = pathlib.Path(__file__).resolve().parent
write_row = Rows.write

def write_row_and_set_clock(self, update, metrics):
    write_row(self, update, metrics)
    if update == 5:  # in the middle of the second chunk
        with open(os.environ["CLOCK_STEP_FILE"], "r+b") as step:
            step.write(struct.pack("l", int((here / "seconds").read_text())))

Rows.write = write_row_and_set_clock
"""


def main() -> None:
    """Train two chunks to the end and write the reports."""
    root, seconds = Path(sys.argv[1]), sys.argv[2]
    project = fake_project(root, STAGE)
    (project.scripts / f"train_{STAGE}.py").write_text(SETS_THE_CLOCK + PROGRAM)
    (project.scripts / "seconds").write_text(seconds)
    begin_journal(project.context)
    result = StageController(project.context, STAGE, {}).train(8)
    reports_of(project.context.layout)
    print(result.verdict, result.reason)


if __name__ == "__main__":
    main()
