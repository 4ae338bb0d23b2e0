"""Compare what reports named with the plan, and write the record and the page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.attribution.catalogue import ANY, NONE
from tests.attribution.plan import Planned
from tests.attribution.reading import UNKNOWN, Named
from tests.helpers.config_files import REPOSITORY
from tinyworlds_gate.run.atomic import atomic_write

RECORD = REPOSITORY / "docs/results/attribution.json"
PAGE = REPOSITORY / "docs/attribution.md"
RIGHT, NOT_KNOWN, WRONG = "right", "unknown", "wrong"


@dataclass(frozen=True)
class Outcome:
    """One fault and what the report named."""

    fault: Planned
    named: Named
    seconds: float
    happened: bool = True

    @property
    def verdict(self) -> str:
        """``right``: cause, stage and rank; ``unknown``: nothing wrong is named; else ``wrong``."""
        if not self.happened:
            return NOT_KNOWN
        fault, named = self.fault, self.named
        blamed = fault.kind.blamed
        rank_right = blamed == ANY or named.rank == (None if blamed == NONE else fault.rank)
        rank_missing = named.rank is None and blamed not in (ANY, NONE)
        if named.cause not in (fault.kind.cause, UNKNOWN) or named.stage not in (fault.stage, None):
            return WRONG
        if not rank_right and not rank_missing:
            return WRONG
        return NOT_KNOWN if rank_missing or named.stage is None or named.cause == UNKNOWN else RIGHT

    def row(self) -> dict[str, Any]:
        """Return the record's entry."""
        fault, named = self.fault, self.named
        return {
            "kind": fault.kind.name,
            "cause": fault.kind.cause,
            "stage": fault.stage,
            "rank": fault.rank if fault.kind.blamed not in (ANY, NONE) else None,
            "moment": fault.moment,
            "named": {"cause": named.cause, "stage": named.stage, "rank": named.rank},
            "verdict": self.verdict,
            "happened": self.happened,
            "seconds": round(self.seconds, 1),
        }


def record_of(
    outcomes: Sequence[Outcome], *, device: str, seed: int, machine: str, date: str, seconds: float
) -> dict[str, Any]:
    """Return the record of one run of the command on a device."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    return {
        "device": device,
        "seed": seed,
        "machine": machine,
        "date": date,
        "seconds": round(seconds),
        "faults": len(outcomes),
        **{verdict: counts[verdict] for verdict in (RIGHT, NOT_KNOWN, WRONG)},
        "rows": [outcome.row() for outcome in outcomes],
    }


def write_record(record: Mapping[str, Any], path: Path) -> None:
    """Write a device's record into the file, beside those of other devices."""
    records = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    records[record["device"]] = record
    atomic_write(path, json.dumps(records, indent=1, ensure_ascii=False) + "\n")


def confusion(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """Return (cause of the fault, cause that the report named) → how often."""
    return dict(Counter((row["cause"], row["named"]["cause"]) for row in rows))


def page(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return docs/attribution.md."""
    return HEAD + "".join(_section(records[device]) for device in sorted(records))


HEAD = """\
# Blind attribution

Does the report name what went wrong? `python -m tests.attribution` draws faults from a catalogue by a seed and injects
each into a real chunk: torchrun, two workers, tiny models. The plan stays in the memory of the injector. The harness
runs in a process of its own and gets a project's folder and the name of a stage. Before each update a worker reports
its rank and the update to the injector's socket and waits for the answer. The injector then sends a signal, sets a
limit or damages a file from outside, or answers with code that the worker runs.

Cause, stage and rank are read from report A6 only (`tests/attribution/reading.py`) and compared with the plan:

- *right*: all three are right.
- *unknown*: the report does not name one of them, and names nothing wrong.
- *wrong*: the report names a wrong cause, stage or rank.

Required: at least 95 % right, none wrong.

```bash
python -m tests.attribution --jobs 2                                         # two gloo workers on CPUs
python -m tests.attribution --jobs 16 --stall 25 --deadline 60               # a machine with 32 cores
python -m tests.attribution --device cuda --jobs 8 --record attribution.json # two GPUs of another machine
python -m tests.attribution --merge attribution.json                         # its record, taken over
```

The command writes [results/attribution.json](results/attribution.json) and this page.

How the harness finds the rank:

- **A launch that ended by itself** (`launch/culprit.py`): torchrun's summary, and the exception of each rank from
  torch's error files. A rank that lost its peer, waited too long for it, was aborted by gloo's or NCCL's thread, or was
  closed by torchrun did not fail first. If no other rank failed, the one that is missing left with exit code 0.
- **A launch without a step** (`launch/hang.py`): the process state of each rank and the Python functions that it
  executes, read from its memory or from the stacks that it prints. The rank outside torch's collectives is named. On
  GPUs, where a waiting rank spins, the one without GPU work.
- **NaN**: when the mean loss is not finite, the ranks exchange their own losses.

Limits of these figures:

- Only the harness is blind. Who wrote the catalogue also mended the harness, on other seeds of the same kinds: the
  seed below has new stages, ranks and moments, but no new kinds. Kinds that are not in the catalogue may do worse.
- A process that is moved into another cgroup and killed by the kernel for its memory within 2 s is reported as killed
  from outside, which is wrong. So that kind waits 4 s after the move. Without the wait, one of 40 faults (seed 0) was
  wrong.
- A C function that holds the GIL is named by what it does (computes, sleeps) and where; the GIL is not named.
"""


def _section(record: Mapping[str, Any]) -> str:
    rows = record["rows"]
    where = {"cpu": "CPU workers", "cuda": "GPUs"}[record["device"]]
    share = 100.0 * record[RIGHT] / max(1, record["faults"])
    lines = [
        f"\n## {where}\n",
        f"{record['faults']} faults (seed {record['seed']}): {record[RIGHT]} right ({share:.0f} %), "
        f"{record[NOT_KNOWN]} unknown, {record[WRONG]} wrong.",
        f"Measured on {record['date']} in {record['seconds']} s: {record['machine']}.\n",
        "Cause of the fault (rows) and cause that the report named (columns):\n",
        *_confusion_table(rows),
        "\nEach fault; a dash is no rank, or any:\n",
        "| Fault | Stage | Rank | Update | Report: cause | Stage | Rank | |",
        "| --- | --- | --- | ---: | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: (row["cause"], row["kind"], row["stage"])):
        named = row["named"]
        lines.append(
            f"| {row['kind']} | {row['stage']} | {_dash(row['rank'])} | {_moment(row['moment'])} | {named['cause']} "
            f"| {_dash(named['stage'])} | {_dash(named['rank'])} | {row['verdict']} |"
        )
    return "\n".join(lines) + "\n"


def _confusion_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    counts = confusion(rows)
    causes, named = sorted({cause for cause, _ in counts}), sorted({name for _, name in counts})
    lines = [f"| | {' | '.join(named)} |", f"| --- |{' ---: |' * len(named)}"]
    return lines + [
        f"| {cause} | {' | '.join(str(counts.get((cause, name), '')) for name in named)} |" for cause in causes
    ]


def _dash(value: object) -> str:
    return "–" if value is None else str(value)


def _moment(moment: int) -> str:
    return "start" if moment < 0 else str(moment)
