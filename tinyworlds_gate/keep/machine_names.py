"""Remove the folders and host names of the machine from text (pure).

The project's folder becomes `.`, any other path of the machine `[outside]/<its last part>`, a host's name `[host]`.
Pictures embedded in a page are not changed.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reports.markdown import escape
from tinyworlds_gate.run.journal import Event, events_of

OUTSIDE, HOST = "[outside]", "[host]"
HASH_DIGITS = 12
"""Length of the host name's hash in `run_started`."""

_TOPS = frozenset(
    (
        *("Users", "app", "cluster", "content", "data", "datasets", "home", "private", "project", "projects", "root"),
        *("scratch", "shared", "srv", "storage", "tmp", "users", "var", "work", "workspace"),
        *("Volumes", "fsx", "gpfs", "lustre", "media", "mnt", "nfs", "opt"),
    )
)
"""Top folders in which people and machines keep their own things; those that a journal's paths begin with are added."""
_SYSTEM = frozenset(("bin", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "usr"))
"""The same on every machine, so they are not replaced."""
_PEOPLE = ("home", "Users", "users")
_NO_HOSTS = frozenset(("localhost", "unknown host", ""))
EMBEDDED = re.compile(r"(data:[\w/+.-]+;base64,[A-Za-z0-9+/=]+)")
"""A picture in a page."""
_TOP_FOLDER = re.compile(r"/([A-Za-z0-9][\w.+-]*)/")
_ESCAPE = re.compile(r"\\[nrt]|\[\d{1,2}m")
_GLUED = r"(?<=\\[nrt])|(?<=\[\dm)|(?<=\[\d\dm)|(?<=[\s\"',]-\w)|(?<=file://)"
"""What a path may follow though it ends in a letter or a slash: an escaped line end, a colour, `-I`, `file://`."""
_HOST_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class MachineNames:
    """Names that must not appear in a kept file."""

    roots: tuple[str, ...] = ()
    """Where the project lay, the longest first."""
    tops: frozenset[str] = _TOPS
    hosts: frozenset[str] = frozenset()
    host_hashes: frozenset[str] = frozenset()
    """Hashes of host names that the journal does not contain; a word with such a hash is replaced."""


def machine_names(events: Sequence[Event], roots: Iterable[Path | str] = ()) -> MachineNames:
    """Collect the names of a journal's machines.

    Args:
        events: the whole journal.
        roots: where the project lies now, beside the places that the journal names.
    """
    started = events_of(events, "run_started")
    places = {str(root).rstrip("/") for root in [*roots, *(event.get("project_root") or "" for event in started)]}
    values = list(_walk(events))
    tops = {found[1] for _, text in values if isinstance(text, str) and (found := _TOP_FOLDER.match(text))}
    hosts = frozenset(text for key, text in values if key == "host" and isinstance(text, str))
    hashes = {(event.get("machine") or {}).get("hostname_hash") for event in started}
    reserved = _NO_HOSTS | {*STAGES, *(key for key, _ in values)}
    return MachineNames(
        roots=tuple(sorted((one for one in places if one.startswith("/")), key=lambda one: (-len(one), one))),
        tops=(_TOPS | tops) - _SYSTEM,
        hosts=hosts - reserved,
        host_hashes=frozenset(one for one in hashes if isinstance(one, str) and len(one) == HASH_DIGITS),
    )


def without_machine(text: str, names: MachineNames) -> str:
    """Return `text` with all `names` replaced (idempotent)."""
    parts = EMBEDDED.split(text)
    hosts = names.hosts | _hashed_hosts(parts[::2], names.host_hashes)
    return "".join(part if number % 2 else _cleaned(part, names, hosts) for number, part in enumerate(parts))


def plain_without_machine(value: Any, names: MachineNames) -> Any:
    """Apply `without_machine` to every string in plain data, except keys."""
    if isinstance(value, str):
        return without_machine(value, names)
    if isinstance(value, Mapping):
        return {key: plain_without_machine(item, names) for key, item in value.items()}
    return [plain_without_machine(item, names) for item in value] if isinstance(value, list | tuple) else value


def _cleaned(text: str, names: MachineNames, hosts: frozenset[str]) -> str:
    # Each pattern is tried only where its plain text occurs: a history of tens of megabytes holds none.
    for written in (one for root in names.roots for one in _spellings(root) if one in text):
        # Not the middle of a longer path, and not a folder beside it.
        text = re.sub(rf"(?:(?<![\w.\]-])|{_GLUED}){re.escape(written)}(?![\w-]|\.\w)", ".", text)
    if tops := "|".join(re.escape(top) for top in sorted(names.tops) if f"/{top}/" in text):
        outside = re.compile(rf"(?:(?<![\w./}}\]-])|{_GLUED})/(?:{tops})/[^\s\"'`,;:()\[\]{{}}<>&|\\]+")
        text = outside.sub(lambda found: _outside(found[0]), text)
    for host in sorted((one for one in hosts if one in text), key=len, reverse=True):
        text = re.sub(rf"(?:(?<![\w-])|{_GLUED}){re.escape(host)}(?![\w-])", HOST, text)
    return text


def _outside(path: str) -> str:
    """Return the path's last part; nothing of it for a home folder, whose name is a person's."""
    parts = [part for part in path.split("/") if part]
    return OUTSIDE if len(parts) <= 2 and parts[0] in _PEOPLE else f"{OUTSIDE}/{parts[-1]}"


def _spellings(path: str) -> list[str]:
    """A path as JSON, HTML, markdown, links and plain text write it."""
    written = (json.dumps(path)[1:-1], html.escape(path), str(escape(path)), quote(path), path)
    return sorted(set(written), key=len, reverse=True)


def _hashed_hosts(texts: Iterable[str], hashes: frozenset[str]) -> frozenset[str]:
    if not hashes:
        return frozenset()
    words = {word for text in texts for word in _HOST_WORD.findall(_ESCAPE.sub(" ", text))}
    words = {word for word in words if any(one.isalpha() for one in word)}
    words |= {word.split(".")[0] for word in words}
    return frozenset(one for one in words - _NO_HOSTS if sha256(one.encode()).hexdigest()[:HASH_DIGITS] in hashes)


def _walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of plain data with its key in a mapping; an item of a list has no key."""
    yield key, value
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _walk(item, str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _walk(item)
