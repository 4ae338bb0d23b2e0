"""`tinyworlds-gate runs --pack results/RUN FILE.zip` and `--unpack FILE.zip`: carry a run to another machine."""

from __future__ import annotations

import os
from pathlib import Path

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.keep.packed_run import pack_run, unpack_run
from tinyworlds_gate.loop.runs import why_unfinished
from tinyworlds_gate.reports.markdown import clean
from tinyworlds_gate.run.formats import size_text
from tinyworlds_gate.run.hash_chain import require_intact
from tinyworlds_gate.run.installation import resume_command
from tinyworlds_gate.run.journal import Event, inspect_journal, last_event
from tinyworlds_gate.run.layout import RunLayout, project_of_run
from tinyworlds_gate.run.lock import live_holder
from tinyworlds_gate.run.timestamps import is_plain_stamp


def pack(base: Path, run: Path, file: Path) -> str:
    """Write a run into a new file and return what to print. ``run`` may be relative to ``base``.

    Raises:
        GateError: there is no such run, it is in progress, its journal was changed, or the file exists or cannot be
            written.
    """
    folder = Path(os.path.normpath(base / run))
    layout = RunLayout(project_of_run(folder, run), folder.name)
    holder = live_holder(layout.project_root)
    if holder is not None and holder.run == layout.run:
        raise GateError(f"{run} is still going on, in {holder.describe()}; nothing was packed. Wait until it ends.")
    try:
        journal = inspect_journal(layout.journal)
        require_intact(journal, layout.journal)
        text = layout.journal.read_text(encoding="utf-8", errors="replace")
        found = journal.events[0].get("timestamp") if journal.events else None
        stamp = str(found) if is_plain_stamp(found) else layout.run
        packed = pack_run(layout, file, stamp, text)
    except OSError as error:
        raise GateError(
            f"{run} cannot be packed into {file}: {_reason(error)}. Free the disk, make both readable and writable, "
            "and try again; no file was left."
        ) from error
    size = size_text(file.stat().st_size)
    return (
        f"{file}: {len(packed.files)} files, {size_text(packed.size)} of {packed.run}, {size} packed. "
        f"{_frames(journal.events)}\nOn the other machine: tinyworlds-gate runs --unpack {file.name}"
    )


def unpack(root: Path, file: Path) -> str:
    """Restore a packed run in the project ``root`` and return what to print.

    Raises:
        GateError: as for `unpack_run`, or something cannot be read or written.
    """
    if not root.is_dir():
        raise GateError(f"--project-root {root} is no folder. Name the project that the run shall go to.")
    try:
        packed = unpack_run(file, root)
        events = inspect_journal(RunLayout(root, packed.run).journal).events
    except OSError as error:
        raise GateError(
            f"{file} cannot be unpacked in {root}: {_reason(error)}. Name a readable file, and free the disk or make "
            "the folder writable; the run's folder was not made."
        ) from error
    done = f"results/{packed.run}: {len(packed.files)} files, {size_text(packed.size)}. {_frames(events)}"
    try:
        why = why_unfinished(events)
    except (AttributeError, KeyError, TypeError, ValueError):
        return f"{done}\nIts journal holds events that this version cannot read, so it cannot be resumed here."
    if why:
        started = events[0] if events else {"kind": "smoke"}
        go_on = clean(resume_command(str(started["kind"]), packed.run, started.get("options")))
        return f"{done}\nUnfinished: {why}. Go on: {go_on}"
    return done


def _frames(events: list[Event]) -> str:
    """Which frames a resumed run needs, since they are not packed."""
    data = last_event(events, "dataset_ready") or {}
    if not isinstance(data.get("path"), str):
        return "It has no training frames yet."
    path, digest = clean(data["path"]), clean(str(data.get("sha256"))[:12])
    return f"The training frames stay out: {path}, SHA-256 {digest}… (CRAFTER is generated again by itself)."


def _reason(error: OSError) -> str:
    text = error.strerror or str(error)
    return f"{error.filename}: {text}" if error.filename else text
