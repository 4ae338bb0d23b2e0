"""Read a run's files, shrink them, and record the reason for each file that is left out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from tinyworlds_gate.keep.files import JOURNAL, SourceFile
from tinyworlds_gate.keep.machine_names import MachineNames, without_machine
from tinyworlds_gate.keep.shrink import MAX_READ_BYTES, PICTURE_SUFFIXES, ShrunkFile, shrink_file
from tinyworlds_gate.run.formats import size_text
from tinyworlds_gate.run.hash_chain import chained_lines
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.run.owned import read_owned
from tinyworlds_gate.run.redact import redact_tree


@dataclass(frozen=True)
class KeptFile:
    """A file as stored in the folder, and its path in the project."""

    file: ShrunkFile
    what: str
    source: str

    @property
    def sha256(self) -> str:
        """SHA-256 of the stored content."""
        return sha256(self.file.content).hexdigest()


@dataclass(frozen=True)
class LeftOut:
    """A file that is not in the folder. ``size``: bytes in the project, None where the file is absent."""

    what: str
    source: str | None
    size: int | None
    reason: str


@dataclass
class Collected:
    """All files of a run, stored or left out."""

    kept: list[KeptFile] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def collect(
    root: Path,
    files: Iterable[SourceFile],
    events: list[Event],
    names: MachineNames,
    *,
    chained_from: int | None = None,
) -> Collected:
    """Read the files below ``root``, pictures first, since a large page links to them.

    The journal is written from ``events``, without a torn last line, and chained anew, since its text changes.
    """
    journal = _journal_text(events, names, chained_from)
    collected = Collected()
    pictures: dict[str, str] = {}
    taken: set[str] = set()
    numbered = sorted(enumerate(files), key=lambda one: (not one[1].name.endswith(PICTURE_SUFFIXES), one[0]))
    found: dict[int, KeptFile] = {}
    for number, one in numbered:
        outcome = _read(root, one, journal, names, pictures, taken)
        if isinstance(outcome, LeftOut):
            collected.left_out.append(outcome)
            continue
        found[number] = outcome
        taken.add(one.name)
        if one.name.endswith(PICTURE_SUFFIXES):
            pictures[outcome.sha256] = outcome.file.name
    collected.kept = [found[number] for number in sorted(found)]
    return collected


def _read(
    root: Path, one: SourceFile, journal: bytes, names: MachineNames, pictures: dict[str, str], taken: set[str]
) -> KeptFile | LeftOut:
    source = None if one.source is None else without_machine(one.source, names)
    if one.source is None or source is None:
        return LeftOut(one.what, None, None, "the run left none")
    path = Path(os.path.normpath(root / one.source))
    if not path.is_relative_to(root):
        return LeftOut(one.what, source, None, "it lies outside the project")
    if one.name in taken:
        return LeftOut(one.what, source, None, f"another file of this run is kept as {one.name}")
    try:
        size = path.stat().st_size
        if size > MAX_READ_BYTES:
            return LeftOut(one.what, source, size, f"it has {size_text(size)}, too much even when compressed")
        content = journal if one.name == JOURNAL else read_owned(root, one.source, MAX_READ_BYTES)
    except OSError as error:
        return LeftOut(one.what, source, None, f"it cannot be read: {error.strerror}")
    found = shrink_file(one.name, content, names, pictures)
    if isinstance(found, str):
        return LeftOut(one.what, source, size, found)
    return KeptFile(found, one.what, source)


def _journal_text(events: list[Event], names: MachineNames, chained_from: int | None) -> bytes:
    text = "\n".join(json.dumps(redact_tree(event), ensure_ascii=False) for event in events)
    bodies = without_machine(text.encode("utf-8", "backslashreplace").decode("utf-8"), names).encode("utf-8")
    return chained_lines(bodies.split(b"\n"), chained_from)[0]
