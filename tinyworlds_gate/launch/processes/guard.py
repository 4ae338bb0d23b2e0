"""One active training launcher per project: whatever else trains it is ended at once, or only recorded (L2, H5)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.launch.processes.end import EndedProcess, end_processes, left_alone
from tinyworlds_gate.launch.processes.find import carries_launch, find_stage_processes, node_marker
from tinyworlds_gate.launch.processes.tree import descendants
from tinyworlds_gate.run.identity import ProcessIdentity
from tinyworlds_gate.targets.base import Target

LONGEST_INTERVAL_S = 2.0
_EXTRA_GRACE_S = 1.0


@dataclass
class LauncherGuard:
    """Looks for stage processes that are not of this launch, before, during and after it.

    ``launcher`` tells who our launcher is (None before it starts); ``interval_s`` is the monitor's, and at least every
    2 s is looked. Without ``cleanup`` what was found is only recorded. ``extra`` holds what became of each.
    """

    target: Target
    token: str
    launcher: Callable[[], ProcessIdentity | None]
    interval_s: float
    cleanup: bool
    rendezvous: Rendezvous | None = None
    """Training for another node of the same run may run on this machine; it is not extra."""
    extra: dict[ProcessIdentity, EndedProcess] = field(default_factory=dict)
    _of_other_nodes: set[ProcessIdentity] = field(default_factory=set)
    """Once recognised, always: a process that is ending does not show its environment any more."""
    _next: float = 0.0

    def look_if_due(self) -> None:
        """Look when the interval since the last look is over."""
        if time.monotonic() >= self._next:
            self.look()

    def look(self) -> None:
        """Look now, and end what has no business here."""
        self._next = time.monotonic() + min(LONGEST_INTERVAL_S, self.interval_s)
        running = [one for one in find_stage_processes(self.target) if one.identity not in self.extra]
        found = [one for one in running if not carries_launch(one.pid, self.token)]
        if self.rendezvous is not None:
            self._of_other_nodes.update(
                one.identity for one in found if self.rendezvous.is_another_node(node_marker(one.pid))
            )
            found = [one for one in found if one.identity not in self._of_other_nodes]
        if found:  # looked at after the search, so that a worker born meanwhile counts as ours
            ours = self.live_tree()
            found = [one for one in found if one.pid not in ours and one.identity.is_alive()]
        if not self.cleanup:
            self.extra.update((one.identity, left_alone(one)) for one in found)
        elif found:
            by_pid = {one.pid: one.identity for one in found}
            for record in end_processes(found, grace_s=min(_EXTRA_GRACE_S, self.interval_s)):
                self.extra[by_pid.get(record.pid, ProcessIdentity(record.pid, -1.0))] = record

    def live_tree(self) -> set[int]:
        """The PIDs of our launcher and its descendants; empty when it has ended (its PID may be another's by now)."""
        launcher = self.launcher()
        if launcher is None or not launcher.is_alive():
            return set()
        return {launcher.pid, *descendants(launcher.pid)}
