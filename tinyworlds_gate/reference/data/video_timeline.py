"""Choose the frames of a recording that are shown at equal intervals, and find where it breaks (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

Frame = TypeVar("Frame")

LONGEST_HOLD_S = 1.0
"""A frame that is shown for longer is a pause of the recording: a new episode begins after it."""
SAME_TIME_S = 1e-3
"""Times that differ by less are the same; some containers round them to milliseconds."""


class Break(NamedTuple):
    """Where a recording breaks: seconds of its clock before and after, and frames that were kept until then."""

    before_s: float
    after_s: float
    kept: int

    def sentence(self) -> str:
        """Return what happened there."""
        if self.after_s < self.before_s:
            return f"the clock goes back from {self.before_s:.1f} s to {self.after_s:.1f} s"
        return f"a pause from {self.before_s:.1f} s to {self.after_s:.1f} s"


class Timeline:
    """Frames at ``rate`` a second from frames with times in seconds, as a player shows them.

    At each interval, the frame is kept that is shown then: the last one whose time has come. If the clock goes back, or
    stands for longer than ``LONGEST_HOLD_S``, a new episode begins with a grid of its own.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.breaks: list[Break] = []
        self.first_s: float | None = None
        self.last_s: float | None = None
        """Time of the last frame that was read."""
        self.kept = 0
        self._episode_kept = 0

    @property
    def episode(self) -> int:
        """Number of the episode that is read now, from 0."""
        return len(self.breaks)

    def kept_frames(self, timed: Iterable[tuple[float, Frame]]) -> Iterator[tuple[Frame, int]]:
        """Yield each kept frame with its episode; a frame that is shown for several intervals comes several times."""
        shown: Frame | None = None
        for time, frame in timed:
            if self.first_s is None or self.last_s is None:
                self.first_s = time
            else:
                assert shown is not None
                broken = time < self.last_s - SAME_TIME_S or time > self.last_s + LONGEST_HOLD_S
                for _ in range(self._due(self.last_s + SAME_TIME_S if broken else time - SAME_TIME_S)):
                    yield shown, self.episode
                if broken:
                    self.breaks.append(Break(self.last_s, time, self.kept))
                    self.first_s, self._episode_kept = time, 0
            self.last_s, shown = time, frame
        if shown is not None and self.last_s is not None:
            for _ in range(self._due(self.last_s + SAME_TIME_S)):
                yield shown, self.episode

    def _due(self, until_s: float) -> int:
        """Count the intervals up to this time that have no frame yet, and take them as kept."""
        assert self.first_s is not None
        due = (
            max(0, int((until_s - self.first_s) * self._rate) + 1 - self._episode_kept)
            if until_s >= self.first_s
            else 0
        )
        self.kept += due
        self._episode_kept += due
        return due
