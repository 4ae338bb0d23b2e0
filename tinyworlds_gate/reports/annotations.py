"""Error lines that GitHub shows beside a change: `::error file=…,line=…,title=…::why`, one for each cause (pure but for
reading settings files).

The line is the place of the exception in the project if a stage ended with one, else the setting whose limit was
missed, else the test of the requirement. Nothing else of the run's text reaches the workflow commands: it is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tinyworlds_gate.names import DEGRADED, FAIL, INVALID, PASS
from tinyworlds_gate.reports.advice import BETTER, SAME, comparison_of
from tinyworlds_gate.reports.comment_markup import one_line
from tinyworlds_gate.reports.missing import Missing
from tinyworlds_gate.reports.model import RunRecord
from tinyworlds_gate.run.owned import read_owned

MOST = 10
"""Errors of one step that GitHub shows."""
LONGEST = 500
MOST_FILE_BYTES = 1_000_000
FRAME = re.compile(r'File "([^"\n]{1,500})", line (\d{1,7})')
SETTINGS = {
    "G5": "thresholds.max_mse",
    "G5.interval": "thresholds.require_mse_upper",
    "G6": "thresholds.min_object_share",
    "G7": "thresholds.min_past_ratio",
    "G8": "thresholds.require_skill_strongest",
    "S1": "thresholds.stage_gates.video_tokenizer.continue_loss",
    "S2": "thresholds.stage_gates.latent_actions.continue_loss",
    "S3": "thresholds.stage_gates.dynamics.continue_loss",
}
"""Requirement → the setting in the profile whose limit it has."""
OF_CHUNKS = ("L5", "S1", "S2", "S3", "S4")
"""Requirements that a chunk breaks when it ends with an exception."""
BASELINE_ROW = "G9"
Place = tuple[str, int]


@dataclass(frozen=True)
class Annotation:
    """One line; ``place``: file of the project and its line, None where there is none."""

    level: str
    title: str
    text: str
    place: Place | None = None

    def line(self) -> str:
        """Return the workflow command, escaped."""
        properties = [] if self.place is None else [f"file={_property(self.place[0])}", f"line={self.place[1]}"]
        properties.append(f"title={_property(one_line(self.title, 120))}")
        return f"::{self.level} {','.join(properties)}::{_data(one_line(self.text, LONGEST))}"


def annotation_lines(record: RunRecord, missing: Sequence[Missing] = (), workspace: Path | None = None) -> list[str]:
    """Return the lines, causes first, at most as many as GitHub shows.

    Args:
        workspace: folder that the files are named from (default: the project); a project outside of it has no places.
    """
    found = [*_rows(record), *_missing(missing), *_baseline(record)]
    verdict, sentence = record.verdict()
    if not any(one.level == "error" for one in found) and verdict not in (PASS, DEGRADED):
        found.insert(0, Annotation("error", f"tinyworlds_gate: {verdict}", sentence, _place_of_exception(record)))
    found = [one if workspace is None else _seen_from(one, record.project_root, workspace) for one in found]
    lines = [one.line() for one in found[:MOST]]
    if len(found) > MOST:
        more = Annotation("error", "tinyworlds_gate", f"{len(found) - MOST + 1} more problems are in the report.")
        lines[-1] = more.line()
    return lines


def _seen_from(one: Annotation, project: Path, workspace: Path) -> Annotation:
    if one.place is None or project.resolve() == workspace.resolve():
        return one
    path = (project / one.place[0]).resolve()
    inside = path.is_relative_to(workspace.resolve())
    named = path.relative_to(workspace.resolve()).as_posix() if inside else ""
    return replace(one, place=(named, one.place[1]) if inside else None)


def no_run_annotation(reason: str) -> str:
    """Return the line of a job that started no run."""
    return Annotation("error", "tinyworlds_gate: no run was started", reason).line()


def _rows(record: RunRecord) -> list[Annotation]:
    """A line for each cause; requirements that follow from another one, or have the same reason, are named with it."""
    follows = {str(one.get("id")) for one in record.events if one["event"] == "requirement" and one.get("follows_from")}
    grouped: dict[tuple[str, str], list[str]] = {}
    tests: dict[str, tuple[str, ...]] = {}
    for row in record.requirements():
        if row.verdict in (FAIL, INVALID, DEGRADED) and row.id not in follows:
            grouped.setdefault((row.verdict, row.reason), []).append(row.id)
            tests[row.id] = row.tests
    lines = []
    for (verdict, reason), ids in sorted(grouped.items(), key=lambda one: one[0][0] == DEGRADED):
        place = next(filter(None, (_place(record, id, tests[id]) for id in ids)), None)
        level = "warning" if verdict == DEGRADED else "error"
        lines.append(Annotation(level, f"tinyworlds_gate {' '.join(ids)}: {verdict}", reason, place))
    return lines


def _missing(missing: Sequence[Missing]) -> list[Annotation]:
    return [
        Annotation("error", f"tinyworlds_gate {key}: missing report", f"{path.name}: {reason}")
        for key, path, reason in missing
    ]


def _baseline(record: RunRecord) -> list[Annotation]:
    """A warning where a run that passed is worse than, or not comparable with, the baseline."""
    compared = comparison_of(record)
    verdict, _ = record.verdict()
    if compared is None or compared.get("verdict") in (BETTER, SAME) or verdict not in (PASS, DEGRADED):
        return []
    sentence = str(compared.get("sentence") or compared.get("reason") or "The comparison has no sentence.")
    place = _place_of_baseline(record)
    return [Annotation("warning", f"tinyworlds_gate baseline: {compared.get('verdict')}", sentence, place)]


def _place_of_baseline(record: RunRecord) -> Place | None:
    path = str(((comparison_of(record) or {}).get("baseline") or {}).get("path") or "")
    return (path, 1) if path and _text(record.project_root, path) is not None else None


def _place(record: RunRecord, id: str, tests: Iterable[str]) -> Place | None:
    if id == BASELINE_ROW:
        return _place_of_baseline(record)
    if id in OF_CHUNKS and (place := _place_of_exception(record)) is not None:
        return place
    if id in SETTINGS and (place := _place_of_setting(record, SETTINGS[id])) is not None:
        return place
    return next(filter(None, (_place_of_test(record.project_root, test) for test in tests)), None)


def _place_of_exception(record: RunRecord) -> Place | None:
    """Return the innermost frame inside the project of the last chunk, or inference, that ended with an exception."""
    ends: list[Any] = [chunk.finished for chunk in record.chunks] + [one.finished for one in record.attempts]
    for end in reversed(ends):
        lines = (end or {}).get("log_tail") or []
        for file, number in reversed(FRAME.findall("\n".join(map(str, lines)))):
            if (name := _inside(record, file)) is not None:
                return name, int(number)
    return None


def _inside(record: RunRecord, file: str) -> str | None:
    """Return a file as a path of the project; the journal may have been written in another folder."""
    for root in (str(record.project_root), str(record.started.get("project_root") or "")):
        if root not in ("", ".") and file.startswith(f"{root}/"):
            name = file.removeprefix(f"{root}/")
            if ".venv/" not in name and "site-packages/" not in name and _text(record.project_root, name) is not None:
                return name
    return None


def _place_of_setting(record: RunRecord, key: str) -> Place | None:
    """Return where the profile's file in the project has the setting."""
    recorded = ((record.settings or {}).get("settings") or {}).get(f"profile.{key}") or {}
    name = str(recorded.get("source") or "").removeprefix("profile ") if isinstance(recorded, dict) else ""
    text = _text(record.project_root, name) if name.endswith(".yaml") else None
    line = None if text is None else line_of(text, key.split("."))
    return None if line is None else (name, line)


def line_of(text: str, keys: Sequence[str]) -> int | None:
    """Return the line of a key in a YAML text, from 1; None where it has none, or is no YAML."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return None
    line = None
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        found = next(((name, value) for name, value in node.value if name.value == key), None)
        if found is None:
            return None
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _place_of_test(root: Path, test: str) -> Place | None:
    file, _, name = test.partition("::")
    text = _text(root, file)
    found = None if text is None else re.search(rf"^def {re.escape(name.partition('[')[0])}\(", text, re.MULTILINE)
    return None if text is None or found is None else (file, text.count("\n", 0, found.start()) + 1)


def _text(root: Path, name: str) -> str | None:
    """Return a text file of the project; None where it is absent, large, or reached through a link."""
    try:
        content = read_owned(root, name, MOST_FILE_BYTES)
    except (OSError, ValueError):
        return None
    return None if len(content) > MOST_FILE_BYTES else content.decode("utf-8", "replace")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
