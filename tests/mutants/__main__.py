"""Run the tests against a seeded sample of mutants: python -m tests.mutants [--only PACKAGE] [--jobs N]

Exit status 0: at least the target share was killed, and every entry of the list of equivalent mutants fits the code.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.equivalent import read_list, stale
from tests.mutants.packages import PACKAGES
from tests.mutants.record import RECORD, killed_share
from tests.mutants.run import Options, Run
from tests.mutants.trees import namespace

REPOSITORY = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", action="append", choices=sorted(PACKAGES), help="a package; may be repeated")
    parser.add_argument("--sample", type=int, default=40, help="mutants a package (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time (default: %(default)s)")
    parser.add_argument(
        "--judge-seconds", type=float, default=60.0, help="of tests for one mutant (default: %(default)s)"
    )
    parser.add_argument("--deadline", type=float, default=86400.0, help="seconds; then the rest is not run")
    parser.add_argument("--at-least", type=float, default=0.95, help="target share of killed (default: %(default)s)")
    parser.add_argument("--record", type=Path, default=RECORD, help="the record (default: docs/results/mutants.json)")
    parser.add_argument("--resume", action="store_true", help="do not judge again what the record has as killed")
    chosen = parser.parse_args(arguments)

    equivalent = read_list()
    wrong = stale(equivalent, REPOSITORY)
    for entry in wrong:
        print(f"equivalent.yaml: no mutant of {entry.module} is {entry.before!r} → {entry.after!r}; remove the entry")
    with tempfile.TemporaryDirectory(prefix="mutants-") as work:
        run = Run(
            Options(
                root=REPOSITORY,
                work=Path(work),
                record=chosen.record,
                packages=chosen.only or sorted(PACKAGES),
                seed=chosen.seed,
                sample=chosen.sample,
                jobs=chosen.jobs,
                space=namespace(),
                judge_s=chosen.judge_seconds,
                deadline_s=chosen.deadline,
                resume=chosen.resume,
                equivalent=equivalent,
            )
        )
        run.prepare()
        records = run.judge(run.draw())
    enough = True
    for name, record in records.items():
        counts = record.counts()
        share = killed_share(counts)
        enough = enough and share is not None and share >= chosen.at_least
        print(f"{name}: {'none' if share is None else f'{share:.1%}'} killed of those judged; {counts}")
    return 0 if enough and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
