"""The harness as a process of its own: for each line "FOLDER STAGE" on stdin it trains a stage of that project.

It imports everything once and runs each chunk in a fork. Of the fault it gets nothing.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from tests.attribution.project import UPDATES, open_run
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.loop.stage_controller import StageController
from tinyworlds_gate.reports.render import write_reports

REPORT, OUTPUT = "report.md", "output.txt"


def train_and_report(root: Path, stage: str) -> None:
    """Train the stage to the end, whatever happens to it, and write the reports."""
    context, inputs = open_run(root)
    try:
        StageController(context, stage, inputs).train(UPDATES)
    except GateError as error:
        print(error)
    written = write_reports(context.layout.project_root, context.layout.root)
    (root / REPORT).write_text(written["A6"].read_text(encoding="utf-8"), encoding="utf-8")


def main() -> None:
    """Answer each line of stdin with "done" once the project has its report, or its traceback in the output."""
    for line in sys.stdin:
        root, stage = Path(line.rpartition(" ")[0]), line.rpartition(" ")[2].strip()
        child = os.fork()
        if child == 0:
            _run(root, stage)
        os.waitpid(child, 0)
        print("done", flush=True)


def _run(root: Path, stage: str) -> None:
    """In the fork: write to the project's output file, and exit."""
    file = os.open(root / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    status = 1
    try:
        train_and_report(root, stage)
        status = 0
    except BaseException:  # noqa: BLE001  # the output file shows it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
