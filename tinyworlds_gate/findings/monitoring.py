"""The watch of a run from another terminal: M4, which nobody has to ask for."""

from __future__ import annotations

from tinyworlds_gate.findings.base import PASS, Finding, not_run
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.watch.durations import short
from tinyworlds_gate.watch.record import watches_of


def long_watch(layout: RunLayout) -> Finding:
    """M4: a watch of this run left its record; it counts when it saw the run at work at least once."""
    watches = watches_of(layout)
    if not watches:
        return not_run("M4", "optional: no watch was started")
    longest = max(watches, key=lambda watch: (watch.seen, watch.seconds))
    path = layout.relative(longest.log)
    if longest.seen == 0:
        return not_run("M4", f"optional: a watch was started, but it never saw the run at work ({path})")
    others = "" if len(watches) == 1 else f"; the longest of {len(watches)} watches"
    told = (
        f"watched from another terminal: {longest.seen} look(s) recorded over {short(longest.seconds)} "
        f"(--for {longest.asked}){others}"
    )
    return Finding("M4", PASS, told, path)
