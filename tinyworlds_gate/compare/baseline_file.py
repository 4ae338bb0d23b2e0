"""The project's baseline, `docs/baseline.json`: the scorecards of accepted runs with what their verdicts are bound to.

One clip is a line, so that a diff can be reviewed; a SHA-256 over the whole shows an edit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate import __version__
from tinyworlds_gate.compare.same_clips import common_clips
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.scorecard import Scorecard, ScorecardError, read_json, readable_json, scorecard_of

SCHEMA, VERSION = "tinyworlds-gate/baseline", 1
BINDING = ("clip_digest", "config_sha256", "dataset_sha256", "evaluation_sha256", "commit", "dirty", "harness_sha256")
"""Fields of a verdict's binding that a baseline keeps; the weights are on the scorecards."""
TEXTS = ("run", "verdict", "sentence", "timestamp")
AGAIN = "make it again: tinyworlds-gate accept results/RUN"


class BaselineError(GateError):
    """A baseline cannot be used."""


@dataclass(frozen=True)
class AcceptedRun:
    """A run whose verdict was accepted."""

    run: str
    verdict: str
    sentence: str
    timestamp: str
    binding: Mapping[str, Any]
    cards: tuple[Scorecard, ...]
    """On each draw that its weights were judged on, the final one first."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the file."""
        return {
            "run": self.run,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "timestamp": self.timestamp,
            "binding": dict(self.binding),
            "scorecards": [card.as_dict() for card in self.cards],
        }


@dataclass(frozen=True)
class Baseline:
    """The accepted runs: one, or several seeds of one recipe."""

    accepted: tuple[AcceptedRun, ...]
    picture_sha256: str | None = None
    """Of the film strip beside the file, `baseline.png`; None: there is none."""

    @property
    def entries(self) -> list[tuple[Scorecard, ...]]:
        """The scorecards of each run, as `compare` takes them."""
        return [one.cards for one in self.accepted]

    def as_text(self) -> str:
        """The content of the file."""
        body = {
            "schema": SCHEMA,
            "version": VERSION,
            "written_by": f"tinyworlds_gate {__version__}",
            "picture_sha256": self.picture_sha256,
            "accepted": [one.as_dict() for one in self.accepted],
        }
        return readable_json({**body, "sha256": _digest(body)}) + "\n"


def bound_fields(binding: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a baseline keeps of a verdict's binding."""
    return {key: (binding or {}).get(key) for key in BINDING}


def _digest(body: Mapping[str, Any]) -> str:
    """SHA-256 of the whole, whatever its spaces and line ends are."""
    plain = {key: value for key, value in body.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def is_baseline(path: Path) -> bool:
    """Whether a file claims to be a baseline, of any version."""
    try:
        data = read_json(path, BaselineError, "baseline")
    except BaselineError:
        return False
    return isinstance(data, dict) and data.get("schema") == SCHEMA


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        BaselineError: it is missing, of another schema or version, or was edited.
    """
    return baseline_of(read_json(path, BaselineError, "baseline"), str(path))


def baseline_of(data: Any, where: str) -> Baseline:
    """Return the baseline of plain data; raises BaselineError as :func:`read_baseline` does."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = str(data.get("schema") if isinstance(data, dict) else None)[:60]
        raise BaselineError(f"{where}: it is no baseline (its schema is {found!r}, not {SCHEMA!r}); {AGAIN}.")
    if data.get("version") != VERSION:
        raise BaselineError(
            f"{where}: the baseline has version {str(data.get('version'))[:20]}, this program reads version {VERSION}; "
            f"{AGAIN}."
        )
    if data.get("sha256") != _digest(data):
        raise BaselineError(f"{where}: the baseline was edited (its SHA-256 is another); restore it, or {AGAIN}.")
    try:
        accepted = tuple(_accepted(one, where) for one in data["accepted"])
    except (KeyError, TypeError, AttributeError) as error:
        raise BaselineError(f"{where}: the baseline is damaged ({error}); {AGAIN}.") from error
    except ScorecardError as error:
        raise BaselineError(str(error)) from error
    if not accepted:
        raise BaselineError(f"{where}: the baseline has no accepted run; {AGAIN}.")
    picture = data.get("picture_sha256")
    return Baseline(accepted, picture if isinstance(picture, str) else None)


def _accepted(data: Mapping[str, Any], where: str) -> AcceptedRun:
    cards = tuple(scorecard_of(one, where) for one in data["scorecards"])
    if not cards:
        raise ScorecardError(f"{where}: the accepted run {str(data['run'])[:80]} has no scorecard; {AGAIN}.")
    run, verdict, sentence, timestamp = (str(data[name])[:1000] for name in TEXTS)
    return AcceptedRun(run, verdict, sentence, timestamp, dict(data["binding"]), cards)


def baseline_with(runs: Sequence[AcceptedRun], picture_sha256: str | None = None) -> Baseline:
    """Return the baseline of these runs.

    Raises:
        BaselineError: two have the same weights, or they share no clips.
    """
    known = dict[tuple[tuple[str, str], ...], str]()
    for one in runs:
        key = tuple(sorted(one.cards[0].weights.items()))
        if key in known:
            raise BaselineError(
                f"{known[key]} and {one.run} have the same weights, so that they are one model; name each model once."
            )
        known[key] = one.run
    baseline = Baseline(tuple(runs), picture_sha256)
    if (problem := common_clips(baseline.entries)) is not None:
        raise BaselineError(f"These runs cannot be one baseline: {problem}. Accept runs of one recipe.")
    return baseline
