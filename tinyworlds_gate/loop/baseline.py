"""Compare the last attempt of a run with the accepted baseline (`--baseline FILE`, G9; docs/compare.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.compare.baseline_file import Baseline, read_baseline
from tinyworlds_gate.compare.comparison import Comparison, compare, without_comparison
from tinyworlds_gate.compare.effects import RECIPES
from tinyworlds_gate.compare.same_clips import TASK
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import ConfigError, GateError
from tinyworlds_gate.gate.attempt_record import InferenceAttempt
from tinyworlds_gate.gate.evidence import asked_settings
from tinyworlds_gate.gate.scorecard import digest_of
from tinyworlds_gate.loop.same_verdict import same_text
from tinyworlds_gate.loop.scorecards import scorecards_of_run
from tinyworlds_gate.names import ATTEMPTS
from tinyworlds_gate.reference.data.clip_reader import read_clips
from tinyworlds_gate.reports.model import RunRecord, build_record
from tinyworlds_gate.run.attempts import attempt_of
from tinyworlds_gate.run.journal import Event, last_event
from tinyworlds_gate.run.source_state import source_state

BETTER, NOT_WORSE = "better", "not worse"


def required_by(options: Mapping[str, Any]) -> str | None:
    """Return what the options require of the comparison: ``better``, ``not worse``, or nothing."""
    if options.get("require_better"):
        return BETTER
    return NOT_WORSE if options.get("fail_on") == "worse" else None


def require_usable_baseline(options: Mapping[str, Any], settings: Settings, root: Path) -> None:
    """Refuse, before anything starts, a baseline that cannot be read or is of another task.

    Raises:
        GateError: it is missing, edited or of another schema, or its context or its rollout is another.
    """
    path = root / str(options["baseline"])
    baseline, asked = read_baseline(path), asked_settings(settings, ATTEMPTS, None)
    for card in baseline.accepted[0].cards:
        for key, what in TASK.items():
            old, new = card.settings.get(key), asked.get(key)
            if old is not None and new is not None and old != new:
                raise ConfigError(
                    f"--baseline {path}: it cannot be compared with this run: {what} {old} in the baseline and {new} "
                    "here; use the settings of the baseline, or accept a run with the new ones"
                )


def require_common_clips(context: RunContext) -> None:
    """Refuse, before anything trains, a baseline on other clips than this run measures.

    Raises:
        ConfigError: no draw of this run has all clips of one of the baseline's scorecards.
    """
    options = _options(context.journal.events())
    if "baseline" not in options or not context.clips.draws:
        return
    path = context.layout.project_root / str(options["baseline"])
    cards = read_baseline(path).accepted[0].cards
    wanted = [{one.digest for one in card.clips} for card in cards]
    missing = list[int]()
    for draw, drawn in context.clips.draws.items():
        asked = asked_settings(context.settings, draw, drawn.path)
        length = int(asked["context"]) + int(asked["generation_steps"])
        starts = [one for one in drawn.starts if one not in set(context.clips.left_out.get(draw, ()))]
        clips = _clips(drawn.path, starts, length, asked)
        found = {digest_of(one[: asked["context"]], one[asked["context"] :]) for one in clips}
        missing += [len(one - found) for one in wanted]
        if 0 in missing:
            return
    raise ConfigError(
        f"--baseline {path}: it cannot be compared with this run: other clips ({min(missing)} of the "
        f"{len(cards[0].clips)} clips of {cards[0].name} are not measured here); run on the frames and the clip_seed "
        "of the baseline, or accept a run on the new ones"
    )


def _clips(path: Path, starts: list[int], length: int, asked: Mapping[str, Any]) -> Any:
    import numpy as np

    return read_clips(
        path, np.array(starts, np.int64), length, frame_size=int(asked["frame_size"]), stride=int(asked["stride"])
    ).frames


def compare_with_baseline(context: RunContext, attempt: InferenceAttempt) -> Event | None:
    """Compare an attempt with the baseline and journal it; once for each attempt and state of the file.

    Returns:
        The event `baseline_compared`; None without `--baseline`.
    """
    events = context.journal.events()
    options = _options(events)
    if "baseline" not in options:
        return None
    path = context.layout.project_root / str(options["baseline"])
    digest = sha256_of(path) if path.is_file() else None
    known = last_event(events, "baseline_compared")
    same = known is not None and attempt_of(known) == (attempt.number, attempt.draw)
    if known is not None and same and (known.get("baseline") or {}).get("sha256") == digest:
        return known
    found = comparison_with(build_record(context.layout.project_root, context.layout.root, events), path)
    event = context.journal.append(
        "baseline_compared",
        attempt=attempt.number,
        draw=attempt.draw,
        required=required_by(options),
        baseline={"path": str(options["baseline"]), "sha256": digest},
        **found.as_dict(),
    )
    context.say(f"compared with the baseline: {found.sentence}")
    return event


def comparison_with(record: RunRecord, path: Path) -> Comparison:
    """Return the comparison of a run's last weights with a baseline; NOT-COMPARABLE where one cannot be read."""
    try:
        baseline: Baseline = read_baseline(path)
        return compare(baseline.entries, [scorecards_of_run(record)])
    except GateError as error:
        return without_comparison(str(error).rstrip("."), RECIPES, path.name, record.run)


def contradicted_comparison(record: RunRecord) -> list[str]:
    """Return how the journal's comparison differs from the one that the files give now, a clause; empty: it does not.

    It is computed again where the baseline and the harness's code are those of the comparison.
    """
    event, last = last_event(record.events, "baseline_compared"), record.last_attempt
    if event is None or last is None:
        return []
    recorded, path = event.get("baseline") or {}, record.project_root / str((event.get("baseline") or {}).get("path"))
    bound = (last.verdict or {}).get("binding") or {}
    same_code = bound.get("harness_sha256") == source_state(record.project_root).harness_sha256
    if not same_code or not path.is_file() or sha256_of(path) != recorded.get("sha256"):
        return []
    now = comparison_with(record, path)
    if now.verdict != event.get("verdict") or not same_text(str(event.get("sentence")), now.sentence):
        return [f"the comparison with the baseline now says: {now.sentence.rstrip('.')}"]
    return []


def _options(events: list[Event]) -> Mapping[str, Any]:
    started: Event = next((event for event in events if event["event"] == "run_started"), {})
    return started.get("options") or {}
