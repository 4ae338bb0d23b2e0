"""The command `tinyworlds-gate keep results/<run>`: a finished run's evidence as small files that can be committed.

    tinyworlds-gate keep results/RUN --into docs/results/longrun --json docs/results/longrun.json

Exit status: 0 it is kept, whatever its verdict is; 2 it is refused, and nothing is written.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path, PurePosixPath

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.keep.collect import Collected, collect
from tinyworlds_gate.keep.entry import Entry, entry_of
from tinyworlds_gate.keep.files import kept_attempt, wanted_files
from tinyworlds_gate.keep.folder import require_ours, write_folder
from tinyworlds_gate.keep.machine_names import machine_names, plain_without_machine
from tinyworlds_gate.keep.readme import readme_text
from tinyworlds_gate.keep.shrink import size_told
from tinyworlds_gate.keep.table import read_table, with_entry, write_table
from tinyworlds_gate.loop.runs import why_unfinished
from tinyworlds_gate.reports.model import RunRecord, load_record
from tinyworlds_gate.run.lock import live_holder

INTO, TABLE = Path("docs/results/longrun"), Path("docs/results/longrun.json")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", type=Path, metavar="results/RUN", help="the run's folder, the one with journal.jsonl")
    parser.add_argument(
        "--into", type=Path, default=INTO, metavar="FOLDER", help="gets <profile>-seed<seed>/ (default: %(default)s)"
    )
    parser.add_argument(
        "--json", type=Path, default=TABLE, metavar="F.json", help="the table of kept runs (default: %(default)s)"
    )
    parser.add_argument(
        "--project-root", type=Path, default=Path(), help="where the other paths start from (default: here)"
    )


def run(args: argparse.Namespace) -> int:
    """Keep the run and say what is where.

    Raises:
        GateError: no such run, none that can be kept, or a place that cannot be written.
    """
    base = Path(os.path.abspath(args.project_root))
    record = keepable_run(base / args.run, shown=args.run)
    names = machine_names(record.events, [record.project_root, record.project_root.resolve()])
    entry: Entry = plain_without_machine(entry_of(record), names)
    folder = Path(os.path.normpath(base / args.into / folder_name(record)))
    table_path = Path(os.path.normpath(base / args.json))
    require_ours(folder)
    table = read_table(table_path)
    collected = collect(record.project_root, wanted_files(record), record.events, names)
    entry["folder"] = _from(table_path.parent, folder)
    about = {key: entry[key] for key in ("run", "profile", "seed", "verdict")}
    write_folder(folder, collected, readme_text(entry, collected), about)
    write_table(table_path, with_entry(table, entry))
    print(told(entry, collected, _shown(folder, base), _shown(table_path, base)))
    return 0


def keepable_run(folder: Path, *, shown: Path | None = None) -> RunRecord:
    """The record of a run that came to its end and was judged.

    Raises:
        GateError: the folder is no run, its journal cannot be read, the run goes on or is unfinished, or nothing was
            measured.
    """
    folder = Path(os.path.normpath(folder))
    shown = shown or folder
    if folder.parent.name != "results" or not folder.is_dir():
        raise GateError(
            f"{shown} is not a run's folder: expected <project>/results/<run> with a journal.jsonl in it. "
            "List the runs with `tinyworlds-gate runs`."
        )
    root = folder.parent.parent
    try:
        record = load_record(root, folder)
    except (OSError, UnicodeDecodeError) as error:
        raise GateError(f"The journal of {shown} cannot be read: {error}.") from error
    holder = live_holder(root)
    if holder is not None and holder.run == folder.name:
        raise GateError(f"{shown} is still going on, in {holder.told()}; nothing was kept. Wait until it ends.")
    if why := why_unfinished(record.events):
        kind = record.started.get("kind")
        raise GateError(
            f"{shown} did not come to its end: {why}; nothing was kept. Go on with it: "
            f"pytest -m {kind} --resume-run results/{folder.name}"
        )
    if kept_attempt(record) is None:
        raise GateError(
            f"{shown} has no verdict of the inference gate: nothing was measured, so there is nothing to keep. "
            "Keep a run whose inference took place."
        )
    folder_name(record)
    return record


def folder_name(record: RunRecord) -> str:
    """`<profile>-seed<seed>`.

    Raises:
        GateError: the journal does not say both in a form that can name a folder.
    """
    profile, seed = record.started.get("profile"), record.started.get("seed")
    if not isinstance(profile, str) or not _PLAIN_NAME.fullmatch(profile) or not isinstance(seed, int):
        raise GateError(
            f"The journal of {record.folder.name} says profile {profile!r} and seed {seed!r}; a kept run is filed "
            "under both, so a plain name and a whole number are needed."
        )
    return f"{profile}-seed{seed}"


def told(entry: Entry, collected: Collected, folder: str, table: str) -> str:
    """What the command prints: where everything is, what is left out, and the verdict."""
    size = sum(len(one.file.content) for one in collected.kept)
    lines = [f"{folder}: {len(collected.kept)} files, {size_told(size)}", f"{table}: entry of {_named(entry)}"]
    lines += [
        f"left out: {one.what}{f', {one.source}' if one.source else ''}: {one.reason}" for one in collected.left_out
    ]
    return "\n".join([*lines, f"{entry['verdict']}: {entry['sentence']}"])


def _named(entry: Entry) -> str:
    return f"profile {entry['profile']}, seed {entry['seed']}"


def _shown(path: Path, base: Path) -> str:
    return str(path.relative_to(base) if path.is_relative_to(base) else path)


def _from(start: Path, folder: Path) -> str:
    """A path that still leads there once both are committed; only the name where they do not lie together."""
    way = PurePosixPath(Path(os.path.relpath(folder, start)).as_posix())
    return way.name if way.parts[:2] == ("..", "..") else str(way)
