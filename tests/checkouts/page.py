"""Generate docs/results/checkouts.md from the record (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

from tests.checkouts.record import DEVICES, Rows

WIDTH = 120
NOT_MEASURED = "not measured"
ON = {"cpu": "CPU", "1": "one GPU", "2": "two GPUs"}
HEAD = """\
# Real checkouts

Published TinyWorlds repositories, driven by the loop as a user would drive them: `pytest validation/ -m smoke --profile
checkout-check --target-repo …`. The profile runs every mechanism of the loop and judges no model, so the best verdict
is `PASS (loop only)`. No file of a checkout is changed; what a run adds from outside is listed under "Injected".

`python -m tests.checkouts` writes [checkouts.json](checkouts.json), one row a call, and this page. Verdicts,
capabilities, H6 and times come from the journals. A sentence about whose fault a failure is names its author if the
journal does not show it.
"""


def page(rows: Rows) -> str:
    """Return the whole page."""
    parts = [HEAD, *_overview(rows), *(line for row in rows.values() for line in _section(row))]
    return "\n".join(parts) + "\n"


def _overview(rows: Rows) -> Iterator[str]:
    yield "| Checkout | Kind | CPU | One GPU | Two GPUs | H6 |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in rows.values():
        runs = row["runs"]
        h6 = (runs.get("2") or {}).get("h6") or {}
        cells = [f"{row['repository']} {row['commit'][:7]}", row.get("kind") or "unknown"]
        cells += [_short(runs.get(name)) for name in DEVICES]
        yield f"| {' | '.join([*cells, h6.get('verdict') or NOT_MEASURED])} |"
    yield ""


def _short(run: Mapping[str, Any] | None) -> str:
    return NOT_MEASURED if run is None else f"{run['verdict'] or 'no verdict'}, {run['seconds']} s"


def _section(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {row['repository']} {row['commit'][:7]}\n"
    yield _item(f"Commit: `{row['commit']}`")
    yield _item(f"Kind: {row.get('detected_by') or 'not detected'}")
    yield ""
    if row.get("capabilities"):
        yield "| What its code shows | | Where |"
        yield "| --- | --- | --- |"
        for one in row["capabilities"]:
            yield f"| `{one['name']}` | {'yes' if one['value'] else 'no'} | `{one['place']}` |"
        yield ""
    for name in DEVICES:
        if name in row["runs"]:
            yield from _run(ON[name], row["runs"][name])


def _run(where: str, run: Mapping[str, Any]) -> Iterator[str]:
    yield f"### On {where}\n" if where != "CPU" else "### On the CPU\n"
    yield _item(f"Verdict: **{run['verdict'] or 'none'}**, exit status {run['exit_status']}, after {run['seconds']} s")
    yield _item(f"{run['sentence']}")
    yield _item(f"Measured on {run['date']} with {run['machine']}, torch {run['torch']} in the checkout's interpreter")
    for sentence in run["injected"]:
        yield _item(f"Injected: {sentence}")
    h6 = run.get("h6") or {}
    yield _item(f"H6: {h6.get('verdict', NOT_MEASURED)}{': ' + h6['reason'] if h6.get('reason') else ''}")
    for name, gate in (run.get("gates") or {}).items():
        which = {"target": "The checkout's own gate", "trusted": "The trusted gate"}[name]
        if gate["sentence"].partition(": ")[2] not in run["sentence"]:
            yield _item(f"{which}: {gate['sentence']}")
    for cause in run["failed"]:
        after = f" ({', '.join(cause['followed_by'])} follow)" if cause["followed_by"] else ""
        yield _item(f"Failed: {cause['id']}{after}: {cause['reason']}")
    if run["exit_status"] != 0:
        yield _item(f"Whose fault: {_fault(run['fault'])}")
    for one in run.get("earlier", []):
        different = [sentence for sentence in one["injected"] if sentence not in run["injected"]]
        missing = [sentence for sentence in run["injected"] if sentence not in one["injected"]]
        changed = [*(f"without: {text}" for text in missing), *(f"with: {text}" for text in different)]
        yield _item(f"Before, {'; '.join(changed)}: {one['sentence']} Whose fault: {_fault(one['fault'])}")
    yield ""
    if run["stages"]:
        yield "| Stage | Updates | Updates/s | Final loss | Chunks (counted) | Seconds |"
        yield "| --- | --- | --- | --- | --- | --- |"
        for stage in run["stages"]:
            numbers = [_number(stage["updates_per_s"]), _number(stage["final_loss"])]
            cells = [stage["stage"], str(stage["updates"]), *numbers, f"{stage['chunks']} ({stage['counted']})"]
            yield f"| {' | '.join([*cells, str(stage['seconds'])])} |"
        yield ""


def _fault(fault: Mapping[str, str]) -> str:
    said = f": {fault['sentence']}" if fault["sentence"] else ""
    return f"{fault['whose']}{said}{f' (by {by})' if (by := fault['by']) else ''}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _item(text: str) -> str:
    one_line = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return fill(f"- {one_line}", WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
