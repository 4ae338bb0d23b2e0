"""Check that a run's reports exist, are complete, belong to the run and carry a verdict (H4)."""

from __future__ import annotations

import re
from pathlib import Path

from tinyworlds_gate.config.requested import inference_requested
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.names import VERDICTS
from tinyworlds_gate.reports.artifact_names import report_paths
from tinyworlds_gate.reports.markdown import plain
from tinyworlds_gate.reports.model import RunRecord, load_record
from tinyworlds_gate.reports.page_check import is_whole_png, page_problem
from tinyworlds_gate.run.plain_json import load_json

Missing = tuple[str, Path, str]
VERDICT_LINE = re.compile(rf"^\*\*Verdict: ({'|'.join(VERDICTS)})(?: \([^)]*\))?\*\* — (\S.*)$", re.MULTILINE)
EVIDENCE = ("A2", "A3")
"""Reports that are evidence themselves: with a verdict other than PASS they count as missing, unless there was nothing
to audit (A2) or to analyse (A3)."""


def missing_reports(
    project_root: Path, run_folder: Path, page: Path | None = None, record: RunRecord | None = None
) -> list[Missing]:
    """Return (ID, expected path, reason) for every artifact A1–A7 that is missing or empty; A8 too with `page`.

    A report with the verdict FAIL is not missing: this checks the evidence, not the model.

    Args:
        page: the page that pytest-html wrote, or None when none was requested.
        record: the run, where it was read before.

    Raises:
        GateError: the journal itself cannot be read.
    """
    record = record or load_record(project_root, run_folder)
    paths = report_paths(record)
    problems: list[Missing] = []
    for key in ("A1", "A2", "A3", "A5", "A6"):
        files = [paths[key]] if key != "A3" else [paths[key], paths[key].with_suffix(".json")]
        for path in files:
            reason = _text_problem(record, key, path) if path.suffix == ".md" else _json_problem(record, path)
            if reason:
                problems.append((key, path, reason))
    plots = paths["A4"]
    if not any(_is_png(plot) for plot in sorted(plots.glob("*.png"))) and not _nothing_to_analyse(record):
        problems.append(("A4", plots, "it has no plot"))
    problems += _picture_problems(record)
    if page is not None:
        reason = page_problem(record, page)
        problems += [("A8", page, reason)] if reason else []
    return problems


def _nothing_to_analyse(record: RunRecord) -> bool:
    """Return whether the run trained nothing (`--train-stage none`) and has no history of the checkpoints it used.

    An analysis that was switched off by option still counts as missing (H4).
    """
    setting = ((record.settings or {}).get("settings") or {}).get("options.enable_wandb_analysis") or {}
    return not record.chunks and (record.wandb or {}).get("verdict") == "NOT-RUN" and setting.get("value") is not False


def _text_problem(record: RunRecord, key: str, path: Path) -> str | None:
    text = _read(path)
    if text is None:
        return "the file does not exist"
    if not text.strip():
        return "the file is empty"
    found = VERDICT_LINE.search(text)
    if found is None:
        return "it has no verdict sentence"
    if f"`{record.run}`" not in text:
        return f"it is not about the run {record.run}"
    excused = _nothing_to_analyse(record) if key == "A3" else (record.git or {}).get("verdict") == "NOT-RUN"
    if key in EVIDENCE and found[1] != "PASS" and not excused:
        return f"it says {found[1]}: {plain(found[2])}"
    return None


def _json_problem(record: RunRecord, path: Path) -> str | None:
    text = _read(path)
    if text is None:
        return "the file does not exist"
    try:
        data = load_json(text)
    except ValueError:
        return "it is not JSON"
    if not isinstance(data, dict) or data.get("run") != record.run:
        return f"it is not about the run {record.run}"
    return None


def _picture_problems(record: RunRecord) -> list[Missing]:
    folder = record.project_root / "inference_results"
    if not record.attempts and not inference_requested(record.options):
        return []
    shown = [attempt.finished.get("picture") for attempt in record.attempts if attempt.finished]
    if not shown:
        return [("A7", folder, "no inference attempt finished, so there is no picture")]
    if not shown[-1]:
        return [("A7", folder, "the last inference attempt left no picture")]
    path = record.project_root / str(shown[-1])
    return [] if _is_png(path) else [("A7", path, "it does not exist or is no PNG image")]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise GateError(f"Cannot read the report {path}: {error.strerror}. Check its permissions.") from error


def _is_png(path: Path) -> bool:
    try:
        return is_whole_png(path.read_bytes())
    except OSError:
        return False
