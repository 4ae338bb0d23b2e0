"""The command `tinyworlds-gate keep results/<run>`: copy a finished run's evidence into small files for a commit.

    tinyworlds-gate keep results/RUN --into docs/results/longrun --json docs/results/longrun.json

Exit status: 0 copied, whatever the run's verdict is; 2 refused, and nothing was written.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path, PurePosixPath

from tinyworlds_gate.cli.unreadable_events import reads_journals
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.keep.collect import Collected, collect
from tinyworlds_gate.keep.entry import Entry, entry_of
from tinyworlds_gate.keep.files import JOURNAL, files_to_keep, kept_attempt
from tinyworlds_gate.keep.folder import require_own_folder, write_folder
from tinyworlds_gate.keep.machine_names import machine_names, plain_without_machine
from tinyworlds_gate.keep.readme import readme_text
from tinyworlds_gate.keep.table import read_table, with_entry, write_table
from tinyworlds_gate.loop.recheck import JudgedAgain, judged_again
from tinyworlds_gate.loop.runs import why_unfinished
from tinyworlds_gate.reports.model import RunRecord, load_record
from tinyworlds_gate.run.formats import size_text
from tinyworlds_gate.run.hash_chain import require_intact
from tinyworlds_gate.run.installation import resume_command
from tinyworlds_gate.run.layout import project_of_run
from tinyworlds_gate.run.lock import live_holder

INTO, TABLE = Path("docs/results/longrun"), Path("docs/results/longrun.json")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run", type=Path, metavar="results/RUN", help="the run's folder, the one with journal.jsonl")
    parser.add_argument(
        "--into",
        type=Path,
        default=INTO,
        metavar="FOLDER",
        help="parent of <profile>-seed<seed>/ (default: %(default)s)",
    )
    parser.add_argument(
        "--json", type=Path, default=TABLE, metavar="F.json", help="the table of kept runs (default: %(default)s)"
    )
    parser.add_argument(
        "--project-root", type=Path, default=Path(), help="base of the other, relative paths (default: here)"
    )


@reads_journals
def run(args: argparse.Namespace) -> int:
    """Copy the run's evidence and print the paths.

    Raises:
        GateError: there is no such run, it cannot be kept, or a file cannot be written.
    """
    base = Path(os.path.abspath(args.project_root))
    record = keepable_run(base / args.run, shown=args.run)
    again = judge_again(record)
    names = machine_names(record.events, [record.project_root, record.project_root.resolve()])
    entry: Entry = plain_without_machine(entry_of(record, again), names)
    folder = Path(os.path.normpath(base / args.into / folder_name(record)))
    table_path = Path(os.path.normpath(base / args.json))
    require_own_folder(folder)
    table = read_table(table_path)
    collected = collect(
        record.project_root,
        files_to_keep(record),
        record.events,
        names,
        chained_from=record.journal.chained_from if record.journal is not None else None,
    )
    entry["folder"] = _relative_path(table_path.parent, folder)
    about = {key: entry[key] for key in ("run", "profile", "seed", "verdict")}
    write_folder(folder, collected, readme_text(entry, collected), about)
    write_table(table_path, with_entry(table, entry))
    print(summary(entry, collected, _display_path(folder, base), _display_path(table_path, base)))
    return 0


def keepable_run(folder: Path, *, shown: Path | None = None) -> RunRecord:
    """Load the record of a run that has ended with a verdict of the inference gate.

    Raises:
        GateError: the folder is not a run, its journal cannot be read or was changed, the run is in progress or
            unfinished, or it has no verdict of the inference gate.
    """
    folder = Path(os.path.normpath(folder))
    shown = shown or folder
    root = project_of_run(folder, shown)
    try:
        record = load_record(root, folder)
    except (OSError, UnicodeDecodeError) as error:
        raise GateError(f"The journal of {shown} cannot be read: {error}.") from error
    if record.journal is not None:
        require_intact(record.journal, shown / JOURNAL)
    holder = live_holder(root)
    if holder is not None and holder.run == folder.name:
        raise GateError(f"{shown} is still going on, in {holder.describe()}; nothing was kept. Wait until it ends.")
    if why := why_unfinished(record.events):
        kind, options = str(record.started.get("kind")), record.started.get("options")
        raise GateError(
            f"{shown} did not come to its end: {why}; nothing was kept. Go on with it: "
            f"{resume_command(kind, folder.name, options)}"
        )
    if kept_attempt(record) is None:
        raise GateError(
            f"{shown} has no verdict of the inference gate: nothing was measured, so there is nothing to keep. "
            "Keep a run whose inference took place."
        )
    folder_name(record)
    return record


def judge_again(record: RunRecord) -> JudgedAgain:
    """Judge the files of the run's verdict again; the record's verdict is INVALID if they do not confirm it.

    The verdict of an older version, which is not bound to its files, stays as it was recorded.
    """
    found = judged_again(record)
    record.disputed = found.disputed
    chained = record.journal is not None and record.journal.chained_from is not None
    if found.not_judged and chained and record.disputed is None:
        record.disputed = f"The recorded verdict cannot be judged again: {'; '.join(found.not_judged)}."
    return found


def folder_name(record: RunRecord) -> str:
    """Return `<profile>-seed<seed>`, or `<profile>-<dataset>-seed<seed>` of a run with `--dataset`.

    Raises:
        GateError: the journal has no profile and seed, or a dataset, that can name a folder.
    """
    profile, seed, dataset = record.started.get("profile"), record.started.get("seed"), record.options.get("dataset")
    parts = [profile] if dataset is None else [profile, dataset]
    if not all(isinstance(one, str) and _PLAIN_NAME.fullmatch(one) for one in parts) or not isinstance(seed, int):
        named = "" if dataset is None else f", dataset {dataset!r}"
        raise GateError(
            f"The journal of {record.folder.name} has profile {profile!r}{named} and seed {seed!r}; the folder of a "
            "kept run is named after them, so plain names and a whole number are needed."
        )
    return f"{'-'.join([str(profile), *(str(one).lower() for one in parts[1:])])}-seed{seed}"


def summary(entry: Entry, collected: Collected, folder: str, table: str) -> str:
    """Return the text to print: paths, files left out, and the verdict."""
    size = sum(len(one.file.content) for one in collected.kept)
    named = f"profile {entry['profile']}, seed {entry['seed']}"
    lines = [f"{folder}: {len(collected.kept)} files, {size_text(size)}", f"{table}: entry of {named}"]
    lines += [
        f"left out: {one.what}{f', {one.source}' if one.source else ''}: {one.reason}" for one in collected.left_out
    ]
    return "\n".join([*lines, f"{entry['verdict']}: {entry['sentence']}"])


def _display_path(path: Path, base: Path) -> str:
    return str(path.relative_to(base) if path.is_relative_to(base) else path)


def _relative_path(start: Path, folder: Path) -> str:
    """Return the path of ``folder`` relative to ``start``; only its name if they have no common parent nearby."""
    path = PurePosixPath(Path(os.path.relpath(folder, start)).as_posix())
    return path.name if path.parts[:2] == ("..", "..") else str(path)
