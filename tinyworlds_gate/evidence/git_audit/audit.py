"""Audits a project's git history for one year: which commits changed the ZELDA training and inference path (L4, A2).

A fixed number of git processes whatever the number of commits: one lists every commit with its date, one streams the
year's diffs, and a few small ones locate the repository (`run/git.py`).
`tinyworlds-gate audit REPO --year 2025 --mode strict --json` runs it alone; docs/git-audit.md has the rules.
"""

from __future__ import annotations

import calendar
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tinyworlds_gate.evidence.git_audit import sentences
from tinyworlds_gate.evidence.git_audit.log import LOG_CONFIG, LOG_OPTIONS, CommitDiff, read_commits
from tinyworlds_gate.evidence.git_audit.paths import MODES, WATCHED_KEYS, has_relevant_file, is_relevant
from tinyworlds_gate.evidence.git_audit.result import GitEvidence, KeyChange, SelectedCommit
from tinyworlds_gate.run.git import GitError, NoGit, NoRepository, Repository

REPLACEMENT = "\ufffd"
"""Stands for bytes that are not UTF-8."""


def audit(repo_path: Path | str, year: int, mode: str = "strict") -> GitEvidence:
    """Read the history reachable from HEAD and select the commits of `year` that are evidence (L4).

    Args:
        repo_path: the project's folder; relevant paths are relative to it, also inside a larger repository.
        year: committer date, UTC.
        mode: one of `MODES`.

    Returns:
        The evidence. INVALID with its reason where there is no repository, no commit, or where git refuses to read;
        NOT-RUN where there is no history and no file on an audited path either, as in an empty folder.

    Raises:
        ValueError: `mode` is none of `MODES`.
    """
    if mode not in MODES:
        raise ValueError(f"audit mode {mode!r} is unknown; allowed: {', '.join(MODES)}")
    path = Path(repo_path)
    if not path.is_dir():
        reason = f"The folder {path} does not exist, so there is no history to audit."
        return GitEvidence("INVALID", reason, year, mode)
    partial = False
    try:
        with Repository(path) as repo:
            partial = repo.is_partial()
            return _audit(repo, path, year, mode)
    except NoGit:
        if any((folder / ".git").exists() for folder in (path.absolute(), *path.absolute().parents)):
            return GitEvidence("INVALID", sentences.NO_GIT, year, mode)
        return _no_history(path, sentences.NO_GIT, year, mode)
    except NoRepository:
        reason = f"{path.resolve().name or path} is not in a git repository, so there is no history to audit."
        return _no_history(path, reason, year, mode)
    except GitError as error:
        return GitEvidence("INVALID", sentences.refusal(str(error), is_partial=partial), year, mode)


def _no_history(project: Path, reason: str, year: int, mode: str, head: str | None = None) -> GitEvidence:
    if has_relevant_file(project):
        return GitEvidence("INVALID", reason, year, mode, head)
    return GitEvidence("NOT-RUN", f"{reason} {sentences.NOTHING_TO_AUDIT}", year, mode, head)


@dataclass
class _Year:
    """What is gathered while the year's commits stream past."""

    selected: list[SelectedCommit] = field(default_factory=list)
    changes: list[KeyChange] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    hidden_files: list[tuple[str, str]] = field(default_factory=list)
    """(path, hash) of relevant files that are binary to git."""


