"""One person's session: the model, the true game beside it, the recording and the measured speed.

Every method runs in the same thread, one at a time (`server.py` has an executor for it).
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tinyworlds_gate.errors import ConfigError, DataError
from tinyworlds_gate.play.meanings import idle_code, keys_of_codes
from tinyworlds_gate.play.recording import MOST_FRAMES, mp4, side_by_side
from tinyworlds_gate.play.session import PlaySession
from tinyworlds_gate.play.true_game import TrueGame, recorded_game
from tinyworlds_gate.play.world import PlayWorld

TIMES = 500
"""Steps over which the latency is computed, at most."""
RECORDED_FPS = 12


@dataclass(frozen=True)
class View:
    """What the page shows after a request: facts, and frames uint8 [F, H, W, 3] of the model and of the true game."""

    facts: Mapping[str, Any]
    model_frames: np.ndarray
    game_frames: np.ndarray | None


class Driver:
    """Answers the requests of the page; each returns the new `View`."""

    def __init__(self, world: PlayWorld) -> None:
        self.world = world
        self._session = PlaySession(world.trained.models, world.settings, world.device)
        recorded = recorded_game(world.data)
        self._game = None if recorded is None else TrueGame(**recorded, shown_size=world.frame_size)
        self._game_problem = ""
        self._recording: list[np.ndarray] | None = None
        self._records, self._recorded_fps = False, RECORDED_FPS
        self._shown = np.empty((0, world.frame_size, world.frame_size, 3), np.uint8)
        self._times: deque[float] = deque(maxlen=TIMES)
        self.clip = 0

    def close(self) -> None:
        """End the process of the true game."""
        if self._game is not None:
            self._game.close()
            self._game = None

    def about(self) -> dict[str, Any]:
        """Return what does not change: the title, the codes with their keys and meanings, and settings."""
        world = self.world
        found = world.meanings
        return {
            "title": world.title,
            "codes": [
                {
                    "code": one.code,
                    "keys": keys,
                    "text": one.text,
                    "name": one.name,
                    "clear": one.clear,
                    "share": one.share,
                    "seen": one.seen,
                }
                for one, keys in zip(found, keys_of_codes(found), strict=True)
            ],
            "idle": idle_code(found),
            "meanings_from": world.meanings_from,
            "transitions": sum(one.seen for one in found),
            "clips": len(world.starts),
            "frame_size": world.frame_size,
            "context": world.context,
            "horizon": world.settings.prediction_horizon,
            "device": str(world.device),
            "game": None if self._game is None else self._game.name,
            "checkpoints": {stage: one.path.name for stage, one in world.trained.references.items()},
        }

    def warm_up(self) -> None:
        """Take every shape of a step once, so that no step of the person's is slow."""
        warm_up(self._session, self.world)

    def begin(self) -> View:
        """Start for a person who has just loaded the page."""
        self._times.clear()
        self._records, self._recording = False, None
        return self.reset()

    def choose(self, clip: int) -> View:
        """Start again from a clip.

        Raises:
            ConfigError: there is no such clip.
        """
        if not 0 <= clip < len(self.world.starts):
            raise ConfigError(f"clip {clip + 1}: there are {len(self.world.starts)}")
        self.clip, self._game_problem = clip, ""
        context = self.world.context_frames(clip)
        self._session.reset(context)
        if self._game is not None:
            episode = int(self.world.data.episode[self.world.starts[clip]])
            self._try_game("start", episode, self.world.past_actions(clip).tolist(), context[-1])
        return self._view(context[-1:])

    def reset(self) -> View:
        """Start the same clip again."""
        return self.choose(self.clip)

    def next(self) -> View:
        """Start from the next clip; the first follows the last."""
        return self.choose((self.clip + 1) % len(self.world.starts))

    def random(self) -> View:
        """Start from another clip."""
        others = [one for one in range(len(self.world.starts)) if one != self.clip]
        return self.choose(random.choice(others) if others else self.clip)

    def step(self, code: int) -> View:
        """Take an action code.

        Raises:
            ConfigError: there is no such code.
        """
        began = time.perf_counter()
        frames = self._session.step(code)
        self._times.append(time.perf_counter() - began)
        shown = []
        for frame in frames:
            if self._game is not None and not self._game_problem:
                self._try_game("step", self.world.meanings[code].action or 0)
            if (beside := self._game_frame()) is not None:
                shown.append(beside)
            if self._records and self._recording is not None and len(self._recording) < MOST_FRAMES:
                self._recording.append(side_by_side(frame, beside))
        return self._view(frames, np.stack(shown) if len(shown) == len(frames) else None)

    def record(self, on: bool, fps: int = RECORDED_FPS) -> View:
        """Begin a new recording, or end the present one; the video shows ``fps`` frames a second."""
        self._records = on
        if on:
            self._recording, self._recorded_fps = [], min(max(fps, 1), 60)
        return self._view(self._shown)

    def recording(self) -> bytes:
        """Return what was recorded as MP4.

        Raises:
            ConfigError: nothing was recorded.
        """
        if not self._recording:
            raise ConfigError("nothing is recorded yet: start a recording, then drive the model")
        width = max(frame.shape[1] for frame in self._recording)
        whole = [np.pad(one, ((0, 0), (0, width - one.shape[1]), (0, 0))) for one in self._recording]
        return mp4(whole, self._recorded_fps)

    def latency_ms(self) -> dict[str, float | None]:
        """Return median and 99th percentile of the time that the model took for a step."""
        if not self._times:
            return {"p50": None, "p99": None}
        p50, p99 = np.percentile(self._times, (50, 99)) * 1000
        return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}

    def _view(self, model_frames: np.ndarray, game_frames: np.ndarray | None = None) -> View:
        self._shown = model_frames[-1:]
        if game_frames is None and (frame := self._game_frame()) is not None:
            game_frames = frame[None].repeat(len(model_frames), axis=0)
        facts = {
            "clip": self.clip,
            "clip_text": self.world.clip_text(self.clip),
            "new_frames": self._session.new_frames,
            "recorded": None if self._recording is None else len(self._recording),
            "latency_ms": self.latency_ms(),
            "game_problem": self._game_problem,
            "game_ended": self._game is not None and self._game.ended,
        }
        return View(facts, model_frames, game_frames)

    def _game_frame(self) -> np.ndarray | None:
        return None if self._game is None or self._game_problem else self._game.frame

    def _try_game(self, what: str, *values: Any) -> None:
        """Start or step the true game; without it, the model can still be played."""
        assert self._game is not None
        try:
            if what == "start":
                self._game.start_at(*values)
            else:
                self._game.step(*values)
        except DataError as error:
            self._game_problem = str(error)


