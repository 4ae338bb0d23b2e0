"""Allow one active training launcher per project: end, or only record, all other training of it (L2, H5)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tinyworlds_gate.config.rendezvous import Rendezvous
from tinyworlds_gate.launch.processes.end import EndedProcess, end_processes, skipped_record
from tinyworlds_gate.launch.processes.find import belongs_to_launch, find_stage_processes, node_marker
from tinyworlds_gate.launch.processes.tree import descendants
from tinyworlds_gate.run.identity import ProcessIdentity
from tinyworlds_gate.targets.base import Target

MAX_INTERVAL_S = 2.0
_EXTRA_GRACE_S = 1.0


@dataclass
class LauncherGuard:
    """Finds stage processes that do not belong to this launch, before, during and after it.

    ``launcher`` returns the identity of our launcher (None before it starts); checks run every ``interval_s``, at most
    2 s apart. Without ``cleanup`` extra processes are only recorded. ``extra`` maps each to its outcome.
    """

    target: Target
    token: str
    launcher: Callable[[], ProcessIdentity | None]
    interval_s: float
    cleanup: bool
    rendezvous: Rendezvous | None = None
    """Training for another node of the same run may share this machine; it is not extra."""
    extra: dict[ProcessIdentity, EndedProcess] = field(default_factory=dict)
    _of_other_nodes: set[ProcessIdentity] = field(default_factory=set)
    """Remembered, because a process that is ending no longer shows its environment."""
    _next: float = 0.0

    def check_if_due(self) -> None:
        """Check if the interval since the last check is over."""
        if time.monotonic() >= self._next:
            self.check()

    def check(self) -> None:
        """Find extra training processes now, and end or record them."""
        self._next = time.monotonic() + min(MAX_INTERVAL_S, self.interval_s)
        running = [one for one in find_stage_processes(self.target) if one.identity not in self.extra]
        found = [one for one in running if not belongs_to_launch(one.pid, self.token)]
        if self.rendezvous is not None:
            self._of_other_nodes.update(
                one.identity for one in found if self.rendezvous.is_another_node(node_marker(one.pid))
            )
            found = [one for one in found if one.identity not in self._of_other_nodes]
        if found:  # read the tree after the search, so that a worker started meanwhile counts as ours
            ours = self.live_tree()
            found = [one for one in found if one.pid not in ours and one.identity.is_alive()]
        if not self.cleanup:
            self.extra.update((one.identity, skipped_record(one)) for one in found)
        elif found:
            by_pid = {one.pid: one.identity for one in found}
            for record in end_processes(found, grace_s=min(_EXTRA_GRACE_S, self.interval_s)):
                self.extra[by_pid.get(record.pid, ProcessIdentity(record.pid, -1.0))] = record

    def live_tree(self) -> set[int]:
        """Return the PIDs of our launcher and its descendants; empty if it has ended (its PID may be reused)."""
        launcher = self.launcher()
        if launcher is None or not launcher.is_alive():
            return set()
        return {launcher.pid, *descendants(launcher.pid)}
