"""The command `tinyworlds-gate audit REPO --year 2025 --mode strict [--json]`: the git history audit alone (L4)."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinyworlds_gate.evidence.git_history import MODES, GitEvidence, audit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("repo", nargs="?", default=".", type=Path, help="the project's folder (default: this one)")
    parser.add_argument("--year", type=_year, default=2025, help="committer date in UTC (default: 2025)")
    parser.add_argument("--mode", choices=MODES, default="strict", help="which commits count (default: strict)")
    parser.add_argument("--json", action="store_true", help="print the whole evidence as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the evidence; 0 when the history was read whole, 1 when it could not be (INVALID)."""
    evidence = audit(args.repo, args.year, args.mode)
    print(evidence.to_json().rstrip() if args.json else as_text(evidence))
    return 0 if evidence.verdict == "PASS" else 1


def as_text(evidence: GitEvidence) -> str:
    """The evidence for a terminal: verdict sentence, commits, key changes, notes."""
    lines = [f"{evidence.verdict}: {evidence.reason}"]
    for commit in evidence.selected:
        lines.append(
            f"  {commit.sha[:10]}  {commit.date[:10]}  {len(commit.files):3d} files  {_printable(commit.subject)}"
        )
    for change in evidence.key_changes:
        lines.append(
            f"  {change.key}: {change.old if change.old is not None else '(unset)'} → "
            f"{change.new if change.new is not None else '(unset)'}  {_printable(change.file)}  {change.sha[:10]}"
        )
    return "\n".join(lines + [f"  note: {note}" for note in evidence.notes])


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "�" for char in text)


def _year(text: str) -> int:
    if not (text.isdigit() and 1970 <= int(text) <= 9999):
        raise argparse.ArgumentTypeError(f"{text!r} is not a year; give one from 1970 to 9999, like 2025")
    return int(text)
