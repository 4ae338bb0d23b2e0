"""The verdicts of a project over time, as rows: from the journals of its runs and of kept runs (docs/results.md).

A number that a journal does not have is None, never 0.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.verdict_words import tone
from tinyworlds_gate.names import DEGRADED, INVALID, PASS
from tinyworlds_gate.reports.advice import comparison_of
from tinyworlds_gate.reports.markdown import clean, clock
from tinyworlds_gate.reports.model import RunRecord, load_record

KEPT = "docs/results/**/keep.json"
"""Where the kept runs of a project are found by themselves."""
EMBEDDED = ("embedded", "reference")
_OF_OTHER_EVENTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True)
class HistoryRow:
    """One run. Times are Unix seconds; intervals are 95 %, over episodes; recall is that of the small objects (G6)."""

    run: str
    started: float
    profile: str
    game: str
    target: str
    seed: Any
    commit: str
    verdict: str
    tone: str
    """The verdict in whose colour and mark it is shown: a pass with a limit is DEGRADED."""
    limit: float | None
    mse: float | None
    mse_low: float | None
    mse_high: float | None
    strongest_baseline: str
    strongest_baseline_mse: float | None
    skill_strongest: float | None
    skill_strongest_low: float | None
    skill_strongest_high: float | None
    skill_last_frame: float | None
    skill_last_frame_low: float | None
    skill_last_frame_high: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    train_minutes: float | None
    total_minutes: float | None
    against_baseline: str
    source: str
    """Folder of its journal."""

    @property
    def series(self) -> str:
        """What runs must share to be joined by a line: profile, game and target."""
        return " · ".join(part for part in (self.profile, self.game, self.target) if part)


def read_history(project_root: Path, kept: Sequence[Path] = ()) -> tuple[list[HistoryRow], list[str]]:
    """Return a row for each run, oldest first, and a sentence for each journal that cannot be read.

    Args:
        kept: further folders with a journal, such as those of `keep`; those below docs/results/ are found by
            themselves. A run that is there twice is taken from results/.

    Raises:
        GateError: a folder of ``kept`` has no journal.
    """
    named = [_kept_folder(path) for path in kept]
    found = sorted(path.parent for path in (project_root / "results").glob("*/journal.jsonl"))
    found += sorted(path.parent for path in project_root.glob(KEPT) if (path.parent / "journal.jsonl").is_file())
    rows: dict[str, HistoryRow] = {}
    problems: list[str] = []
    for folder in dict.fromkeys(path.resolve() for path in (*found, *named)):
        try:
            row = row_of(load_record(project_root, folder), _shown(folder, project_root))
        except (GateError, OSError) as error:
            problems.append(str(error))
        except _OF_OTHER_EVENTS as error:
            problems.append(
                f"The journal of {folder.name} has an event that this version cannot read ({type(error).__name__}: "
                f"{error}); restore the file from a copy or remove that folder."
            )
        else:
            rows.setdefault(row.run, row)
    return sorted(rows.values(), key=lambda row: (row.started, row.run)), problems


def row_of(record: RunRecord, source: str) -> HistoryRow:
    """Return the row of a run (pure)."""
    m, last = record.measures, record.last_attempt
    objects = m.get("objects") if isinstance(m.get("objects"), dict) else {}
    objects = {} if (objects or {}).get("no_occasion") else objects or {}
    walls = [_number((chunk.finished or {}).get("wall_s")) for chunk in record.chunks]
    seconds = _number((record.finished or {}).get("seconds"))
    verdict, target = record.verdict()[0], str(record.started.get("target") or "")
    shown = tone(last.verdict) if verdict == PASS and last is not None and last.verdict is not None else verdict
    known = [wall for wall in walls if wall is not None]
    return HistoryRow(
        run=record.run,
        started=_number(record.started.get("time")) or 0.0,
        profile=str(record.started.get("profile") or ""),
        game=_game(record),
        target="" if target in EMBEDDED else target,
        seed=record.started.get("seed"),
        commit=str(record.started.get("commit") or "")[:12],
        verdict=record.word() if record.status != "unfinished" else "no verdict",
        tone=INVALID if record.status == "unfinished" else DEGRADED if record.limit and verdict == PASS else shown,
        limit=record.max_mse,
        **{key: _number(m.get(key)) for key in ("mse", "mse_low", "mse_high", "strongest_baseline_mse")},
        strongest_baseline=str(m.get("strongest_baseline") or ""),
        **{key: _number(m.get(key)) for key in _ends("skill_strongest")},
        **{new: _number(m.get(key)) for new, key in zip(_ends("skill_last_frame"), _ends("skill"), strict=True)},
        **{key: _number(objects.get(key)) for key in _ends("recall")},
        train_minutes=sum(known) / 60 if known else None,
        total_minutes=None if seconds is None else seconds / 60,
        against_baseline=str((comparison_of(record) or {}).get("verdict") or ""),
        source=source,
    )


def as_csv(rows: Iterable[HistoryRow]) -> str:
    """Return the rows as CSV; an empty field is a number that the journal does not have."""
    rows = list(rows)
    names = [name for name in HistoryRow.__dataclass_fields__ if name != "tone"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["started_utc" if name == "started" else name for name in names])
    for row in rows:
        values = {**asdict(row), "started": clock(row.started)}
        writer.writerow([_field(values[name]) for name in names])
    return file.getvalue()


def _ends(key: str) -> tuple[str, str, str]:
    return key, f"{key}_low", f"{key}_high"


def _field(value: Any) -> str:
    """Return a field of the CSV; a text that a spreadsheet would compute is marked as text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = clean(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


def _game(record: RunRecord) -> str:
    """Return the dataset's name, from the frames or else from the settings."""
    name = (record.dataset or {}).get("name")
    setting = ((record.settings or {}).get("settings") or {}).get("training.dataset")
    return str(name or (setting or {}).get("value") or "")


def _kept_folder(path: Path) -> Path:
    folder = path.parent if path.name == "keep.json" else path
    if not (folder / "journal.jsonl").is_file():
        raise GateError(
            f"--kept {path} has no journal.jsonl: expected the folder of a kept run, or of a run. "
            "`tinyworlds-gate keep` writes one."
        )
    return folder


def _shown(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder)
