"""The true game beside the model: its emulator in a process of its own, set to the frame at which a context ends.

A frames file of an embedded game records game, seed and episode, so that the recorded actions lead to that frame again.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import psutil

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frames_file import FramesData, resize_frames
from tinyworlds_gate.reference.games.live import ACTION_NAMES, LIVE_GAMES

ANSWER_S = 30.0
"""Time for an answer of the emulator; starting the first one takes seconds."""
END_S = 3.0


class TrueGame:
    """A process that plays one game; `frame` is what it shows now, `ended` whether it goes on."""

    def __init__(self, name: str, seed: int, native_size: int, shown_size: int) -> None:
        """Start the process. Frames are made at ``native_size`` px, that of the file, and shown at ``shown_size``."""
        self.name, self._seed, self._shown_size = name, seed, shown_size
        self.ended = False
        self.frame: np.ndarray | None = None
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, native_size), daemon=True)
        self._process.start()
        theirs.close()

    def start_at(self, episode: int, actions: Sequence[int], expected: np.ndarray) -> None:
        """Play ``actions`` from the start of an episode, after which the game must show ``expected``.

        Raises:
            DataError: it shows another frame, or the process has died.
        """
        self._take(self._ask("start", self._seed, episode, [int(one) for one in actions]))
        if self.frame is None or not np.array_equal(self.frame, expected):
            raise DataError(
                f"the installed emulator of {self.name} shows another picture than the frames file here (another "
                "version?), so the true game is left out for this clip"
            )

    def step(self, action: int) -> None:
        """Take an action; an ended game keeps its last frame.

        Raises:
            DataError: the process has died.
        """
        if not self.ended:
            self._take(self._ask("step", int(action)))

    def close(self) -> None:
        """End the process, and the engines that it has started."""
        try:
            below = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.Error:
            below = []
        self._pipe.close()
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(END_S)
        for engine in below:
            try:
                engine.kill()
            except psutil.Error:
                continue

    def _take(self, answer: tuple[np.ndarray | None, bool]) -> None:
        frame, self.ended = answer
        if frame is not None:
            resized = frame.shape[0] != self._shown_size
            self.frame = resize_frames(frame[None], self._shown_size)[0] if resized else frame

    def _ask(self, *request: Any) -> tuple[np.ndarray | None, bool]:
        try:
            self._pipe.send(request)
            if not self._pipe.poll(ANSWER_S):
                raise DataError(f"the emulator of {self.name} has not answered for {ANSWER_S:g} s; it is left out")
            answer = self._pipe.recv()
        except (OSError, EOFError):
            self._process.join(END_S)
            code = self._process.exitcode
            raise DataError(f"the emulator of {self.name} has died (exit code {code}); it is left out") from None
        if isinstance(answer, str):
            raise DataError(f"the emulator of {self.name} has failed ({answer}); it is left out")
        frame, ended = answer
        return frame, ended


def recorded_game(data: FramesData) -> Mapping[str, Any] | None:
    """Return name, seed and frame size of the embedded game that made a frames file; None for other frames."""
    name, seed, size = (data.attrs.get(key) for key in ("game", "seed", "frame_size"))
    if name not in LIVE_GAMES or seed is None or size is None or data.actions is None or not data.has_true_episodes:
        return None
    return {"name": str(name), "seed": int(seed), "native_size": int(size)}


def action_names(data: FramesData) -> Sequence[str]:
    """Return the name of each action that the file records; `action 3` where it names none."""
    known = ACTION_NAMES.get(str(data.attrs.get("game")), ())
    count = 0 if data.actions is None or not len(data.actions) else int(data.actions.max()) + 1
    return known if len(known) >= count else [f"action {number}" for number in range(count)]


def _serve(pipe: Connection, name: str, frame_size: int) -> None:
    """Answer `start` and `step` until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    game = None
    while True:
        try:
            what, *values = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            game = game or LIVE_GAMES[name](frame_size)
            if what == "step":
                answer = game.step(*values)
            else:
                seed, episode, actions = values
                answer = (game.reset(seed, episode), False)
                for action in actions:
                    answer = game.step(action)
        except Exception as error:  # noqa: BLE001  whatever an emulator raises, the model can still be played
            pipe.send(f"{type(error).__name__}: {error}")
            return
        pipe.send(answer)
