"""Audits a project's git history for one year: which commits changed the ZELDA training and inference path (L4, A2).

Two git processes whatever the number of commits: one lists every commit with its date, one streams the year's diffs.
`tinyworlds-gate audit REPO --year 2025 --mode strict` runs it alone.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tinyworlds_gate.evidence.git_log import LOG_OPTIONS, ChangedFile, CommitDiff, LogReader
from tinyworlds_gate.evidence.repository import open_repository

if TYPE_CHECKING:
    import git

SCHEMA = 1
WORD = "ZELDA"
MODES = ("strict", "wide", "current_paths")
WATCHED_KEYS = (
    *("embed_dim", "num_heads", "hidden_dim", "num_blocks"),
    *("patch_size", "context_length", "frame_size", "latent_dim", "num_bins", "n_actions"),
)

RELEVANT_PATHS = re.compile(
    r"configs/(training|video_tokenizer|latent_actions|dynamics|inference|training_config|vqvae|lam)\.yaml"
    r"|configs/dev/dev_(training|training_config|pipeline)\.yaml"
    r"|scripts/(train_video_tokenizer|train_latent_actions|train_dynamics|run_inference|full_train)\.py"
    r"|run_inference\.py|run_inference_teacher_forced\.py|train_full_pipeline\.py"
    r"|src/(vqvae|latent_action_model|dynamics)/(main|train_[^/]*)\.py"
    r"|tests/test_inference[^/]*\.py"
)
CURRENT_PATHS = re.compile(
    r"configs/(training|video_tokenizer|latent_actions|dynamics|inference)\.yaml"
    r"|scripts/(train_video_tokenizer|train_latent_actions|train_dynamics|run_inference)\.py"
    r"|utils/(inference_utils|config)\.py"
)


@dataclass(frozen=True)
class SelectedCommit:
    """A commit that counts as evidence; `date` is the committer's, in UTC."""

    sha: str
    date: str
    subject: str
    files: tuple[str, ...]
    relevant_files: tuple[str, ...]


@dataclass(frozen=True)
class KeyChange:
    """A backbone or shared key that a commit of the year changed; null: the file did not set it on that side."""

    key: str
    file: str
    old: str | None
    new: str | None
    sha: str
    date: str


