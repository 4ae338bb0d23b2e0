"""Reads the stream of one `git log --raw --patch` into plain records of commits.

The stream is bytes: a path or a line in any encoding is kept, and shown with replacement characters. Every commit opens
with a line that starts with NUL, which no line of a diff can: those start with a space, a sign or a header's word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tinyworlds_gate.evidence.git_audit.settings import SettingChanges

LOG_FORMAT = "%x00%H%x00%ct%x00%P%x00%s"
"""One header line a commit: hash, committer time (Unix seconds), parents, subject."""

LOG_CONFIG = ("core.quotePath=false", "log.showRoot=true", "core.attributesFile=", "protocol.allow=never")
"""No attributes of the user's own, and nothing fetched (a partial clone would ask its server commit by commit)."""

LOG_OPTIONS = (
    f"--format=tformat:{LOG_FORMAT}",
    "--raw",
    "--patch",
    "--find-renames",
    "-l1000",
    "-O/dev/null",
    "--diff-merges=dense-combined",
    "--unified=3",
    "--inter-hunk-context=0",
    "--diff-algorithm=myers",
    "--indent-heuristic",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--submodule=short",
    "--ignore-submodules=none",
    "--encoding=UTF-8",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-show-signature",
    "--no-mailmap",
    "--no-relative",
)
"""Whatever a user's git configuration could change about a diff is set here, so the audit is the same everywhere."""

_HUNK = re.compile(rb"^(@@+) ((?:-\d+(?:,\d+)? )+)\+\d+(?:,(\d+))? @@+")
_ESCAPES = {ord("t"): 9, ord("n"): 10, ord("r"): 13, ord("a"): 7, ord("b"): 8, ord("f"): 12, ord("v"): 11}


@dataclass(frozen=True)
class ChangedFile:
    """One file that a commit touches; `old_path` only where it was renamed or copied."""

    path: str
    status: str
    old_path: str | None = None


@dataclass
class CommitDiff:
    """What the audit needs of one commit; the diff itself is not kept."""

    sha: str
    committed_at: int
    parents: int
    subject: str
    settings: SettingChanges
    files: list[ChangedFile] = field(default_factory=list)
    word_in_changed_lines: bool = False
    word_in_diff: bool = False
    binary: list[str] = field(default_factory=list)
    """Files whose content git does not show."""


def unquote_path(raw: bytes) -> str:
    """Undo git's C-style quoting of an odd path; undecodable bytes become replacement characters."""
    if not (len(raw) >= 2 and raw.startswith(b'"') and raw.endswith(b'"')):
        return raw.decode("utf-8", "replace")
    out, body, i = bytearray(), raw[1:-1], 0
    while i < len(body):
        if body[i] != ord("\\"):
            out.append(body[i])
            i += 1
        elif body[i + 1 : i + 4].isdigit():
            out.append(int(body[i + 1 : i + 4], 8) & 0xFF)
            i += 4
        else:
            code = body[i + 1] if i + 1 < len(body) else ord("\\")
            out.append(_ESCAPES.get(code, code))
            i += 2
    return bytes(out).decode("utf-8", "replace")


def read_raw_line(line: bytes) -> ChangedFile:
    """`:100644 100644 a b R087\\told\\tnew` (or `::…` of a merge) → the file it names."""
    meta, *paths = line.split(b"\t")
    status = meta.rsplit(b" ", 1)[-1].decode("ascii", "replace")
    names = [unquote_path(path) for path in paths]
    if len(names) == 2 and status[:1] in "RC":
        return ChangedFile(names[1], status, names[0])
    return ChangedFile(names[-1] if names else "", status)


def path_of_header(line: bytes) -> str:
    """`diff --git a/x b/x` or `diff --cc x` → `x`; of a renamed file the line `rename to` names it, not this one."""
    kind, rest = line.removeprefix(b"diff --").split(b" ", 1)
    if kind != b"git":
        return unquote_path(rest)
    return unquote_path(rest[len(rest) // 2 + 1 :]).removeprefix("b/")  # both halves are alike


class _Hunk:
    """Counts a hunk's lines down, so that a removed line `-- x` (shown as `--- x`) is never taken for a header."""

    def __init__(self, header: re.Match[bytes]) -> None:
        self.columns = len(header[1]) - 1
        old = header[2].split()
        self.old = [int(part.split(b",")[1]) if b"," in part else 1 for part in old]
        self.new = int(header[3]) if header[3] is not None else 1

    def is_open(self) -> bool:
        return self.new > 0 or any(count > 0 for count in self.old)

    def take(self, line: bytes) -> bytes:
        """Count one line; returns its signs, one for each parent."""
        marks = line[: self.columns] or b" " * self.columns  # an empty context line may lose its space
        removed = b"-" in marks
        self.new -= 0 if removed else 1
        kept = b"-" if removed else b" "
        for i in range(self.columns):
            if marks[i : i + 1] == kept:
                self.old[i] -= 1
        return marks


def read_commits(lines: Iterable[bytes], word: bytes, watched_keys: frozenset[str]) -> Iterator[CommitDiff]:
    """Yield each commit of a log when the next one begins, in one pass.

    ``word`` is searched for, case-sensitive; changes of the YAML keys ``watched_keys`` are kept.
    """
    commit: CommitDiff | None = None
    in_diff, hunk, path = False, None, ""
    for raw in lines:
        line = raw.removesuffix(b"\n")
        if commit is not None and hunk is not None and hunk.is_open() and not line.startswith((b"\\", b"\0")):
            _take_hunk_line(commit, hunk, line, path, word)
            continue
        if line.startswith(b"\0"):
            if commit is not None:
                yield commit
            commit, in_diff, hunk, path = _open_commit(line, watched_keys), False, None, ""
            continue
        if commit is None:
            continue
        if not in_diff and line.startswith(b":"):
            commit.files.append(read_raw_line(line))
            continue
        if line.startswith((b"diff --git ", b"diff --cc ", b"diff --combined ")):
            in_diff, hunk, path = True, None, path_of_header(line)
        if not in_diff:
            continue
        commit.word_in_diff |= word in line
        if header := _HUNK.match(line):
            hunk = _Hunk(header)
        elif line.startswith((b"rename to ", b"copy to ")):
            path = unquote_path(line.split(b" to ", 1)[1])
        elif line.startswith(b"Binary files "):
            commit.binary.append(path)
    if commit is not None:
        yield commit


def _take_hunk_line(commit: CommitDiff, hunk: _Hunk, line: bytes, path: str, word: bytes) -> None:
    marks = hunk.take(line)
    if word in line:
        commit.word_in_diff = True
        commit.word_in_changed_lines |= marks in (b"+" * hunk.columns, b"-" * hunk.columns)
    if marks.strip():
        commit.settings.take(path, marks, line[hunk.columns :])


def _open_commit(line: bytes, watched_keys: frozenset[str]) -> CommitDiff:
    _, sha, when, parents, subject = line.split(b"\0", 4)
    return CommitDiff(
        sha.decode(), int(when), len(parents.split()), subject.decode("utf-8", "replace"), SettingChanges(watched_keys)
    )
