"""The actions of a folder of videos: a CSV file with the header ``video,frame,action`` and one row for each frame."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.recorded_actions import MOST_ACTION
from tinyworlds_gate.run.regular_file import regular_file_problem

COLUMNS = ("video", "frame", "action")
FILE = "actions.csv"
LARGEST_BYTES = 2**28


def entries_of(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted, without hidden files; ``DataError`` where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}); make it a readable folder") from error


def find_csv(folder: Path) -> Path:
    """Return the one CSV file of a folder; ``DataError`` where there is none, or several."""
    found = [path for path in entries_of(folder) if path.suffix.lower() == ".csv"]
    if len(found) != 1:
        has = f"{len(found)} CSV files ({', '.join(path.name for path in found[:4])})" if found else "no CSV file"
        raise DataError(
            f"{folder} has {has}; one is needed, such as {FILE}, with the header `{','.join(COLUMNS)}` and a row for "
            "each frame"
        )
    return found[0]


def read_actions_csv(path: Path) -> dict[str, np.ndarray]:
    """Return video → actions uint8 [frames], in the order in which the videos come first; frames may come in any.

    Raises:
        DataError: the file cannot be read, a column is missing, a value is none, or a frame has no row or two.
    """
    rows: dict[str, dict[int, int]] = {}
    if (problem := regular_file_problem(path)) is not None:
        raise DataError(f"{path}: it {problem}; a CSV file with the actions is needed")
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise DataError(f"{path} has more than {LARGEST_BYTES:,} bytes; divide the recording")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for video, frame, action in _rows(path, reader):
                own = rows.setdefault(video, {})
                if frame in own:
                    place = f"{path}, line {reader.line_num}"
                    raise DataError(f"{place}: frame {frame} of {video} has a row already; remove one of them")
                own[frame] = action
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"{path} is not UTF-8 text (it has the byte 0x{byte:02x}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file ({error}); correct it") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); make it a readable file") from error
    if not rows:
        raise DataError(f"{path} has no row below its header; a row for each frame is needed")
    return {video: _in_order(path, video, own) for video, own in rows.items()}


def write_actions_csv(path: Path, actions: Mapping[str, np.ndarray]) -> None:
    """Write the actions [frames] of each video to a new file."""
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for video, own in actions.items():
            writer.writerows((video, frame, action) for frame, action in enumerate(own.tolist()))


def _rows(path: Path, reader: Any) -> Iterator[tuple[str, int, int]]:
    """Yield video, frame and action of each row of a ``csv.reader``; blank lines are left out."""
    header: dict[str, int] | None = None
    for fields in reader:
        if not fields:
            continue
        if header is None:
            header = _header(path, fields)
            continue
        place = f"{path}, line {reader.line_num}"
        if len(fields) <= max(header.values()):
            raise DataError(
                f"{place} has {len(fields)} values; {max(header.values()) + 1} are needed, as in the header"
            )
        video, frame, action = (fields[header[name]].strip() for name in COLUMNS)
        if video in ("", ".", "..") or Path(video).name != video or "\0" in video:
            raise DataError(f"{place}: the video {video[:80]!r} is not the name of a file in the folder")
        yield video, _number(place, "frame", frame, None), _number(place, "action", action, MOST_ACTION)
    if header is None:
        raise DataError(f"{path} is empty; its header must be `{','.join(COLUMNS)}`")


def _header(path: Path, fields: list[str]) -> dict[str, int]:
    names = [name.strip() for name in fields]
    missing = [name for name in COLUMNS if names.count(name) != 1]
    if missing:
        raise DataError(
            f"{path}: its header is `{','.join(names)[:80]}`, without one column {' and one column '.join(missing)}; "
            f"`{','.join(COLUMNS)}` is needed"
        )
    return {name: names.index(name) for name in COLUMNS}


def _number(place: str, column: str, text: str, most: int | None) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text) or (most is not None and int(text) > most):
        allowed = "a whole number from 0" + ("" if most is None else f" to {most}")
        raise DataError(f"{place}: the {column} is {text[:40]!r}; {allowed} is needed")
    return int(text)


def _in_order(path: Path, video: str, rows: Mapping[int, int]) -> np.ndarray:
    """Return the actions of a video by frame; ``DataError`` where a frame before the last one has no row."""
    missing = next((frame for frame in range(len(rows)) if frame not in rows), None)
    if missing is not None:
        raise DataError(f"{path}: frame {missing} of {video} has no row, but frame {max(rows)} has one; add it")
    return np.array([rows[frame] for frame in range(len(rows))], np.uint8)
