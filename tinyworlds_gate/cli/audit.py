"""The command `tinyworlds-gate audit REPO --year 2025 --mode strict [--json]`: run only the git history audit (L4)."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinyworlds_gate.config.cli_values import parse_year
from tinyworlds_gate.evidence.git_audit.audit import audit
from tinyworlds_gate.evidence.git_audit.paths import MODES
from tinyworlds_gate.evidence.git_audit.result import GitEvidence, SelectedCommit
from tinyworlds_gate.run.redact import redact

SHOWN_FILES = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("repo", nargs="?", default=".", type=Path, help="the project's folder (default: this one)")
    parser.add_argument("--year", type=parse_year, default=2025, help="year of commits, UTC (default: 2025)")
    parser.add_argument("--mode", choices=MODES, default="strict", help="rule that selects commits (default: strict)")
    parser.add_argument("--json", action="store_true", help="print the whole evidence as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the evidence; return 0 if the whole history was read, 1 if not (INVALID)."""
    evidence = audit(args.repo, args.year, args.mode)
    print(evidence.to_json().rstrip() if args.json else as_text(evidence))
    return 0 if evidence.verdict == "PASS" else 1


def as_text(evidence: GitEvidence) -> str:
    """Format the evidence for a terminal: verdict sentence, commits with their files, key changes, notes."""
    lines = [f"{evidence.verdict}: {evidence.reason}"]
    for commit in evidence.selected:
        lines.append(f"  {commit.sha[:10]}  {commit.date[:10]}  {commit.subject}")
        lines.append(f"      {_files(commit)}")
    if evidence.key_changes:
        lines.append("  backbone and shared sizes that changed:")
    for change in evidence.key_changes:
        old, new = (value if value is not None else "(not set)" for value in (change.old, change.new))
        lines.append(f"    {change.key}: {old} → {new}  {change.date[:10]}  {change.sha[:10]}  {change.file}")
    return "\n".join(_printable(line) for line in lines + [f"  note: {note}" for note in evidence.notes])


def _files(commit: SelectedCommit) -> str:
    """List the files of a commit with their old names, relevant files first."""
    ordered = dict.fromkeys([*commit.relevant_files, *commit.files])
    names = [f"{name} (was {commit.renamed_from[name]})" if name in commit.renamed_from else name for name in ordered]
    more = f" and {len(names) - SHOWN_FILES} more (--json has all)" if len(names) > SHOWN_FILES else ""
    return f"{len(names)} file{'s' if len(names) > 1 else ''}: {', '.join(names[:SHOWN_FILES])}{more}"


def _printable(line: str) -> str:
    """Replace control characters and secrets, which file names and commit subjects may contain."""
    return redact("".join(char if char.isprintable() else "\ufffd" for char in line))
