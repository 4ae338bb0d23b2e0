"""Finding on the optional watch of a run from another terminal: M4."""

from __future__ import annotations

from tinyworlds_gate.findings.base import Finding, not_run
from tinyworlds_gate.names import INVALID, PASS
from tinyworlds_gate.run.formats import rounded_duration
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.watch.record import LATEST, latest_log, read_watch_logs


def long_watch(layout: RunLayout) -> Finding:
    """M4: PASS when a recorded watch of this run saw the run working at least once."""
    watches = read_watch_logs(layout)
    named = latest_log(layout)
    if named is not None and named not in [layout.relative(watch.log) for watch in watches]:
        latest = layout.relative(layout.histories / LATEST)
        return Finding("M4", INVALID, f"{latest} names {named}, which is no log of a watch of this run", latest)
    if not watches:
        return not_run("M4", "optional: no watch was started")
    longest = max(watches, key=lambda watch: (watch.observations, watch.seconds))
    path = layout.relative(longest.log)
    if longest.observations == 0:
        return not_run("M4", f"optional: a watch was started, but it never saw the run working ({path})")
    others = "" if len(watches) == 1 else f"; the longest of {len(watches)} watches"
    reason = (
        f"watched from another terminal: {longest.observations} observation(s) over "
        f"{rounded_duration(longest.seconds)} "
        f"(--for {longest.duration}){others}"
    )
    return Finding("M4", PASS, reason, path)
