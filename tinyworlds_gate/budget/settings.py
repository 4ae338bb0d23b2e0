"""The settings of a try: what the command gets, and how it is judged. All come from the harness's command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """How the models of every try are measured; a checkpoint changes none of it.

    ``clips`` of ``context`` true and ``steps`` generated frames; ``most_actions``: action codes that a model may have,
    because a code carries what the latent-action model saw of the true next frame.
    """

    clips: int = 64
    context: int = 3
    steps: int = 12
    decode_steps: int = 16
    rollout: str = "tokens"
    memory_window: int | None = None
    token_choice: str = "likeliest"
    most_actions: int = 16
    device: str = "auto"
    timeout_s: float = 3600.0

    @property
    def length(self) -> int:
        """Frames of a clip."""
        return self.context + self.steps


@dataclass(frozen=True, kw_only=True)
class FrameSettings:
    """Where frames come from: a file that is split by episode, or a game that is played before and after the training.

    ``seed`` is that of the training frames of a game. The held-out frames are chosen or played with a random seed.
    """

    data: Path | None = None
    held_out_fraction: float = 0.2
    game: str | None = None
    num_frames: int = 6000
    held_out_episodes: int = 32
    episode_length: int = 125
    frame_size: int = 64
    seed: int = 0
    workers: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrySettings:
    """A command with its time, its frames and its judge."""

    folder: Path
    command: tuple[str, ...]
    seconds: float
    frames: FrameSettings
    judge: JudgeSettings
    predict: tuple[str, ...] | None = None
    """Generates frames after the training, in place of checkpoints."""
    predict_seconds: float = 60.0
    writable: tuple[Path, ...] = ()
    landlock: bool = True
    network: bool = False
    most_output_bytes: int = 8 * 2**30

    def require_possible(self) -> None:
        """Refuse settings that no try can have.

        Raises:
            ConfigError: one sentence.
        """
        if (self.frames.data is None) == (self.frames.game is None):
            raise ConfigError(
                "--data FILE.h5 or --game NAME is needed, and only one of them: where the frames come from"
            )
        if self.frames.game is not None and self.frames.episode_length < self.judge.length:
            raise ConfigError(
                f"--episode-length {self.frames.episode_length}: a clip has {self.judge.length} frames (--context "
                f"{self.judge.context} and --steps {self.judge.steps}); give at least as many"
            )
        inside = [one for one in self.writable if self.folder.resolve().is_relative_to(one.resolve())]
        if inside:
            raise ConfigError(
                f"--writable {inside[0]}: it contains {self.folder}, where the leaderboard is; name another folder"
            )

    def as_record(self) -> dict[str, Any]:
        """The settings of frames and judge as plain data, for the result."""
        frames = {key: value for key, value in asdict(self.frames).items() if value is not None and key != "workers"}
        if self.frames.data is not None:
            frames = {"data": self.frames.data.name, "held_out_fraction": self.frames.held_out_fraction}
        judge = {key: value for key, value in asdict(self.judge).items() if key != "timeout_s"}
        return {"frames": frames, "judge": judge}
