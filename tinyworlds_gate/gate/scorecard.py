"""A scorecard: what the harness itself computed on each clip of one attempt, so that two models can be compared.

It is written beside the measures file of an attempt and bound to its verdict (docs/compare.md). Nothing in it is what
the inference process states: errors, baselines and objects are those of the frames that the harness read.

Axes: B clips, P context frames, S generated frames.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.measures.clip_facts import ClipFacts
from tinyworlds_gate.gate.measures.objects.measure import ObjectCounts
from tinyworlds_gate.gate.measures.recomputed_errors import Recomputed
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.plain_json import parse_json

SCHEMA, VERSION = "tinyworlds-gate/scorecard", 1
METRIC_VERSION = 1
"""Counts up when the meaning of a number on a scorecard changes; other versions are not compared."""
SUFFIX = "_scorecard.json"
DIGITS = 6
"""Significant digits of an error."""
DIGEST_DIGITS = 16
"""Of the SHA-256 of a clip."""
MOST_CLIPS = 100_000
MOST_BYTES = 64 * 2**20
SETTINGS = (
    *("context", "generation_steps", "teacher_forced", "frame_size", "stride", "prediction_horizon", "decode_steps"),
    *("temperature", "rollout", "memory_window", "token_choice", "n_actions", "seed", "clip_draw", "clip_seed"),
)
"""How the clips were measured; None: not known."""
COLUMNS = ("digest", "episode", "error", "strongest", "copy_last", "random", "true", "found", "generated", "kinds")
FIX = "take a file that this program wrote (docs/compare.md)"
_DIGEST = re.compile(rf"[0-9a-f]{{{DIGEST_DIGITS}}}")
KIND = ("colour", "height_px", "width_px")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ScorecardError(GateError):
    """A scorecard cannot be read."""


@dataclass(frozen=True)
class ClipScore:
    """One clip: mean squared errors over its generated frames (frames in [0, 1]), and its objects."""

    digest: str
    """Of the shape and the pixels of context and true frames."""
    episode: int
    error: float
    strongest: float
    """Of the strongest prediction without a model."""
    copy_last: float
    random: float | None
    """With random actions; None: not measured."""
    true: int
    found: int
    generated: int
    """Objects in the true frames, those of them that were found, and found ones with those that should not be there."""
    kinds: tuple[tuple[int, int], ...] = ()
    """Of each frequent kind: objects in the true frames, and found ones."""

    def as_row(self) -> list[Any]:
        """The values of ``COLUMNS``."""
        return [getattr(self, name) for name in COLUMNS[:-1]] + [[list(one) for one in self.kinds]]


@dataclass(frozen=True)
class Scorecard:
    """All clips of one attempt, and what was measured how."""

    name: str
    """What a person calls it: `RUN, attempt 1`, or a file."""
    source: str | None
    """What it was measured on: the run with its timestamp, or a file's hash; two cards of one source are the same."""
    settings: Mapping[str, Any]
    clips: tuple[ClipScore, ...]
    strongest_baseline: str
    weights: Mapping[str, str] = field(default_factory=dict)
    """Stage → SHA-256; empty for frames of another program."""
    trained: Mapping[str, Any] = field(default_factory=dict)
    """``seed``, ``profile`` and ``commit`` of the run that trained the weights, where known."""
    frames_per_s: float | None = None
    """Generated frames over the wall time of the inference process, its start included."""
    kinds: tuple[Mapping[str, Any], ...] = ()
    """What the frequent kinds of objects look like."""
    metric_version: int = METRIC_VERSION

    @cached_property
    def clip_set(self) -> str:
        """SHA-256 of the clips' digests, in any order: the same for the same clips."""
        return hashlib.sha256("\n".join(sorted(one.digest for one in self.clips)).encode()).hexdigest()

    @property
    def episodes(self) -> int:
        """How many episodes the clips lie in."""
        return len({one.episode for one in self.clips})

    @property
    def mse(self) -> float:
        """The mean error of all clips."""
        return sum(one.error for one in self.clips) / len(self.clips)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a file; :func:`scorecard_of` reads it."""
        plain = {key: value for key, value in asdict(self).items() if key != "clips"}
        plain |= {"kinds": [dict(one) for one in self.kinds]}
        return {
            "schema": SCHEMA,
            "version": VERSION,
            **plain,
            "columns": list(COLUMNS),
            "clips": [one.as_row() for one in self.clips],
        }

    def as_text(self) -> str:
        """The content of a file, one clip a line."""
        return readable_json(self.as_dict()) + "\n"


def readable_json(value: Any, indent: str = "") -> str:
    """Return JSON in which a list of rows has one row a line, so that a diff shows the clip that changed."""
    deeper = indent + " "
    if isinstance(value, dict) and value and any(isinstance(one, dict | list) for one in value.values()):
        rows = [f"{deeper}{json.dumps(key)}: {readable_json(one, deeper)}" for key, one in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and value and any(isinstance(one, dict | list) for one in value):
        nested = any(isinstance(one, dict) for one in value)
        rows = [deeper + (readable_json(one, deeper) if nested else _line(one)) for one in value]
        return "[\n" + ",\n".join(rows) + f"\n{indent}]"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def rounded(value: float) -> float:
    """Return an error with as many digits as a scorecard has."""
    return float(f"{value:.{DIGITS - 1}e}")


def clip_scores(facts: ClipFacts, made: Recomputed, objects: ObjectCounts) -> tuple[ClipScore, ...]:
    """Return what the harness found of each clip; one that is there twice counts once, with the larger error."""
    random_B = None if made.random_mse_BS is None else made.random_mse_BS.mean(axis=1)
    strongest_B = facts.baselines.mse_BS[facts.baselines.strongest].mean(axis=1)
    scores = dict[str, ClipScore]()
    for clip in range(len(facts.true_BSHWC)):
        random = math.nan if random_B is None else float(random_B[clip])
        score = ClipScore(
            digest=digest_of(facts.context_BPHWC[clip], facts.true_BSHWC[clip]),
            episode=int(facts.episodes[clip]),
            error=rounded(float(made.mse_BS[clip].mean())),
            strongest=rounded(float(strongest_B[clip])),
            copy_last=rounded(float(facts.copy_last_mse_BS[clip].mean())),
            random=rounded(random) if math.isfinite(random) else None,
            true=int(objects.true[clip]),
            found=int(objects.found[clip]),
            generated=int(objects.generated[clip]),
            kinds=tuple((int(true[clip]), int(found[clip])) for _, true, found in objects.kinds),
        )
        if score.digest not in scores or scores[score.digest].error < score.error:
            scores[score.digest] = score
    return tuple(scores.values())


def digest_of(context_PHWC: np.ndarray, true_SHWC: np.ndarray) -> str:
    """Return the first digits of the SHA-256 of a clip's frames and their number."""
    digest = hashlib.sha256(json.dumps([context_PHWC.shape, true_SHWC.shape]).encode())
    for frames in (context_PHWC, true_SHWC):
        digest.update(np.ascontiguousarray(frames).tobytes())
    return digest.hexdigest()[:DIGEST_DIGITS]


