"""What `tinyworlds-gate compare` takes as a side: a run, a kept run, a scorecard, a baseline, checkpoints, frames."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tinyworlds_gate.cli.score import score
from tinyworlds_gate.cli.score_frames import SEPARATOR, score_frames, split_name
from tinyworlds_gate.cli.score_options import DEFAULTS, OPTION_OF_STAGE
from tinyworlds_gate.compare.baseline_file import SCHEMA as BASELINE
from tinyworlds_gate.compare.baseline_file import baseline_of
from tinyworlds_gate.errors import ConfigError, GateError
from tinyworlds_gate.gate.scorecard import SCHEMA as SCORECARD
from tinyworlds_gate.gate.scorecard import Scorecard, ScorecardError, read_json, scorecard_of
from tinyworlds_gate.keep.files import SCORECARDS
from tinyworlds_gate.keep.folder import MARKER, WRITER
from tinyworlds_gate.loop.scorecards import scorecards_of_folder
from tinyworlds_gate.names import INVALID

WHAT = (
    "name results/RUN, a kept folder (keep.json), a scorecard or baseline (.json), a folder with the checkpoints of "
    "all three stages (with --data F.h5), or frames (FILE.h5::GROUP)"
)
SUFFIXES = (".h5", ".hdf5")
JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Source:
    """One named side, or a part of it: its models, each with its scorecards."""

    name: str
    entries: Sequence[Sequence[Scorecard]]
    run: Path | None = None
    """The run's folder, if it is one; its frames can be shown."""
    frames: str | None = None
    notes: tuple[str, ...] = field(default=())


def read_source(name: str, args: argparse.Namespace) -> Source:
    """Return the scorecards of one named thing; checkpoints and frames are scored on the way.

    Raises:
        GateError: it is none of what can be compared, or cannot be read.
    """
    path = Path(name)
    if SEPARATOR in name or path.suffix.lower() in SUFFIXES:
        return Source(name, [[_score_frames(name)]], frames=name)
    if not path.exists():
        raise ConfigError(f"{name}: there is no such file or folder; {WHAT}.")
    if path.is_dir():
        return _of_folder(name, path, args)
    data = read_json(path, ScorecardError, "scorecard or baseline")
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema == BASELINE:
        return Source(name, baseline_of(data, name).entries)
    if schema != SCORECARD:
        raise ConfigError(f"{name}: it is neither a scorecard nor a baseline (schema {str(schema)[:60]!r}); {WHAT}.")
    return Source(name, [[scorecard_of(data, name)]])


def _of_folder(name: str, path: Path, args: argparse.Namespace) -> Source:
    if (path / MARKER).is_file():
        return Source(name, [kept_scorecards(path)])
    if (path / JOURNAL).is_file():
        return Source(name, [scorecards_of_folder(path)], run=path)
    return Source(name, [[_score_checkpoints(name, path, args)]])


def kept_scorecards(folder: Path) -> list[Scorecard]:
    """Return the scorecards of a run's kept folder, the final one first.

    Raises:
        GateError: it has none, its verdict is INVALID, or one was changed.
    """
    marker = read_json(folder / MARKER, ScorecardError, "record of a kept run")
    if not isinstance(marker, dict) or marker.get("written_by") != WRITER or not isinstance(marker.get("files"), dict):
        raise GateError(f"{folder / MARKER}: it was not written by `{WRITER}`; name the folder of a kept run.")
    if marker.get("verdict") == INVALID:
        raise GateError(f"{folder}: its verdict is INVALID, so its numbers are no evidence.")
    names = sorted((name for name in marker["files"] if name.startswith(f"{SCORECARDS}/")), reverse=True)
    if not names:
        raise GateError(
            f"{folder}: it was kept without scorecards (by an older version, or of an older run); name results/RUN."
        )
    cards = []
    for name in names:
        path = folder / name
        recorded = marker["files"][name]
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        if not isinstance(recorded, dict) or digest != recorded.get("sha256"):
            raise GateError(f"{path}: it is not the file that was kept (another SHA-256, or gone); keep the run again.")
        cards.append(scorecard_of(read_json(path, ScorecardError, "scorecard"), str(path)))
    newest = max(_number(card) for card in cards)
    of_last = [card for card in cards if _number(card) == newest]
    return sorted(of_last, key=lambda card: -int(card.settings.get("clip_draw") or 0))


def _number(card: Scorecard) -> int:
    """The number of the attempt that a scorecard of a run is of."""
    words = (card.source or "").rpartition(" ")[2].split(".")
    return int(words[0]) if words[0].isdigit() else 0


def _score_frames(name: str) -> Scorecard:
    values = dict.fromkeys([*DEFAULTS, *_NO_OPTIONS])
    args = argparse.Namespace(**{**values, "frames": name, "scorecard": Path("-")})
    file, _ = split_name(name)
    if not file.is_file():
        raise ConfigError(f"{name}: there is no file {file}; {WHAT}.")
    card: Scorecard = score_frames(args)["scorecard"]
    return card


_NO_OPTIONS = (
    *(option[2:].replace("-", "_") for option in OPTION_OF_STAGE.values()),
    *("data", "sweep", "stage", "every", "at_most", "starts", "clips", "clip_seed", "clip_draw", "context"),
    *("memory_window", "picture", "conftest"),
)


def _score_checkpoints(name: str, path: Path, args: argparse.Namespace) -> Scorecard:
    if args.data is None:
        raise ConfigError(
            f"{name}: it is no run (no {JOURNAL}) and no kept run (no {MARKER}). To compare the checkpoints in it, "
            "name the frames to score them on (--data F.h5)."
        )
    given = {option[2:].replace("-", "_"): _stage_folder(path, stage) for stage, option in OPTION_OF_STAGE.items()}
    values = {**vars(args), **given, "frames": None, "sweep": None, "conftest": None, "scorecard": Path("-")}
    for missing in ("stage", "every", "at_most", "picture"):
        values[missing] = None
    card: Scorecard = score(argparse.Namespace(**values))["scorecard"]
    return replace(card, name=name)


def _stage_folder(path: Path, stage: str) -> Path:
    """Where a folder has the checkpoints of a stage: `<stage>/checkpoints`, `<stage>`, or the folder itself."""
    places = (path / stage / "checkpoints", path / stage, path)
    return next((place for place in places if place.is_dir()), path)
