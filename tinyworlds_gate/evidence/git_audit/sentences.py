"""The sentences of the git history audit: what was read, what could not be, and how to mend that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinyworlds_gate.run.redact import redact

WORD = "ZELDA"
NO_GIT = "The git program was not found, so the history cannot be read. Install git and run again."
NO_COMMIT = "HEAD has no commit yet, so there is no history to audit."
NOTHING_TO_AUDIT = (
    "The folder has no file on an audited path, so no history is missing. A long run requires a git repository with at "
    "least one commit."
)
SHOWN_NAMES = 5
LONGEST_REFUSAL = 400


def result(year: int, mode: str, commits: int, selected: int, touches: int, *, cut: bool) -> str:
    """The verdict's reason, after the history was read as far as it is there."""
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


def refusal(notes: str, *, is_partial: bool) -> str:
    """What git said when it did not read the history, and the fix where it is known."""
    text = redact(" ".join(notes.split()))
    if is_partial:
        return (
            "This is a partial clone: git left out contents that the audit must read, and an audit fetches nothing. "
            "Get them with `git fetch --refetch --no-filter` and run again."
        )
    return f"git could not read the history: {text.strip()[:LONGEST_REFUSAL]}"


def untracked(folder: str) -> str:
    """A folder inside somebody else's repository has no history of its own."""
    return (
        f"The project is the folder {folder} of a larger repository, which tracks none of its files at HEAD, so there "
        "is no history to audit. Commit the project, or make it a repository of its own with `git init`."
    )


def notes(counts: Mapping[str, int], hidden_files: Sequence[tuple[str, str]]) -> list[str]:
    """What was met on the way, and how it was read.

    Args:
        counts: `merges`, `renames`, `binary` (changes) and `odd` (commits) of the year.
        hidden_files: (path, hash) of relevant files that are binary to git.
    """
    notes = []
    if counts["merges"]:
        notes.append(
            f"{counts['merges']} merge commit(s) are counted. Of a merge only what differs from every parent is read, "
            "since the commits that it brings in are read on their own."
        )
    if counts["renames"]:
        notes.append(
            f"{counts['renames']} rename(s) are in the year. A renamed file is one touched file, under its new name; "
            "it is relevant when its old or its new name is."
        )
    if counts["binary"]:
        notes.append(f"{counts['binary']} change(s) of binary files are in the year; their content is not searched.")
    if hidden_files:
        names = ", ".join(f"{path} in {sha[:10]}" for path, sha in hidden_files[:SHOWN_NAMES])
        more = f" and {len(hidden_files) - SHOWN_NAMES} more" if len(hidden_files) > SHOWN_NAMES else ""
        notes.append(
            f"Relevant files that git takes for binary (UTF-16, or `-diff` in .gitattributes), so that {WORD} in them "
            f"is not seen: {names}{more}."
        )
    if counts["odd"]:
        notes.append(
            f"{counts['odd']} commit(s) of the year have a subject, a path or a value that is not UTF-8; it is read "
            "all the same, and what cannot be shown becomes \ufffd."
        )
    return notes


def shallow_note(cut: set[str], hidden: Sequence[str], year: int) -> list[str]:
    """Of a shallow clone: whether the year is whole.

    Args:
        cut: every commit whose parents are not there; ``hidden``: those of them in the year or after it.
    """
    if hidden:
        names = ", ".join(sha[:10] for sha in hidden[:SHOWN_NAMES])
        return [f"The history is cut at {names}: these commits are counted, but what they changed is unknown."]
    if cut:
        return [f"This is a shallow clone, but its history is cut before {year}, so the year is whole."]
    return []
