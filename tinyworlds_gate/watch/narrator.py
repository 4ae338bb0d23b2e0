"""Turns looks at a run into the lines of a log: what is new at once, where it stands every minute. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.watch.plain import ALERT, EVENT, OVER, Line, status_line
from tinyworlds_gate.watch.view import Alert, View
from tinyworlds_gate.watch.words import sentence_of


class Narrator:
    """``every_s``: seconds between two lines on where the run stands."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._told_at: float | None = None
        self._alerts: dict[str, Alert] = {}

    def lines(self, view: View, new_events: Sequence[Event]) -> list[Line]:
        """The lines for one look. What happened before the watch began is not told again: the first is a status."""
        now, first = view.now, self._told_at is None
        lines = [] if first else [Line(float(e["time"]), EVENT, told) for e in new_events if (told := sentence_of(e))]
        alerts = {alert.about: alert for alert in view.alerts}
        lines += [Line(now, ALERT, alert.told) for about, alert in alerts.items() if about not in self._alerts]
        over = [alert for about, alert in self._alerts.items() if about not in alerts]
        lines += [Line(now, OVER, f"{alert.about}: no longer so: {alert.told}") for alert in over]
        self._alerts = alerts
        if self._told_at is None or now < self._told_at or now - self._told_at >= self._every_s:
            lines.append(status_line(view))
            self._told_at = now
        return lines