def _audit(repo: Repository, project: Path, year: int, mode: str) -> GitEvidence:
    head = repo.head()
    if head is None:
        return _no_history(project, sentences.NO_COMMIT, year, mode)
    folder, notes = _folder_in_repository(repo, project)
    if folder and not repo.read("ls-tree", "--name-only", "--full-tree", head, folder):
        return _no_history(project, sentences.untracked(folder), year, mode, head)
    first = calendar.timegm((year, 1, 1, 0, 0, 0))
    end = first + (366 if calendar.isleap(year) else 365) * 86_400
    dates = _dates(repo, head)
    hashes = [sha for sha, when in dates.items() if first <= when < end]
    cut = repo.shallow_commits()
    hidden = sorted(sha for sha in cut & dates.keys() if dates[sha] >= first)
    found = _Year()
    for commit in _stream(repo, hashes):
        _take(commit, found, mode, folder, is_cut=commit.sha in cut)
    touched = Counter(name for commit in found.selected for name in commit.files)
    shallow = sentences.shallow_note(cut, hidden, year)
    return GitEvidence(
        verdict="INVALID" if hidden else "PASS",
        reason=sentences.result(year, mode, len(hashes), len(found.selected), touched.total(), cut=bool(hidden)),
        year=year,
        mode=mode,
        head=head,
        commits_in_year=len(hashes),
        merges_in_year=found.counts["merges"],
        selected=tuple(found.selected),
        file_touches=touched.total(),
        relevant_file_touches=sum(len(commit.relevant_files) for commit in found.selected),
        files=dict(sorted(touched.items())),
        key_changes=tuple(sorted(reversed(found.changes), key=lambda one: (one.key, one.file, one.date))),
        notes=(*notes, *sentences.notes(found.counts, found.hidden_files), *shallow),
    )


def _folder_in_repository(repo: Repository, project: Path) -> tuple[str, list[str]]:
    """Where the project lies in its repository, `game/` or empty, and a sentence when that is not its root."""
    if repo.top is None:
        return "", ["The repository is bare."]
    inside, root = project.resolve(), repo.top.resolve()
    if inside == root or not inside.is_relative_to(root) or inside.is_relative_to(repo.git_dir.resolve()):
        return "", []
    folder = inside.relative_to(root).as_posix() + "/"
    return folder, [f"The project is the folder {folder} of a larger repository; relevant paths are taken inside it."]


def _take(commit: CommitDiff, found: _Year, mode: str, folder: str, *, is_cut: bool) -> None:
    """Count one commit of the year, and keep it when the mode selects it."""
    found.counts["merges"] += commit.parents > 1
    if is_cut:
        return  # the parent is missing: git shows the whole tree as added, which is not this commit's diff
    date = _utc(commit.committed_at)
    relevant = [file.path for file in commit.files if is_relevant((file.path, file.old_path), mode, folder)]
    changes = [
        KeyChange(key, file, old, new, commit.sha, date)
        for file, key, (old, new) in commit.settings.changes()
        if file.startswith(folder)
    ]
    found.changes.extend(reversed(changes))  # the whole list is turned round at the end
    found.counts["renames"] += sum(file.old_path is not None for file in commit.files)
    found.counts["binary"] += len(commit.binary)
    found.hidden_files += [(name, commit.sha) for name in commit.binary if name in relevant]
    shown = [commit.subject, *(file.path for file in commit.files), *(str(one) for one in changes)]
    found.counts["odd"] += any(REPLACEMENT in text for text in shown)
    if relevant and (commit.word_in_changed_lines if mode == "strict" else commit.word_in_diff):
        every = tuple(dict.fromkeys(file.path for file in commit.files))
        renamed = {file.path: file.old_path for file in commit.files if file.old_path is not None}
        found.selected.append(SelectedCommit(commit.sha, date, commit.subject, every, tuple(relevant), renamed))


def _dates(repo: Repository, head: str) -> dict[str, int]:
    """Every reachable commit's committer time in Unix seconds, newest first.

    Not `--since`: that stops walking at a commit with a skewed clock.
    """
    pairs = (line.split() for line in repo.read("rev-list", head, "--timestamp").splitlines())
    return {sha: int(when) for when, sha in pairs}


def _stream(repo: Repository, hashes: list[str]) -> Iterator[CommitDiff]:
    """The diffs of `hashes` from one git process, read as they come.

    Raises:
        GitError: git stopped with an error (a missing object, for one).
    """
    if not hashes:
        return
    with tempfile.TemporaryFile() as wanted:
        wanted.write("".join(f"{sha}\n" for sha in hashes).encode())
        wanted.seek(0)
        settings = (word for one in LOG_CONFIG for word in ("-c", one))
        with repo.stream(*settings, "log", "--no-walk=unsorted", "--stdin", *LOG_OPTIONS, stdin=wanted) as output:
            yield from read_commits(output, sentences.WORD.encode(), WATCHED_KEYS)


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
