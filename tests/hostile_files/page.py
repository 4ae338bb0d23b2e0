"""The record of the run (docs/results/hostile_files.json) as docs/hostile-inputs.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.hostile_files.run_cases import FAILURES, SECONDS

_DOCS = Path(__file__).resolve().parents[2] / "docs"
RECORD, PAGE = _DOCS / "results" / "hostile_files.json", _DOCS / "hostile-inputs.md"

TEXT = """\
# Hostile inputs

Checkpoints and HDF5 files may come from anybody. The harness reads or refuses each of them: with one sentence, without
running their code, within limits of time and memory.

    python -m tests.hostile_files       # every input, in minutes; writes this page
    pytest tests/hostile_files          # a sample, in seconds

Each input is made by code from a fixed seed and read in a child with {seconds} s of CPU time and 2 GiB of address
space. A failure is a traceback, a hang, a crash, more than 700 MiB of added memory, code of the file that ran, a file
that must be refused and is not, or a sentence of more than 1,500 characters.

## Checkpoints

Nothing is loaded before it was checked (`tinyworlds_gate/checkpoints/`):

| part | what is allowed |
| --- | --- |
| kind of file | regular files, no larger than the memory; of a file above 1 GiB at least 1/16 was written |
| zip directory | at its end, once; records uncompressed and without overlap; up to 100,000 records |
| pickle | up to 256 MiB, 1,000,000 operations, 64 levels, 4,000,000 objects with shared ones counted each time |
| numbers | up to 256 bits; up to 4,096 keys that are objects or longer than 64 bits |
| names | weights and optimizers: what torch.save needs for tensors; `state.pt`: classes, which become plain data |
| tensors | elements inside their record; repeated elements up to 64 MiB, or four times the bytes of all records |
| `manifest.json` | UTF-8, up to 4 MiB, numbers of up to 19 digits |
| sizes in a config | 1 to 1,048,576; up to 65,536 patches a frame |

## HDF5 files

A child process with limits examines each file first, because damaged files can crash the HDF5 library or keep it busy
for ever (`tinyworlds_gate/reference/data/hdf5_input.py`). Values are read only if all of them are in the file itself:
virtual datasets, external storage, links to other files, chunks that were never written and chunks of another size
are refused.

## Figures
"""


def page(record: Path = RECORD) -> str:
    """Return the text of the page."""
    data: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    lines = [
        TEXT.format(seconds=SECONDS),
        f"Measured on {data['date']} in {data['seconds']} s with {data.get('jobs', 1)} processes on two busy cores.",
        "",
        f"| | {' | '.join(data['outcomes'])} |",
        "| --- |" + " ---: |" * len(data["outcomes"]),
    ]
    rows = {"inputs": "inputs", "accepted": "accepted", "refused": "refused", "slowest, seconds": "slowest_s"}
    for label, key in rows.items():
        lines.append(f"| {label} | {' | '.join(str(one[key]) for one in data['outcomes'].values())} |")
    for failure in FAILURES:
        counts = (str(one["failures"][failure]) for one in data["outcomes"].values())
        lines.append(f"| failures: {failure} | {' | '.join(counts)} |")
    for name, one in data["outcomes"].items():
        lines += ["", f"| {name} | Number |", "| --- | ---: |"]
        lines += [f"| {kind} | {number} |" for kind, number in one["kinds"].items()]
    return "\n".join(lines) + "\n"