def warm_up(session: PlaySession, world: PlayWorld) -> int:
    """Take a step of every shape; return how many steps were taken."""
    session.reset(world.context_frames(0))
    steps = max(5, (world.settings.memory or world.context) - world.context + 2)
    for _ in range(steps):
        session.step(0)
    return steps


def measure(world: PlayWorld, frames: int) -> dict[str, Any]:
    """Step ``frames`` times with codes at random, without a server; return frames/s and latency as plain data.

    A step counts from the code to its frames as bytes. Steps before them warm up.
    """
    session = PlaySession(world.trained.models, world.settings, world.device)
    warm = warm_up(session, world)
    rng = random.Random(0)
    times: list[float] = []
    while len(times) < frames:
        began = time.perf_counter()
        new = session.step(rng.randrange(session.n_actions))
        times += [(time.perf_counter() - began) / len(new)] * len(new)
    p50, p99 = np.percentile(times, (50, 99)) * 1000
    return {
        "schema": 1,
        "frames": len(times),
        "warm_up": warm,
        "frames_per_s": round(len(times) / sum(times), 2),
        "latency_ms": {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(max(times) * 1000, 2)},
        "frame_size": world.frame_size,
        "context": world.context,
        "memory_window": world.settings.memory or world.context,
        "decode_steps": world.settings.decode_steps,
        "rollout": world.settings.space,
        "device": str(world.device),
        "threads": torch.get_num_threads(),
    }