def measuring_settings(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the clips were measured, from raw measures."""
    return {key: raw.get(key) for key in SETTINGS}


def scorecard_path(measures_file: Path) -> Path:
    """Return where the scorecard of a measures file lies."""
    return measures_file.with_name(f"{measures_file.stem}{SUFFIX}")


def read_scorecard(path: Path) -> Scorecard:
    """Read a scorecard's file.

    Raises:
        ScorecardError: it is missing, too large, or no scorecard of this version.
    """
    return scorecard_of(read_json(path, ScorecardError, "scorecard"), str(path))


def read_json(path: Path, refuse: type[GateError], what: str) -> Any:
    """Read a JSON file of limited size."""
    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise refuse(f"{path}: it has more than {MOST_BYTES // 2**20} MiB, so it is no {what}; {FIX}.")
        if path.exists() and not path.is_file():
            raise refuse(f"{path}: it is no file; name a {what}.")
        return parse_json(path.read_bytes())
    except OSError as error:
        raise refuse(f"{path}: the {what} cannot be read ({error.strerror}); name another file.") from error
    except ValueError as error:
        raise refuse(f"{path}: it is not JSON ({error}), so it is no {what}; {FIX}.") from error


def scorecard_of(data: Any, where: str) -> Scorecard:
    """Return the scorecard of plain data.

    Raises:
        ScorecardError: something is missing or malformed.
    """
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise ScorecardError(f"{where}: it is no scorecard (its schema is {str(found)[:60]!r}, not {SCHEMA!r}); {FIX}.")
    if data.get("version") != VERSION:
        raise ScorecardError(
            f"{where}: the scorecard has version {str(data.get('version'))[:20]}; this program reads version "
            f"{VERSION}. Make it again with this program (`score --scorecard FILE`, or a new run)."
        )
    try:
        return _checked(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ScorecardError(f"{where}: the scorecard is damaged ({error}); {FIX}.") from error


def _checked(data: Mapping[str, Any]) -> Scorecard:
    if data["columns"] != list(COLUMNS):
        raise ValueError("it has other columns")
    kinds = tuple(_kind(one) for one in data["kinds"])
    rows = data["clips"]
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_CLIPS:
        raise ValueError(f"it has no clips, or more than {MOST_CLIPS:,}")
    clips = tuple(_clip(row, len(kinds)) for row in rows)
    if len({one.digest for one in clips}) < len(clips):
        raise ValueError("a clip is in it twice")
    weights = _mapping(data["weights"], "weights")
    if not all(stage in STAGES and _SHA256.fullmatch(str(one)) for stage, one in weights.items()):
        raise ValueError("its weights are no SHA-256 by stage")
    source, speed, metric = data["source"], data["frames_per_s"], data["metric_version"]
    if not isinstance(data["name"], str) or not isinstance(source, str | None) or type(metric) is not int:
        raise ValueError("its name, source or metric version is malformed")
    return Scorecard(
        name=data["name"][:200],
        source=source,
        settings=_mapping(data["settings"], "settings"),
        clips=clips,
        strongest_baseline=str(data["strongest_baseline"])[:200],
        weights=weights,
        trained=_mapping(data["trained"], "trained"),
        frames_per_s=None if speed is None else _number(speed, "frames_per_s"),
        kinds=kinds,
        metric_version=metric,
    )


def _clip(row: Any, kinds: int) -> ClipScore:
    if not isinstance(row, list) or len(row) != len(COLUMNS):
        raise ValueError(f"a clip has not the {len(COLUMNS)} columns")
    digest, episode, *errors, true, found, generated, of_kinds = row
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"a clip has no digest of {DIGEST_DIGITS} hexadecimal digits")
    where = f"clip {digest}"
    if type(episode) is not int:
        raise ValueError(f"{where} has no whole number as its episode")
    error, strongest, copy_last = (_number(one, f"an error of {where}") for one in errors[:3])
    random = None if errors[3] is None else _number(errors[3], f"an error of {where}")
    counts = [_count(one, where) for one in (true, found, generated)]
    pairs = tuple((_count(of_true, where), _count(of_found, where)) for of_true, of_found in of_kinds)
    if len(pairs) != kinds or any(some > most for most, some in (*pairs, (counts[0], counts[1]))):
        raise ValueError(f"{where} has more objects found than there are, or other kinds")
    if counts[1] > counts[2]:
        raise ValueError(f"{where} has more objects found than generated")
    return ClipScore(digest, episode, error, strongest, copy_last, random, counts[0], counts[1], counts[2], pairs)


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{what} is {str(value)[:40]!r}, not a number from 0")
    return float(value)


def _count(value: Any, where: str) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{where} has a number of objects that is none")
    return value


def _kind(value: Any) -> dict[str, Any]:
    kind = _mapping(value, "a kind")
    if set(kind) != set(KIND) or not _COLOUR.fullmatch(str(kind["colour"])):
        raise ValueError("a kind of objects has other fields than colour, height_px and width_px")
    return {"colour": kind["colour"], **{key: _count(kind[key], "a kind") for key in KIND[1:]}}


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what}: no mapping")
    return value


def same_content(one: Scorecard, other: Scorecard) -> bool:
    """Whether two scorecards state the same, apart from the speed."""
    return _without_speed(one) == _without_speed(other)


def _without_speed(card: Scorecard) -> str:
    return json.dumps(card.as_dict() | {"frames_per_s": None}, sort_keys=True)