@dataclass(frozen=True)
class GitEvidence:
    """What the audit found. `verdict` is PASS (the history was read whole) or INVALID (it could not be)."""

    verdict: str
    reason: str
    year: int
    mode: str
    head: str | None = None
    commits_in_year: int | None = None
    merges_in_year: int | None = None
    selected: tuple[SelectedCommit, ...] = ()
    file_touches: int | None = None
    relevant_file_touches: int | None = None
    files: dict[str, int] = field(default_factory=dict)
    """path → how many selected commits touched it."""
    key_changes: tuple[KeyChange, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The whole evidence as JSON text; the layout is versioned by `schema`."""
        return (
            json.dumps({"schema": SCHEMA, "kind": "git-evidence", **asdict(self)}, indent=2, ensure_ascii=False) + "\n"
        )

    def event(self, json_path: str | None) -> dict[str, Any]:
        """The fields of the journal's `git_evidence` event."""
        return {
            **{
                name: getattr(self, name)
                for name in ("verdict", "reason", "year", "mode", "commits_in_year", "file_touches")
            },
            "selected": len(self.selected) if self.commits_in_year is not None else None,
            "json": json_path,
        }


def audit(repo_path: Path | str, year: int, mode: str = "strict") -> GitEvidence:
    """Read the history reachable from HEAD and select the commits of `year` that are evidence (L4).

    Args:
        repo_path: the project's folder; relevant paths are relative to it, also inside a larger repository.
        year: committer date, UTC.
        mode: one of `MODES`.

    Raises:
        ValueError: `mode` is none of `MODES`.
    """
    if mode not in MODES:
        raise ValueError(f"audit mode {mode!r} is unknown; allowed: {', '.join(MODES)}")

    def invalid(reason: str) -> GitEvidence:
        return GitEvidence("INVALID", reason, year, mode)

    path = Path(repo_path)
    try:
        import git
    except ImportError:
        return invalid("The git program was not found, so the history cannot be read. Install git and run again.")
    try:
        repo = open_repository(path)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return invalid(f"{path.name or path} is not in a git repository, so there is no history to audit.")
    try:
        with repo:
            return _audit(repo, path, year, mode)
    except git.GitCommandError as error:
        text = " ".join(str(error.stderr or error).replace("stderr:", "").split())
        return invalid(f"git could not read the history: {text.strip(chr(39))[:400]}")


def _audit(repo: git.Repo, project: Path, year: int, mode: str) -> GitEvidence:
    if not _has_commit(repo):
        return GitEvidence("INVALID", "The repository has no commit yet, so there is no history to audit.", year, mode)
    prefix, notes = _folder_in_repository(repo, project)
    hashes, dates = _commits_of_year(repo, year)
    cut = _shallow_commits(repo)
    hidden = sorted(sha for sha in cut & dates.keys() if _year_of(dates[sha]) >= year)
    paths = CURRENT_PATHS if mode == "current_paths" else RELEVANT_PATHS
    selected: list[SelectedCommit] = []
    changes: list[KeyChange] = []
    merges = binary = 0
    for commit in _stream(repo, hashes):
        merges += commit.parents > 1
        if commit.sha in cut:
            continue  # the parent is missing: git shows the whole tree as added, which is not this commit's diff
        binary += commit.binary_files
        changes.extend(_key_changes(commit))
        relevant = [file.path for file in commit.files if _is_relevant(file, paths, prefix)]
        found = commit.word_in_changed_lines if mode == "strict" else commit.word_in_diff
        if relevant and found:
            every = tuple(dict.fromkeys(file.path for file in commit.files))
            selected.append(
                SelectedCommit(commit.sha, _utc(commit.committed_at), commit.subject, every, tuple(relevant))
            )
    notes += _notes(merges, binary, cut, hidden, year)
    touched = Counter(name for commit in selected for name in commit.files)
    evidence = GitEvidence(
        verdict="INVALID" if hidden else "PASS",
        reason=_reason(year, mode, len(hashes), len(selected), sum(touched.values()), bool(hidden)),
        year=year,
        mode=mode,
        head=repo.head.commit.hexsha,
        commits_in_year=len(hashes),
        merges_in_year=merges,
        selected=tuple(selected),
        file_touches=sum(touched.values()),
        relevant_file_touches=sum(len(commit.relevant_files) for commit in selected),
        files=dict(sorted(touched.items())),
        key_changes=tuple(changes),
        notes=tuple(notes),
    )
    return evidence


def _reason(year: int, mode: str, commits: int, selected: int, touches: int, cut: bool) -> str:
    if cut:
        return (
            f"This is a shallow clone and its history is cut inside or after {year}: at least {commits} commits and "
            f"{selected} selected, but the rest cannot be seen. Fetch the whole history with `git fetch --unshallow` "
            "and run again."
        )
    if commits == 0:
        return f"The whole history was read. It holds no commit in {year} (committer date, UTC), so none is selected."
    shown = "no commit is" if selected == 0 else f"{selected} commit{'s are' if selected > 1 else ' is'}"
    return (
        f"The whole history was read. {commits} commit{'s' if commits > 1 else ''} in {year}, {shown} {WORD} evidence "
        f"in mode {mode}, with {touches} file touches."
    )


def _notes(merges: int, binary: int, cut: set[str], hidden: list[str], year: int) -> list[str]:
    notes = []
    if merges:
        notes.append(
            f"{merges} merge commit(s) are counted. Of a merge only what differs from every parent is read, since the "
            "commits that it brings in are read on their own."
        )
    if binary:
        notes.append(f"{binary} change(s) of binary files are in the year; their content is not searched.")
    if cut and not hidden:
        notes.append(f"This is a shallow clone, but its history is cut before {year}, so the year is whole.")
    if hidden:
        names = ", ".join(sha[:10] for sha in hidden[:5])
        notes.append(f"The history is cut at {names}: these commits are counted, but what they changed is unknown.")
    return notes


def _has_commit(repo: git.Repo) -> bool:
    """Whether HEAD is a commit; raises ``GitCommandError`` when git refuses to say (another owner, a damaged file)."""
    import git

    try:
        repo.git.rev_parse("HEAD", verify=True)
    except git.GitCommandError as error:
        if "single revision" not in str(error.stderr):
            raise
        return False
    return True


def _folder_in_repository(repo: git.Repo, project: Path) -> tuple[str, list[str]]:
    if repo.working_tree_dir is None:
        return "", ["The repository is bare."]
    folder = project.resolve().relative_to(Path(repo.working_tree_dir).resolve()).as_posix()
    if folder == ".":
        return "", []
    return f"{folder}/", [
        f"The project is the folder {folder}/ of a larger repository; relevant paths are taken inside it."
    ]


def _commits_of_year(repo: git.Repo, year: int) -> tuple[list[str], dict[str, int]]:
    """The year's hashes (newest first) and every reachable commit's time.

    Not `--since`: that stops walking at a commit with a skewed clock.
    """
    dates: dict[str, int] = {}
    for line in repo.git.rev_list("HEAD", "--timestamp").splitlines():
        when, sha = line.split()
        dates[sha] = int(when)
    return [sha for sha, when in dates.items() if _year_of(when) == year], dates


def _shallow_commits(repo: git.Repo) -> set[str]:
    marker = Path(repo.common_dir) / "shallow"
    return set(marker.read_text(encoding="ascii").split()) if marker.is_file() else set()


def _stream(repo: git.Repo, hashes: list[str]) -> Iterator[CommitDiff]:
    """The diffs of `hashes` from one git process, read as they come.

    Raises:
        git.GitCommandError: git stopped with an error (a missing object, for one).
    """
    if not hashes:
        return
    reader = LogReader(WORD.encode(), frozenset(WATCHED_KEYS))
    with tempfile.TemporaryFile() as wanted:
        wanted.write("".join(f"{sha}\n" for sha in hashes).encode())
        wanted.seek(0)
        log = repo.git(c=["core.quotePath=false", "log.showRoot=true"]).log
        process = log("--no-walk=unsorted", "--stdin", *LOG_OPTIONS, istream=wanted, as_process=True)
        errors: list[bytes] = []
        drain = threading.Thread(target=_drain, args=(process.stderr, errors), daemon=True)
        drain.start()
        yield from reader.read(process.stdout)
        drain.join()
        process.wait(stderr=b"".join(errors))


def _drain(stream: IO[bytes], into: list[bytes]) -> None:
    into.append(stream.read())


def _is_relevant(file: ChangedFile, paths: re.Pattern[str], prefix: str) -> bool:
    names = [name for name in (file.path, file.old_path) if name is not None and name.startswith(prefix)]
    return any(paths.fullmatch(name.removeprefix(prefix)) is not None for name in names)


def _key_changes(commit: CommitDiff) -> list[KeyChange]:
    return [
        KeyChange(key, file, old, new, commit.sha, _utc(commit.committed_at))
        for (file, key), (old, new) in commit.settings.items()
        if old != new
    ]


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _year_of(seconds: int) -> int:
    return datetime.fromtimestamp(seconds, UTC).year
