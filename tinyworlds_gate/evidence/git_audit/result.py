"""What the git history audit found, as plain data: for the journal, the report A2 and the JSON beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from tinyworlds_gate.run.redact import redact

SCHEMA = 1


@dataclass(frozen=True)
class SelectedCommit:
    """A commit that counts as evidence; `date` is the committer's, in UTC."""

    sha: str
    date: str
    subject: str
    files: tuple[str, ...]
    relevant_files: tuple[str, ...]
    renamed_from: dict[str, str] = field(default_factory=dict)
    """New path → old path of the files that it renamed."""


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
    """What the audit found.

    `verdict` is PASS (the history was read whole), INVALID (it could not be), or NOT-RUN (there is neither a history
    nor a file on an audited path).
    """

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
    """By key, file and time."""
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The whole evidence as JSON text without secrets; the layout is versioned by `schema`."""
        data = {"schema": SCHEMA, "kind": "git-evidence", **_without_secrets(asdict(self))}
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"

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


def _without_secrets(value: Any) -> Any:
    """Subjects, names and values come from people: what looks like a secret is hidden, and all of it is text."""
    if isinstance(value, str):
        return redact(value).encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_without_secrets(str(key)): _without_secrets(item) for key, item in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list | tuple) else value
