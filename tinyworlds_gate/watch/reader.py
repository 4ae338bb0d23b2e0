"""Read a run's journal and the files that it names; each call reads only what is new."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tinyworlds_gate.checkpoints.layout import parse_folder_name
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.watch.facts import Facts
from tinyworlds_gate.watch.followers import BeatsFollower, DevicesFollower, FolderFollower, LossesFollower, modified_s
from tinyworlds_gate.watch.journal_follower import JournalFollower
from tinyworlds_gate.watch.state import OpenChunk, RunState

CLOCK_GRAIN_S = 1.0
"""A chunk's file may appear this much older than the chunk, since file timestamps are coarse."""


@dataclass(frozen=True)
class Snapshot:
    """The run at one moment: the state from the journal, the facts from the files, and the new events."""

    state: RunState
    facts: Facts
    new_events: list[Event]


class RunReader:
    """Follows one run; can be created before the run has a journal, and after its end."""

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        self._journal = JournalFollower(layout.journal)
        self._state = RunState(layout.run)
        self._chunk: ChunkFiles | None = None

    def read(self) -> Snapshot:
        """Read what is new and return a snapshot.

        Raises:
            GateError: the journal is damaged before its last line.
        """
        found = self._journal.poll()
        if found.restarted:
            self._state, self._chunk = RunState(self._layout.run), None
        self._state = self._state.after_all(found.events)
        newest = self._state.newest_chunk
        if newest is not None and (self._chunk is None or self._chunk.chunk != newest):
            self._chunk = ChunkFiles(self._layout, newest, self._chunk)
        facts = Facts() if self._chunk is None else self._chunk.facts()
        log = self._state.log
        facts = replace(
            facts,
            log_modified=modified_s(self._layout.project_root / log) if log else None,
            journal_exists=self._journal.modified_s is not None,
        )
        return Snapshot(self._state, facts, found.events)


class ChunkFiles:
    """The files of a chunk; the followers of its stage are taken over from the chunk ``before``."""

    def __init__(self, layout: RunLayout, chunk: OpenChunk, before: ChunkFiles | None) -> None:
        self.chunk = chunk
        self._beats = BeatsFollower(layout.chunk_heartbeats(chunk.number))
        self._devices = DevicesFollower(layout.chunk_devices(chunk.number))
        self._stage: StageFiles = (
            before._stage
            if before is not None and before.chunk.stage == chunk.stage
            else StageFiles(layout, chunk.stage)
        )
        self._stage.losses.chunk_start = chunk.start

    def facts(self) -> Facts:
        """Return the current contents of the files."""
        since = self.chunk.since - CLOCK_GRAIN_S
        stage = self._stage
        stage.losses.read()
        return Facts(
            beats=self._beats.read(),
            losses=stage.losses.losses,
            history=stage.losses.arrivals(since),
            checkpoints=stage.checkpoints.arrivals(since),
            pictures=stage.pictures.arrivals(since),
            devices=self._devices.read(),
        )


class StageFiles:
    """The files of a stage, shared by all of its chunks."""

    def __init__(self, layout: RunLayout, stage: str) -> None:
        self.losses = LossesFollower(layout.history(stage))
        self.checkpoints = FolderFollower(layout.checkpoints(stage), lambda name: parse_folder_name(name) is not None)
        self.pictures = FolderFollower(layout.visualizations(stage), lambda name: name.endswith(".png"))
