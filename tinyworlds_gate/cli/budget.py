"""The command `tinyworlds-gate budget`: train with a command of yours within a time, and judge it on unseen clips.

    tinyworlds-gate budget --seconds 300 --game pong -- python train.py
    tinyworlds-gate budget --seconds 300 --data frames.h5 --predict "python predict.py" -- python train.py
    tinyworlds-gate budget --table

The last line of the output is the result, one JSON object. Exit status: 0 when the gate's verdict is PASS, 1 when it is
another or the try is INVALID, 2 when nothing was started.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

from tinyworlds_gate.cli.score_models import plain
from tinyworlds_gate.config.cli_values import parse_count, parse_positive_int, parse_whole
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import PASS
from tinyworlds_gate.reference.data.game_table import GAMES

_MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.usage = "tinyworlds-gate budget --seconds N (--data FILE.h5 | --game NAME) [options] -- COMMAND …"
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND …", help="trains; no shell runs it")
    parser.add_argument("--seconds", type=_seconds, help="for the command, from its start to its last process's end")
    parser.add_argument(
        "--folder", type=Path, default=Path("budget"), help="leaderboard and tries (default: %(default)s)"
    )
    parser.add_argument("--table", action="store_true", help="print the leaderboard and run nothing")
    parser.add_argument(
        "--predict",
        metavar="COMMAND",
        help="after the training, run this and judge the frames that it generates, in place of checkpoints",
    )
    parser.add_argument("--predict-seconds", type=_seconds, default=60.0, help="default: 60")
    parser.add_argument(
        "--writable", type=Path, action="append", default=[], metavar="DIR", help="the command may write here too"
    )
    parser.add_argument(
        "--max-output", type=parse_positive_int, default=8192, help="MiB of checkpoints (default: 8192)"
    )
    parser.add_argument(
        "--without-landlock", action="store_true", help="for commands that must write elsewhere; weaker, and recorded"
    )
    parser.add_argument("--network", action="store_true", help="let the command use the network; recorded")
    _add_frames(parser)
    _add_judge(parser)


def _add_frames(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("frames")
    group.add_argument("--data", type=Path, metavar="FILE.h5", help="frames; some episodes are held out at random")
    group.add_argument("--held-out-fraction", type=float, default=0.2, help="of --data (default: 0.2)")
    group.add_argument("--game", choices=list(GAMES), help="play this game: before the training, and anew after it")
    group.add_argument("--frames", type=parse_positive_int, default=6000, help="for training (default: 6000)")
    group.add_argument("--held-out-episodes", type=parse_positive_int, default=32, help="of --game (default: 32)")
    group.add_argument("--episode-length", type=parse_positive_int, default=125, help="of --game (default: 125)")
    group.add_argument("--frame-size", type=parse_positive_int, default=64, help="of --game, pixels (default: 64)")
    group.add_argument("--seed", type=parse_whole, default=0, help="of the training frames of --game (default: 0)")
    group.add_argument("--workers", type=parse_positive_int, help="processes that play (default: the CPUs)")


def _add_judge(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("judge")
    group.add_argument("--clips", type=parse_positive_int, default=64, help="measured (default: 64)")
    group.add_argument("--context", type=parse_positive_int, default=3, help="true frames given (default: 3)")
    group.add_argument("--steps", type=parse_positive_int, default=12, help="frames generated (default: 12)")
    group.add_argument("--decode-steps", type=parse_positive_int, default=16, help="MaskGIT passes (default: 16)")
    group.add_argument("--rollout", choices=("tokens", "pixels"), default="tokens", help="default: tokens")
    group.add_argument("--memory-window", type=parse_positive_int, help="frames that a step sees (default: --context)")
    group.add_argument("--token-choice", choices=("likeliest", "nearest_mean", "mean"), default="likeliest")
    group.add_argument("--max-actions", type=parse_positive_int, default=16, help="codes of a model (default: 16)")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="of the judge (default: auto)")
    group.add_argument("--judge-seconds", type=parse_count, default=3600, help="default: 3600")


def run(args: argparse.Namespace) -> int:
    """Run a try and print its result, or print the leaderboard; return the exit status of the module's docstring.

    Raises:
        GateError: nothing was started; exit status 2.
    """
    from tinyworlds_gate.budget.leaderboard import read_tries
    from tinyworlds_gate.budget.one_try import run_try
    from tinyworlds_gate.budget.settings import FrameSettings, JudgeSettings, TrySettings
    from tinyworlds_gate.budget.table import table_text

    command = args.words[1:] if args.words[:1] == ["--"] else args.words
    if args.table:
        print(table_text(read_tries(args.folder)))
        return 0
    if not command or args.seconds is None:
        raise ConfigError("--seconds N and, after `--`, a command are needed; `--table` prints the leaderboard")
    judge = JudgeSettings(
        clips=args.clips,
        context=args.context,
        steps=args.steps,
        decode_steps=args.decode_steps,
        rollout=args.rollout,
        memory_window=args.memory_window,
        token_choice=args.token_choice,
        most_actions=args.max_actions,
        device=args.device,
        timeout_s=float(args.judge_seconds),
    )
    frames = FrameSettings(
        data=None if args.data is None else args.data.absolute(),
        held_out_fraction=args.held_out_fraction,
        game=args.game,
        num_frames=args.frames,
        held_out_episodes=args.held_out_episodes,
        episode_length=args.episode_length,
        frame_size=args.frame_size,
        seed=args.seed,
        workers=args.workers,
    )
    settings = TrySettings(
        folder=args.folder,
        command=tuple(command),
        seconds=args.seconds,
        frames=frames,
        judge=judge,
        predict=None if args.predict is None else _words(args.predict),
        predict_seconds=args.predict_seconds,
        writable=tuple(args.writable),
        landlock=not args.without_landlock,
        network=args.network,
        most_output_bytes=args.max_output * _MIB,
    )
    result = run_try(settings, dict(os.environ), lambda text: print(f"[budget] {text}", file=sys.stderr, flush=True))
    print(json.dumps(plain(result), allow_nan=False, ensure_ascii=False))
    return 0 if result.get("verdict") == PASS else 1


def _words(text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"--predict {text!r}: {error}; quote it as for a shell") from error
    if not words:
        raise ConfigError("--predict '': a command is needed; leave it out to judge checkpoints")
    return tuple(words)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < 10**8:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds, at least 1, like 300")
    return value
